package llmemory

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// highlight marks the query's words in the hits and cuts their snippets.
func (s *search) highlight(hits []Hit, q postings.Query) {
	if s.options.Snippet < 0 {
		return
	}
	wanted := map[string]bool{}
	for _, t := range q.Terms {
		wanted[t.Term] = true
	}
	marked := map[languageWord]bool{}
	for i := range hits {
		h := &hits[i]
		h.Highlights = s.memory.spans(h.Document.Language, h.Text, wanted, marked)
		h.Snippet = snippet(h.Text, h.Highlights, s.options.Snippet)
	}
}

type languageWord struct{ language, word string }

// spans returns where words of the text analyse to one of the terms, in order and without overlap. Words of scripts that are
// written without spaces are looked at in pairs of characters, as they are indexed. marked remembers the words seen.
func (m *Memory) spans(language, text string, wanted map[string]bool, marked map[languageWord]bool) []Span {
	var out []Span
	var tokens []analysis.Token
	mark := func(start, end int) {
		w := languageWord{language, text[start:end]}
		yes, seen := marked[w]
		if !seen {
			tokens, _ = m.analyzer.Analyze(language, w.word, tokens[:0])
			yes = slices.ContainsFunc(tokens, func(t analysis.Token) bool { return wanted[t.Term] })
			marked[w] = yes
		}
		if !yes {
			return
		}
		if n := len(out); n > 0 && out[n-1].End >= start {
			out[n-1].End = max(out[n-1].End, end)
		} else {
			out = append(out, Span{start, end})
		}
	}
	start := -1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case unspaced(r):
			if start >= 0 {
				mark(start, i)
				start = -1
			}
			end := i + size
			if next, n := utf8.DecodeRuneInString(text[end:]); n > 0 && unspaced(next) {
				end += n
			}
			mark(i, end)
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || start >= 0 && (r == '\'' || r == '’' || r == '_'):
			if start < 0 {
				start = i
			}
		default:
			if start >= 0 {
				mark(start, i)
				start = -1
			}
		}
		i += size
	}
	if start >= 0 {
		mark(start, len(text))
	}
	return out
}

func unspaced(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai)
}

// snippet returns the part of text, at most size bytes, that holds most highlights, cut at white space where there is some.
func snippet(text string, spans []Span, size int) string {
	if len(text) <= size {
		return strings.TrimSpace(text)
	}
	from := 0
	if len(spans) > 0 {
		best, first := 0, 0
		for i := range spans {
			n := 0
			for j := i; j < len(spans) && spans[j].End <= spans[i].Start+size*3/4; j++ {
				n++
			}
			if n > best {
				best, first = n, i
			}
		}
		from = max(0, spans[first].Start-size/8)
	}
	from = min(from, max(0, len(text)-size))
	to := min(len(text), from+size)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from++
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to--
	}
	if from > 0 {
		if i := strings.IndexFunc(text[from:min(to, from+size/8)], unicode.IsSpace); i >= 0 {
			from += i
		}
	}
	if to < len(text) {
		floor := max(from, to-size/8)
		if i := strings.LastIndexFunc(text[floor:to], unicode.IsSpace); i > 0 {
			to = floor + i
		}
	}
	return strings.TrimSpace(text[from:to])
}
