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
	m := marker{analyzer: s.memory.analyzer, wanted: map[string]bool{}, seen: map[languageWord]bool{}}
	for _, t := range q.Terms {
		m.wanted[t.Term] = true
		if _, term, _ := strings.Cut(t.Term, ":"); term != "" {
			m.first[term[0]] = true
		}
	}
	for i := range hits {
		h := &hits[i]
		h.Highlights = m.spans(h.Document.Language, h.Text)
		h.Snippet = snippet(h.Text, h.Highlights, s.options.Snippet)
	}
}

// marker finds words that analyse to one of the terms wanted.
type marker struct {
	analyzer *analysis.Analyzer
	wanted   map[string]bool
	first    [256]bool             // what the wanted terms begin with
	seen     map[languageWord]bool // words that were looked at, and what came of it
	tokens   []analysis.Token
}

type languageWord struct{ language, word string }

// matches tells whether a word analyses to a term wanted.
func (m *marker) matches(language, word string) bool {
	if c, ok := analysis.FirstLetter(word); ok && !m.first[c] {
		return false
	}
	w := languageWord{language, word}
	yes, seen := m.seen[w]
	if !seen {
		m.tokens, _ = m.analyzer.Analyze(language, word, m.tokens[:0])
		yes = slices.ContainsFunc(m.tokens, func(t analysis.Token) bool { return m.wanted[t.Term] })
		m.seen[w] = yes
	}
	return yes
}

// spans returns where words of the text match, in order and without overlap. Words of scripts that are written without spaces are
// looked at in pairs of characters, as they are indexed.
func (m *marker) spans(language, text string) []Span {
	var out []Span
	mark := func(start, end int) {
		if !m.matches(language, text[start:end]) {
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
