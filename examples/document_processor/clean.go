package processor

import (
	"regexp"
	"strings"
)

var pageNumber = regexp.MustCompile(`(?i)^page \d+( of \d+)?$`)

// clean removes page numbers, white space at line ends and repeated empty lines, and returns the text with its first line as title
// and its number of words.
func clean(text string) (content, title string, words int) {
	var lines []string
	empty := true
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = strings.TrimRight(line, " \t\n")
		if pageNumber.MatchString(strings.TrimSpace(line)) || line == "" && empty {
			continue
		}
		empty = line == ""
		if title == "" {
			title = strings.Trim(line, "# \t")
		}
		lines = append(lines, line)
	}
	content = strings.TrimRight(strings.Join(lines, "\n"), "\n")
	return content, title, len(strings.Fields(content))
}
