package text

import (
	"regexp"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
)

// frontMatter reads what a Markdown file says of itself in YAML between lines of "---", or in TOML between lines of "+++". It stays in
// the text.
func frontMatter(t *extract.Text) {
	first, rest, ok := strings.Cut(t.Content, "\n")
	first = strings.TrimRight(first, " \t\r")
	if !ok || (first != "---" && first != "+++") {
		return
	}
	list := "" // the key whose items follow
	for n := 0; n < 200 && rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimRight(line, " \t\r")
		if line == first || line == "..." {
			return
		}
		if item, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), "- "); ok && list != "" {
			set(t, list, item, true)
			continue
		}
		list = ""
		m := keyValue.FindStringSubmatch(line)
		if m == nil || (m[2] == "=") != (first == "+++") {
			continue
		}
		if m[3] == "" {
			list = strings.ToLower(m[1])
			continue
		}
		set(t, strings.ToLower(m[1]), m[3], false)
	}
}

var keyValue = regexp.MustCompile(`^([A-Za-z_-]+)\s*([:=])\s*(.*)$`)

// fields reads what reStructuredText says in a field list (":Author: …"), and AsciiDoc in attributes (":author: …") and its title, at
// the top of a text.
func fields(t *extract.Text) {
	rest := t.Content
	for n := 0; n < 40 && rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimRight(line, " \t\r")
		if m := field.FindStringSubmatch(line); m != nil {
			set(t, strings.ToLower(m[1]), m[2], false)
		} else if title, ok := strings.CutPrefix(line, "= "); ok && n == 0 {
			t.Title = strings.TrimSpace(title)
		}
	}
}

var field = regexp.MustCompile(`^:([A-Za-z-]+):\s+(\S.*)$`)

// set takes one statement of a text about itself. Of a list, all items are authors.
func set(t *extract.Text, key, value string, item bool) {
	value = scalar(value)
	if value == "" {
		return
	}
	switch key {
	case "title":
		t.Title = value
	case "author", "authors", "creator":
		if item && t.Author != "" {
			value = t.Author + ", " + value
		}
		t.Author = value
	case "lang", "language", "locale":
		t.Language = docmeta.Language(value)
	case "date", "published", "updated", "revdate", "last_modified_at", "lastmod":
		if d := docmeta.Date(value); !d.IsZero() && (t.Date.IsZero() || key == "date") {
			t.Date = d
		}
	}
}

// scalar takes quotes, brackets of a list on one line, and comments off a value.
func scalar(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']' {
		var items []string
		for item := range strings.SplitSeq(s[1:len(s)-1], ",") {
			if item = scalar(item); item != "" {
				items = append(items, item)
			}
		}
		return strings.Join(items, ", ")
	}
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') {
		if end := strings.LastIndexByte(s, s[0]); end > 0 {
			return strings.TrimSpace(s[1:end])
		}
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}

// firstHeading returns the first heading of the highest level of Markdown if it comes before any other text of weight, without mark-up.
func firstHeading(s string) string {
	previous := ""
	for n := 0; n < 100 && s != ""; n++ {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		line = strings.TrimRight(line, " \t\r")
		if strings.HasPrefix(line, "```") || strings.HasPrefix(line, "~~~") {
			return ""
		}
		if h, ok := strings.CutPrefix(line, "# "); ok {
			return strings.TrimSpace(strings.TrimRight(strings.TrimSpace(h), "#"))
		}
		if len(line) >= 3 && strings.Trim(line, "=") == "" && previous != "" {
			return strings.TrimSpace(previous)
		}
		previous = line
	}
	return ""
}
