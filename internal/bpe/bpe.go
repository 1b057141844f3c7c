// Package bpe counts tokens as OpenAI's embedding models do: byte pair encoding with the vocabulary cl100k_base.
//
// A text is first parted into words (letters with the space or mark before them, up to three digits, other marks, white
// space), then each word's bytes are joined, the pair with the lowest rank first, until no pair is a token. Names of special
// tokens in a text, such as "<|endoftext|>", are text.
//
// Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016; tiktoken's own pattern.
package bpe

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"math"
	"sync"
	"unicode"
	"unicode/utf8"
)

//go:embed cl100k.gz
var packed []byte

// Counter counts by one vocabulary. It is immutable and safe for concurrent use.
type Counter struct {
	ranks map[string]int32
}

// CL100K returns the counter of cl100k_base, which text-embedding-3-small, text-embedding-3-large and text-embedding-ada-002
// use. It is built at the first call, in about twenty milliseconds, and shared from then on.
func CL100K() *Counter { return cl100k() }

var cl100k = sync.OnceValue(func() *Counter {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		var raw []byte
		if raw, err = io.ReadAll(r); err == nil {
			return &Counter{ranks: unpack(string(raw))}
		}
	}
	// The bytes are part of the program: this cannot happen in a binary whose tests have passed.
	panic(fmt.Sprintf("bpe: built-in vocabulary: %v", err))
})

func unpack(raw string) map[string]int32 {
	ranks := make(map[string]int32, 100_256)
	for i := 0; i < len(raw); {
		end := i + 1 + int(raw[i])
		ranks[raw[i+1:end]] = int32(len(ranks))
		i = end
	}
	return ranks
}

// Count returns the number of tokens in text.
func (c *Counter) Count(text string) int {
	var m merger
	n := 0
	for len(text) > 0 {
		size := word(text)
		if _, whole := c.ranks[text[:size]]; whole {
			n++
		} else {
			n += m.count(c.ranks, text[:size])
		}
		text = text[size:]
	}
	return n
}

// word returns the length in bytes of the word that begins text, which is not empty. It is the first match of
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
func word(text string) int {
	first, size := utf8.DecodeRuneInString(text)
	if first == '\'' {
		if n := contraction(text[1:]); n > 0 {
			return 1 + n
		}
	}
	switch {
	case unicode.IsLetter(first):
		return size + run(text[size:], math.MaxInt, unicode.IsLetter)
	case unicode.IsNumber(first):
		return size + run(text[size:], 2, unicode.IsNumber)
	}
	if first != '\r' && first != '\n' {
		if n := run(text[size:], math.MaxInt, unicode.IsLetter); n > 0 {
			return size + n
		}
	}
	marks := 0
	if first == ' ' {
		marks = 1
	}
	if n := run(text[marks:], math.MaxInt, isMark); n > 0 {
		marks += n
		return marks + run(text[marks:], math.MaxInt, isLineEnd)
	}
	return space(text)
}

// contraction returns the length of the English ending that begins text, which stands after an apostrophe, or 0.
func contraction(text string) int {
	lower := func(i int) byte {
		if i < len(text) {
			return text[i] | 0x20
		}
		return 0
	}
	switch a, b := lower(0), lower(1); {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return 1
	case a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l':
		return 2
	}
	return 0
}

// space returns how much of the white space that begins text is one word: up to its last line end, if it has any; else all
// of it at the end of the text, and all but the last character before something else, which takes that along if it can.
func space(text string) int {
	end, lineEnd, last := 0, 0, 0
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !unicode.IsSpace(r) {
			break
		}
		last = end
		end += size
		if isLineEnd(r) {
			lineEnd = end
		}
	}
	switch {
	case lineEnd > 0:
		return lineEnd
	case end == len(text) || last == 0:
		return end
	}
	return last
}

func isLineEnd(r rune) bool { return r == '\r' || r == '\n' }

func isMark(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// run returns the length in bytes of the first characters of text, at most limit of them, that all belong.
func run(text string, limit int, belongs func(rune) bool) int {
	end := 0
	for ; limit > 0 && end < len(text); limit-- {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !belongs(r) {
			break
		}
		end += size
	}
	return end
}

// merger joins the bytes of a word. Its memory is used again for the next one.
type merger struct {
	parts []part
	pairs pairs
}

// part is a token so far, from its index in the word to that of the next.
type part struct {
	next, previous int32 // indexes; the word's length and -1 at the ends
	merged         bool  // into the part before
}

// pair is a place where two neighbouring parts may be joined.
type pair struct {
	rank       int32
	at, middle int32 // where the left and the right part begin
	end        int32
}

// pairs is a heap: the lowest rank first, then the leftmost. So a long word costs n log n and not n². It is written out, as
// container/heap would allocate for each pair.
type pairs []pair

func (p pairs) less(i, j int) bool {
	return p[i].rank < p[j].rank || p[i].rank == p[j].rank && p[i].at < p[j].at
}

func (p *pairs) push(x pair) {
	*p = append(*p, x)
	h := *p
	for i := len(h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (p *pairs) pop() pair {
	h := *p
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < last && h.less(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*p = h
	return top
}

func (m *merger) count(ranks map[string]int32, word string) int {
	n := int32(len(word))
	m.parts, m.pairs = m.parts[:0], m.pairs[:0]
	for i := range n {
		m.parts = append(m.parts, part{next: i + 1, previous: i - 1})
	}
	candidate := func(at int32) (pair, bool) {
		if at < 0 {
			return pair{}, false
		}
		middle := m.parts[at].next
		if middle == n {
			return pair{}, false
		}
		end := m.parts[middle].next
		rank, ok := ranks[word[at:end]]
		return pair{rank, at, middle, end}, ok
	}
	for i := range n - 1 {
		if p, ok := candidate(i); ok {
			m.pairs.push(p)
		}
	}
	count := int(n)
	for len(m.pairs) > 0 {
		p := m.pairs.pop()
		if m.parts[p.at].merged || m.parts[p.at].next != p.middle || m.parts[p.middle].next != p.end {
			continue // one of the two has changed since
		}
		m.parts[p.at].next, m.parts[p.middle].merged = p.end, true
		if p.end < n {
			m.parts[p.end].previous = p.at
		}
		count--
		for _, at := range [...]int32{m.parts[p.at].previous, p.at} {
			if p, ok := candidate(at); ok {
				m.pairs.push(p)
			}
		}
	}
	return count
}
