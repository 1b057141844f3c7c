package analysis

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
	"golang.org/x/text/unicode/norm"
)

// Version names the rules of this package. It grows whenever a stemmer, a stop
// list or a rule changes so that the same text would give other terms; an
// index remembers the version that built it.
const Version = 1

// Undetermined is the language of text whose language is not known or not
// supported: no stop words, no stemming.
const Undetermined = "und"

// MaxTermBytes is the longest term, tag excluded. Longer words are dropped and
// counted: they are encoded data, not language, and would only bloat an index.
const MaxTermBytes = 128

// A Token is one term of a text and where it stands.
type Token struct {
	// Term is the analysed word, tagged with its language: "en:run".
	Term string
	// Position counts words from 0, stop words and dropped words included.
	// Several terms may stand at one position.
	Position int
	// Extra marks a term that repeats what another term at this place says
	// (a part of an identifier, a single character of a pair). It can be
	// found but does not add to the length of the text.
	Extra bool
}

// Length is the number of words the tokens stand for: all but the extra ones.
func Length(tokens []Token) int {
	n := 0
	for i := range tokens {
		if !tokens[i].Extra {
			n++
		}
	}
	return n
}

// An Analyzer turns text into terms. It remembers the terms of the words it
// has seen, within a bound, so one Analyzer should be kept and shared.
// It is safe for concurrent use. Make one with [New].
type Analyzer struct {
	mu   sync.Mutex
	idle []*worker
}

// New returns an Analyzer for all supported languages.
func New() *Analyzer { return &Analyzer{} }

// Languages returns the languages that Analyze knows, sorted, "und" among them.
func (a *Analyzer) Languages() []string { return slices.Clone(languageNames) }

// Supported reports whether lang is one of the languages that Analyze knows.
func Supported(lang string) bool {
	_, ok := languages[lang]
	return ok
}

// Analyze appends the terms of a text that is to be stored to dst. An
// unsupported lang is treated as "und". dropped counts the words that were too
// long to be indexed (see [MaxTermBytes]). Invalid UTF-8 separates words.
func (a *Analyzer) Analyze(lang, text string, dst []Token) (tokens []Token, dropped int) {
	return a.analyze(lang, text, dst, false)
}

// AnalyzeQuery is like Analyze for a text that is to be looked for. It differs
// in two ways. Of Chinese, Japanese and Korean, it looks for pairs of
// characters, and for a single character only if it stands alone. And it drops
// the stop words of the language that the query itself is clearly in, whatever
// lang is: German articles in a German question are no English words, and
// where few texts are English, they would be rare ones and outweigh the rest.
func (a *Analyzer) AnalyzeQuery(lang, text string, dst []Token) (tokens []Token, dropped int) {
	return a.analyze(lang, text, dst, true)
}

func (a *Analyzer) analyze(lang, text string, dst []Token, query bool) ([]Token, int) {
	l, ok := languages[lang]
	if !ok {
		l = languages[Undetermined]
	}
	w := a.acquire()
	defer a.release(w)
	w.language, w.query, w.dst, w.position, w.dropped = l, query, dst, 0, 0
	w.noise = nil
	if query {
		if own, sure := detectLatin(sample(text)); sure && own != l.name {
			w.noise = languages[own].stop
		}
	}
	w.memo = w.memos[l.name]
	if w.memo == nil {
		w.memo = make(map[string]word)
		w.memos[l.name] = w.memo
	}
	for text = clean(text); text != ""; {
		part := text[:partEnd(text)]
		text = text[len(part):]
		w.run(part)
	}
	dst, w.dst = w.dst, nil
	return dst, w.dropped
}

// maxIdle bounds the workers that are kept for later calls; each holds its own
// memory of words, so that analysing takes no lock per word.
const maxIdle = 8

func (a *Analyzer) acquire() *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.idle); n > 0 {
		w := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return w
	}
	return &worker{memos: make(map[string]map[string]word)}
}

func (a *Analyzer) release(w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.idle) < maxIdle {
		a.idle = append(a.idle, w)
	}
}

// clean brings text into the form that segmentation expects: valid UTF-8,
// compatibility forms (ligatures, full-width letters, half-width katakana)
// resolved, soft hyphens gone, and the invisible joints of words made visible.
func clean(text string) string {
	if isASCII(text) {
		return text
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, " ")
	}
	if !norm.NFKC.IsNormalString(text) {
		text = norm.NFKC.String(text)
	}
	return joints.Replace(text)
}

// joints: a soft hyphen is a hint to a typesetter. The zero width non-joiner
// separates a Persian word from its affixes, the zero width space separates
// words. The typographic apostrophe is an apostrophe.
var joints = strings.NewReplacer("\u00ad", "", "\u200c", " ", "\u200b", " ", "\ufeff", " ", "\u2060", "", "’", "'", "ʼ", "'")

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxMemo bounds the words remembered per language and worker. Forty thousand
// word forms are more than 98 % of the running words of ordinary text.
const maxMemo = 40_000

// maxMemoWord keeps rare long words out of the memory.
const maxMemoWord = 40

// A word is what analysing one segment gave.
type word struct {
	terms  []Token // positions relative to the word
	places int     // how many positions the word takes
	drop   bool    // too long
}

// A worker analyses one text at a time.
type worker struct {
	memos map[string]map[string]word

	language *language
	memo     map[string]word
	query    bool
	noise    map[string]bool // words that a query does not mean
	dst      []Token
	position int
	dropped  int

	values [][]byte
	types  []int
	text   []byte
}

