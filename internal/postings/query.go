package postings

import (
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Query says what to look for, as terms.
type Query struct {
	// Terms are ORed and scored. A term should be there once.
	Terms []Weighted
	// Phrases must all be in a document.
	Phrases []Phrase
	// Exclude: a document that holds one of these is no hit.
	Exclude []Phrase
}

// A Weighted term counts as often as the query says it.
type Weighted struct {
	Term  string
	Count int
}

// A Phrase is found where any of its variants is: one for each language that
// the query was analysed for. A phrase of a single word is a word.
type Phrase []Variant

// A Variant is a sequence of terms, each at a distance from the first word of
// the phrase; stop words leave gaps. A variant without terms matches nothing.
type Variant []PhraseTerm

// A PhraseTerm is one term of a phrase.
type PhraseTerm struct {
	Term   string
	Offset int
}

// A Lookup is a term that a search reads.
type Lookup struct {
	Term      string
	Positions bool // whether the positions are needed, or the postings alone
}

// Lookups returns every term that [Search] reads for the query, sorted, each
// once, so that a store can fetch all blocks at one go.
func (q Query) Lookups() []Lookup {
	terms := make(map[string]bool)
	for _, t := range q.Terms {
		terms[t.Term] = terms[t.Term] || false
	}
	for _, phrases := range [][]Phrase{q.Phrases, q.Exclude} {
		for _, p := range phrases {
			for _, v := range p {
				for _, t := range v {
					terms[t.Term] = terms[t.Term] || len(v) > 1
				}
			}
		}
	}
	list := make([]Lookup, 0, len(terms))
	for term, positions := range terms {
		list = append(list, Lookup{Term: term, Positions: positions})
	}
	slices.SortFunc(list, func(a, b Lookup) int { return strings.Compare(a.Term, b.Term) })
	return list
}

// ParseQuery splits what a user typed. Text in double quotes ("…", typographic
// ones too) is a phrase; it is part of words as well, since it is scored. A
// minus sign before a word or a phrase excludes it, if it stands at the start
// or after white space and a letter, digit-free, or a quote follows: the ones
// of "state-of-the-art", "-5" and " - " are plain text. A quote without its
// pair is plain text. There are no errors.
func ParseQuery(text string) (words string, phrases, exclude []string) {
	var plain strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		boundary := i == 0 || spaceBefore(text[:i])
		if r == '-' && boundary {
			next, _ := utf8.DecodeRuneInString(text[i+size:])
			if inside, n, ok := quoted(text[i+size:]); ok {
				exclude = appendText(exclude, inside)
				plain.WriteByte(' ')
				i += size + n
				continue
			}
			if unicode.IsLetter(next) {
				end := strings.IndexFunc(text[i:], unicode.IsSpace)
				if end < 0 {
					end = len(text) - i
				}
				exclude = appendText(exclude, text[i+size:i+end])
				i += end
				continue
			}
		}
		if inside, n, ok := quoted(text[i:]); ok {
			phrases = appendText(phrases, inside)
			plain.WriteByte(' ')
			plain.WriteString(inside)
			plain.WriteByte(' ')
			i += n
			continue
		}
		plain.WriteString(text[i : i+size])
		i += size
	}
	return strings.TrimSpace(plain.String()), phrases, exclude
}

func appendText(list []string, s string) []string {
	if s = strings.TrimSpace(s); s != "" {
		list = append(list, s)
	}
	return list
}

func spaceBefore(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return unicode.IsSpace(r)
}

// closing maps an opening quote to those that may close it: German ones open
// low, Swedish ones are the same on both sides.
func closing(open rune) string {
	switch open {
	case '"':
		return `"`
	case '“':
		return "”“"
	case '”':
		return "”"
	case '„':
		return "“”„"
	case '«':
		return "»"
	case '»':
		return "«»"
	case '「':
		return "」"
	case '『':
		return "』"
	case '＂':
		return "＂"
	}
	return ""
}

// quoted reports text that begins with a quoted part: what is inside, and how
// long it is with its quotes.
func quoted(text string) (inside string, n int, ok bool) {
	open, size := utf8.DecodeRuneInString(text)
	end := closing(open)
	if end == "" {
		return "", 0, false
	}
	i := strings.IndexAny(text[size:], end)
	if i < 0 {
		return "", 0, false
	}
	_, last := utf8.DecodeRuneInString(text[size+i:])
	return text[size : size+i], size + i + last, true
}

// Build parses a query and analyses it for each of the languages. A term that
// several languages agree on counts as often as the language that says it most
// often. A phrase of nothing but stop words is ignored.
func Build(analyze func(lang, text string) []Token, langs []string, text string) Query {
	words, phrases, exclude := ParseQuery(text)
	q := Query{Phrases: buildPhrases(analyze, langs, phrases), Exclude: buildPhrases(analyze, langs, exclude)}
	counts := make(map[string]int)
	for _, lang := range langs {
		mine := make(map[string]int)
		for _, t := range analyze(lang, words) {
			mine[t.Term]++
		}
		for term, n := range mine {
			counts[term] = max(counts[term], n)
		}
	}
	for term, n := range counts {
		q.Terms = append(q.Terms, Weighted{Term: term, Count: n})
	}
	sort.Slice(q.Terms, func(i, j int) bool { return q.Terms[i].Term < q.Terms[j].Term })
	return q
}

// BuildConditions is [Build] without the terms: what phrases and exclusions ask for.
func BuildConditions(analyze func(lang, text string) []Token, langs []string, text string) Query {
	_, phrases, exclude := ParseQuery(text)
	return Query{Phrases: buildPhrases(analyze, langs, phrases), Exclude: buildPhrases(analyze, langs, exclude)}
}

func buildPhrases(analyze func(lang, text string) []Token, langs []string, texts []string) []Phrase {
	var list []Phrase
	for _, text := range texts {
		var p Phrase
		for _, lang := range langs {
			var v Variant
			tokens := analyze(lang, text)
			for _, t := range tokens {
				v = append(v, PhraseTerm{Term: t.Term, Offset: t.Position - tokens[0].Position})
			}
			if len(v) > 0 && !slices.ContainsFunc(p, func(w Variant) bool { return slices.Equal(v, w) }) {
				p = append(p, v)
			}
		}
		if len(p) > 0 {
			list = append(list, p)
		}
	}
	return list
}
