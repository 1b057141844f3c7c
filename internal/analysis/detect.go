package analysis

import "unicode"

// Detect tells the language of a text from the text alone: one of Languages.
func (a *Analyzer) Detect(text string) string {
	var count [han + 1]int
	for i, r := range text {
		if i > maxSample {
			break
		}
		if unicode.IsLetter(r) {
			count[scriptOf(r)]++
		}
	}
	best := latin
	for s, n := range count {
		if n > count[best] {
			best = script(s)
		}
	}
	if best == han {
		return "zh"
	}
	return defaults[best]
}

// maxSample is how much of a text decides.
const maxSample = 4096