// run appends the terms of a part of a text, valid UTF-8. Most of a text stands in ASCII between spaces, where words are found faster
// than by the segmenter; no word reaches over a space.
func (w *worker) run(text string) {
	w.text = append(w.text[:0], text...)
	rest := 0 // what lies between here and the next field in ASCII is the segmenter's
	for at := 0; at < len(w.text); {
		start, all := at, byte(0)
		for at < len(w.text) && !space(w.text[at]) {
			all |= w.text[at]
			at++
		}
		if at > start && all < utf8.RuneSelf {
			w.segment(w.text[rest:start])
			w.field(w.text[start:at])
			rest = at
		}
		for at < len(w.text) && space(w.text[at]) {
			at++
		}
	}
	w.segment(w.text[rest:])
	if cap(w.text) > 16*partSize {
		w.text, w.values, w.types = nil, nil, nil
	}
}

func space(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// field appends the terms of a field in ASCII, by the word boundary rules WB5 to WB13 of Unicode Standard Annex 29, which are all that
// concern its characters.
func (w *worker) field(text []byte) {
	for at := 0; at < len(text); {
		start := at
		for at < len(text) {
			switch class := classes[text[at]]; {
			case class&(letter|digit|joint) != 0:
				at++
				continue
			case at > start && at+1 < len(text) && (class&inLetters != 0 && classes[text[at-1]]&classes[text[at+1]]&letter != 0 ||
				class&inDigits != 0 && classes[text[at-1]]&classes[text[at+1]]&digit != 0):
				at += 2
				continue
			}
			break
		}
		if at > start {
			w.word(text[start:at])
		} else {
			at++
		}
	}
}

// Classes of ASCII characters.
const (
	letter = 1 << iota
	digit
	joint     // between letters and digits: the low line
	inLetters // between letters
	inDigits  // between digits
)

var classes = func() (c [utf8.RuneSelf]byte) {
	for b := range c {
		switch {
		case 'a' <= b|0x20 && b|0x20 <= 'z':
			c[b] = letter
		case '0' <= b && b <= '9':
			c[b] = digit
		}
	}
	c['_'], c[':'], c[','], c[';'], c['.'], c['\''] = joint, inLetters, inDigits, inDigits, inLetters|inDigits, inLetters|inDigits
	return c
}()

// segment appends the terms of a piece of the text.
func (w *worker) segment(text []byte) {
	if len(bytes.TrimLeft(text, " \t\n\r")) == 0 {
		return
	}
	// The text is valid UTF-8, for which the segmenter knows no errors.
	values, types, _, _ := segment.SegmentWordsDirect(text, w.values[:0], w.types[:0])
	offset, start := 0, -1 // of the segment; of a run of characters, or -1
	flush := func(end int) {
		if start >= 0 {
			w.pairs(text[start:end])
			start = -1
		}
	}
	for i, value := range values {
		if ascii(value) {
			flush(offset)
			if types[i] != segment.None {
				w.word(value)
			}
			offset += len(value)
			continue
		}
		// A segment may mix scripts ("Go언어"); a run of characters may go on
		// through many segments.
		word := -1 // start of a word inside the segment
		for p := 0; p < len(value); {
			r, size := utf8.DecodeRune(value[p:])
			if dense(r) || start >= 0 && unicode.Is(unicode.M, r) {
				if word >= 0 {
					w.word(value[word:p])
					word = -1
				}
				if start < 0 {
					start = offset + p
				}
			} else {
				flush(offset + p)
				if word < 0 && types[i] != segment.None {
					word = p
				}
			}
			p += size
		}
		if word >= 0 {
			w.word(value[word:])
		}
		offset += len(value)
	}
	flush(offset)
	w.values, w.types = values, types
}

// partSize is how much text is analysed at a time, so that long texts need
// little memory.
const partSize = 16 << 10

// partEnd is where a text may be cut without cutting a word.
func partEnd(text string) int {
	if len(text) <= partSize {
		return len(text)
	}
	if i := strings.IndexAny(text[partSize:], " \t\n\r"); i >= 0 {
		return partSize + i
	}
	return len(text)
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// word appends the terms of a segment.
func (w *worker) word(b []byte) {
	if w.noise != nil && w.noise[strings.ToLower(string(b))] {
		w.position++
		return
	}
	known, ok := w.memo[string(b)]
	if !ok {
		known = w.analyzeWord(string(b))
		if len(b) <= maxMemoWord {
			if len(w.memo) >= maxMemo {
				clear(w.memo)
			}
			w.memo[string(b)] = known
		}
	}
	if known.drop {
		w.dropped++
	}
	for _, t := range known.terms {
		w.dst = append(w.dst, Token{Term: t.Term, Position: w.position + t.Position, Extra: t.Extra})
	}
	w.position += known.places
}

// pairs appends the overlapping pairs of a run of characters. A stored run
// gives its single characters besides, as extra terms; a run of one character
// is that character.
func (w *worker) pairs(run []byte) {
	previous, n := "", 0
	for len(run) > 0 {
		size := cluster(run)
		c := string(run[:size])
		run = run[size:]
		single := Token{Term: "und:" + c, Position: w.position, Extra: true}
		switch {
		case n == 0 && len(run) == 0:
			single.Extra = false
			w.dst = append(w.dst, single)
		case !w.query:
			w.dst = append(w.dst, single)
		}
		if n > 0 {
			w.dst = append(w.dst, Token{Term: "und:" + previous + c, Position: w.position - 1})
		}
		previous = c
		n++
		w.position++
	}
}

// cluster is the length of the first character with the marks that follow it.
// Endless marks are no character: the rest of them is cut off as another one.
func cluster(b []byte) int {
	_, size := utf8.DecodeRune(b)
	for size < len(b) {
		r, s := utf8.DecodeRune(b[size:])
		if !unicode.Is(unicode.M, r) || size+s > MaxTermBytes/2 {
			break
		}
		size += s
	}
	return size
}
