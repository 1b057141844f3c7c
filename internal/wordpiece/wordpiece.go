// Package wordpiece splits text into the word pieces of BERT's uncased models, which all-MiniLM-L6-v2 uses.
//
// The rules are those of the original implementation and of Hugging Face's tokenizers (BertNormalizer, BertPreTokenizer,
// WordPiece): control characters are dropped, letters are put into lower case and lose their accents (canonical
// decomposition, non-spacing marks removed), white space parts words, every punctuation mark and every CJK ideograph is a
// word of its own, and each word is spelt by the longest matching token first, the tokens inside a word being those written
// with "##". A word that cannot be spelt, or that is longer than 100 characters, is one [UNK].
//
// [Load] reads the tokenizer of a model's folder, which may be one that keeps case or accents, and which knows the names of its
// special tokens: "[SEP]" in a text is then that token, as it is for the reference. For [Default] it is text.
//
// Every single character of Unicode is read as Hugging Face's tokenizers 0.23 read it; what Unicode has added since the version
// they know is unknown here too.
//
// Source: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2018, section 3 and its tokenization.py;
// Wu et al., Google's Neural Machine Translation System, 2016, section 4.1.
package wordpiece

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxWordChars is the length beyond which a word is not spelt but unknown.
const maxWordChars = 100

// Options say how a tokenizer differs from that of BERT's uncased models.
type Options struct {
	// KeepCase leaves letters as they are.
	KeepCase bool
	// KeepAccents leaves marks where they are, and decomposes nothing.
	KeepAccents bool
	// JoinIdeographs does not part CJK ideographs.
	JoinIdeographs bool
	// Special are tokens that are found by their name in the text as it is.
	Special []Special
}

// Special is a token that no text is split into, but that a text may name.
type Special struct {
	Text string
	ID   int32
	// SingleWord: only where no letter, digit or underscore is next to it.
	SingleWord bool
	// LStrip and RStrip: white space before and after it belongs to it. It makes no difference to which tokens there are.
	LStrip, RStrip bool
}

// Tokenizer splits text by one vocabulary. It is immutable and safe for concurrent use.
type Tokenizer struct {
	words   trie // tokens that begin a word
	inner   trie // tokens written with "##"
	tokens  []string
	unk     int32
	options Options
	special [256][]Special // by the first byte, longest first
	named   bool           // whether there are any
	counts  *counts
}

// counts remembers how many pieces short words have: a text has few words that it does not repeat. An entry holds the bytes of a word
// and, in its lowest byte, the count; a word takes the place of another one.
type counts [1 << 14]atomic.Uint64

// rememberedBytes is the longest word that is remembered.
const rememberedBytes = 7

// entry returns the place of a word of at most rememberedBytes, and what it holds but for the count.
func (c *counts) entry(word []byte) (*atomic.Uint64, uint64) {
	key := uint64(0)
	for _, b := range word {
		key = (key | uint64(b)) << 8
	}
	return &c[key*0x9e3779b97f4a7c15>>(64-14)], key
}

// Token is one word piece and the place it was read from.
type Token struct {
	ID         int32
	Start, End int // byte offsets into the text; combining marks belong to the character before them
}

// New returns a tokenizer for a vocabulary: the tokens in the order of their ids. The vocabulary must hold "[UNK]" and no
// token twice.
func New(vocabulary []string) (*Tokenizer, error) {
	ids := make(map[string]int32, len(vocabulary))
	for i, token := range vocabulary {
		if _, seen := ids[token]; seen || token == "" || token == "##" {
			return nil, fmt.Errorf("vocabulary: token %d, %q, is empty or a repetition", i, token)
		}
		ids[token] = int32(i)
	}
	return NewWith(ids, Options{})
}

// NewWith returns a tokenizer for a vocabulary, which must hold "[UNK]"; its ids begin at 0 and may have gaps.
func NewWith(vocabulary map[string]int32, o Options) (*Tokenizer, error) {
	t := &Tokenizer{unk: -1, options: o, counts: new(counts)}
	size := int32(0)
	for token, id := range vocabulary {
		if id < 0 || id > maxID {
			return nil, fmt.Errorf("vocabulary: token %q has id %d", token, id)
		}
		size = max(size, id+1)
	}
	t.tokens = make([]string, size)
	var words, inner []entry
	for token, id := range vocabulary {
		t.tokens[id] = token
		if token == unknown {
			t.unk = id
		}
		if rest, ok := strings.CutPrefix(token, "##"); ok && rest != "" {
			inner = append(inner, entry{rest, id})
		} else if !ok && token != "" {
			words = append(words, entry{token, id})
		}
	}
	if t.unk < 0 {
		return nil, fmt.Errorf("vocabulary: no token %q", unknown)
	}
	t.words, t.inner = newTrie(words), newTrie(inner)
	for _, s := range o.Special {
		if s.Text == "" {
			continue
		}
		list := append(t.special[s.Text[0]], s)
		slices.SortStableFunc(list, func(a, b Special) int { return len(b.Text) - len(a.Text) })
		t.special[s.Text[0]], t.named = list, true
	}
	return t, nil
}

// maxID bounds the memory that a vocabulary may ask for.
const maxID = 1 << 24

// Unknown returns the id of "[UNK]".
func (t *Tokenizer) Unknown() int32 { return t.unk }

// ID returns the id of a token, or -1 if there is none of that name.
func (t *Tokenizer) ID(token string) int32 { return int32(slices.Index(t.tokens, token)) }

// Size returns the number of tokens in the vocabulary.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// Text returns the token with the given id as the vocabulary writes it, or "" if there is none.
func (t *Tokenizer) Text(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// Count returns the number of word pieces in text, without any special tokens a model adds. It allocates nothing.
//
// Counts add up over white space: the count of two texts joined by a space is the sum of their counts.
func (t *Tokenizer) Count(text string) int {
	return t.pieces(text, nil, math.MaxInt)
}

// Encode returns the ids of the word pieces of text, without any special tokens a model adds.
func (t *Tokenizer) Encode(text string) []int32 { return t.EncodeUpTo(text, math.MaxInt) }

// EncodeUpTo returns the first n ids of the word pieces of text, or all of them if there are fewer. It reads no more of the text
// than it has to.
func (t *Tokenizer) EncodeUpTo(text string, n int) []int32 {
	tokens := make([]Token, 0, min(len(text)/4, n)+1)
	t.pieces(text, &tokens, n)
	ids := make([]int32, min(len(tokens), n))
	for i := range ids {
		ids[i] = tokens[i].ID
	}
	return ids
}

// Tokens returns the word pieces of text with their places in it, without any special tokens a model adds.
func (t *Tokenizer) Tokens(text string) []Token {
	tokens := make([]Token, 0, len(text)/4+1)
	t.pieces(text, &tokens, math.MaxInt)
	return tokens
}

// pieces counts the word pieces of text and, if out is not nil, appends them to it. It stops when there are n of them or more.
func (t *Tokenizer) pieces(text string, out *[]Token, n int) (count int) {
	var s scanner
	s.limit = n
	if !t.named {
		return s.scan(t, text, 0, len(text), out)
	}
	for at := 0; at < len(text) && count < n; {
		start, end, id := t.nextSpecial(text, at)
		count += s.scan(t, text, at, start, out)
		if end > start {
			count++
			if out != nil {
				*out = append(*out, Token{id, start, end})
			}
		}
		at = max(end, start)
	}
	return count
}

// nextSpecial returns the place and the id of the first special token at or after offset from. If there is none, both ends are
// those of the text. White space around it that belongs to it is left to the text, where it is skipped as well.
func (t *Tokenizer) nextSpecial(text string, from int) (start, end int, id int32) {
	for at := from; at < len(text); at++ {
		for _, s := range t.special[text[at]] {
			if strings.HasPrefix(text[at:], s.Text) && (!s.SingleWord || !inWord(text, at, at+len(s.Text))) {
				return at, at + len(s.Text), s.ID
			}
		}
	}
	return len(text), len(text), -1
}

// inWord reports whether a character of a word is next to a place in the text.
func inWord(text string, start, end int) bool {
	word := func(r rune) bool { return r == '_' || unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl) }
	before, n := utf8.DecodeLastRuneInString(text[:start])
	after, m := utf8.DecodeRuneInString(text[end:])
	return n > 0 && word(before) || m > 0 && word(after)
}

// scanner collects the normalised bytes of the word being read.
type scanner struct {
	word   [maxWordChars * utf8.UTFMax]byte
	size   int                             // bytes in word
	chars  int                             // characters in word; counts on past maxWordChars, where bytes are no longer kept
	origin [maxWordChars * utf8.UTFMax]int // for each byte of word where its character began in the text
	limit  int                             // of word pieces: scan stops when it has that many
}

// scan counts the word pieces of text between two offsets and, if out is not nil, appends them to it.
func (s *scanner) scan(t *Tokenizer, text string, from, to int, out *[]Token) (count int) {
	text = text[:to]
	for i := from; i < to && count < s.limit; {
		c := text[i]
		if c < utf8.RuneSelf {
			switch ascii[c] {
			case asciiSpace:
				count += s.flush(t, i, out)
			case asciiPunct:
				count += s.flush(t, i, out)
				s.add(rune(c), i)
				count += s.flush(t, i+1, out)
			case asciiDrop:
			default:
				i = s.run(text, i, t.options.KeepCase, out != nil)
				continue
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError: // U+FFFD itself, or bytes that are not UTF-8
		case unicode.IsSpace(r) && r != 0x85: // which BERT takes for a control character
			count += s.flush(t, i, out)
		case ideograph(r) && !t.options.JoinIdeographs:
			count += s.flush(t, i, out)
			count += s.decompose(t, r, i, size, out)
			count += s.flush(t, i+size, out)
		case !dropped(r):
			count += s.decompose(t, r, i, size, out)
		}
		i += size
	}
	if count >= s.limit {
		s.size, s.chars = 0, 0
		return count
	}
	return count + s.flush(t, to, out)
}

// run appends the letters and digits of ASCII that text has from offset i on, in lower case unless case is kept, and returns where they
// end. Their places are needed by tokens alone.
func (s *scanner) run(text string, i int, keepCase, places bool) int {
	size, chars := s.size, s.chars // not in memory: this is where most of the time goes
	for ; i < len(text) && text[i] < utf8.RuneSelf; i++ {
		c := text[i]
		class := ascii[c]
		if class <= asciiPunct {
			break
		}
		if keepCase {
			class = c
		}
		if chars < maxWordChars {
			s.word[size] = class
			if places {
				s.origin[size] = i
			}
			size++
		}
		chars++
	}
	s.size, s.chars = size, chars
	return i
}

// decompose adds the canonical decomposition of r, in lower case and without non-spacing marks, and returns the number of
// word pieces completed by that.
//
// Marks are not sorted by combining class: the few that are neither non-spacing nor of class 0 never meet in a word that
// the vocabulary can spell.
func (s *scanner) decompose(t *Tokenizer, r rune, at, size int, out *[]Token) (count int) {
	if t.options.KeepAccents {
		return s.fold(t, r, at, size, out)
	}
	if r >= hangulBase && r < hangulEnd { // by arithmetic, not by table: The Unicode Standard, section 3.12
		i := r - hangulBase
		s.add(0x1100+i/(21*28), at)
		s.add(0x1161+i%(21*28)/28, at)
		if tail := i % 28; tail != 0 {
			s.add(0x11a7+tail, at)
		}
		return 0
	}
	var buf [utf8.UTFMax]byte
	parts := norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition()
	if parts == nil {
		return s.fold(t, r, at, size, out)
	}
	for len(parts) > 0 {
		part, n := utf8.DecodeRune(parts)
		count += s.fold(t, part, at, size, out)
		parts = parts[n:]
	}
	return count
}

const (
	hangulBase = 0xac00
	hangulEnd  = 0xd7a4
)

// fold adds one decomposed character, read from size bytes at offset at, unless it is a non-spacing mark. Punctuation is a
// word of its own; it is looked for only now, since some symbols decompose into punctuation and a mark.
func (s *scanner) fold(t *Tokenizer, r rune, at, size int, out *[]Token) (count int) {
	switch {
	case punctuation(r):
		count = s.flush(t, at, out)
		s.add(r, at)
		count += s.flush(t, at+size, out)
	case mark(r) && !t.options.KeepAccents:
	case t.options.KeepCase:
		s.add(r, at)
	case r == 'İ': // the one letter whose lower case is two characters, if nothing was decomposed
		s.add('i', at)
		s.add('\u0307', at)
	default:
		s.add(unicode.ToLower(r), at)
	}
	return count
}

// add appends a normalised character to the word.
func (s *scanner) add(r rune, at int) {
	if s.chars < maxWordChars {
		n := utf8.EncodeRune(s.word[s.size:], r)
		for range n {
			s.origin[s.size] = at
			s.size++
		}
	}
	s.chars++
}

// flush spells the word read so far, which ends before offset end of the text, and begins a new one.
func (s *scanner) flush(t *Tokenizer, end int, out *[]Token) int {
	if s.chars == 0 {
		return 0
	}
	word, long := s.word[:s.size], s.chars > maxWordChars
	s.size, s.chars = 0, 0
	if out == nil && len(word) > 0 && len(word) <= rememberedBytes {
		entry, key := t.counts.entry(word)
		if known := entry.Load(); known&^0xff == key && known != 0 {
			return int(known & 0xff)
		}
		count := t.spell(s, word, false, end, nil)
		entry.Store(key | uint64(count))
		return count
	}
	return t.spell(s, word, long, end, out)
}

// spell counts the pieces of a word that ends before offset end of the text, or is too long to be spelt, and appends them to out unless
// that is nil.
func (t *Tokenizer) spell(s *scanner, word []byte, long bool, end int, out *[]Token) (count int) {
	before := 0
	if out != nil {
		before = len(*out)
	}
	for table, at := &t.words, 0; at < len(word) || long; table = &t.inner {
		id, n := int32(-1), 0
		if !long {
			id, n = table.longest(word[at:])
		}
		if n == 0 { // unknown: the word as a whole is, whatever was spelt of it
			if out != nil {
				*out = append((*out)[:before], Token{t.unk, s.origin[0], end})
			}
			return 1
		}
		at += n
		count++
		if out != nil {
			next := at // several pieces may come from one character, such as a Hangul syllable
			for next < len(word) && s.origin[next] == s.origin[at-1] {
				next++
			}
			stop := end
			if next < len(word) {
				stop = s.origin[next]
			}
			*out = append(*out, Token{id, s.origin[at-n], stop})
		}
	}
	return count
}

// Classes of ASCII characters; any other value is a letter or digit in lower case.
const (
	asciiDrop  = 0
	asciiSpace = 1
	asciiPunct = 2
)

// ascii holds the class of each ASCII character, or its lower case.
var ascii = func() (table [utf8.RuneSelf]byte) {
	for c := range table {
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			table[c] = asciiSpace
		case c < ' ' || c == 0x7f:
			table[c] = asciiDrop
		case c >= 'A' && c <= 'Z':
			table[c] = byte(c) + 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			table[c] = byte(c)
		default:
			table[c] = asciiPunct
		}
	}
	return table
}()

// ideograph reports whether r is in one of the blocks of CJK ideographs that BERT sets apart. Hangul, kana and the letters
// of other languages are not among them, nor, as in Hugging Face's tokenizers, the first 256 ideographs of extension E.
func ideograph(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf || r >= 0xf900 && r <= 0xfaff ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b81f || r >= 0x2b920 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f
}

// dropped reports whether r is removed from the text: control, format and private characters.
func dropped(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) && !unicode.Is(newer, r)
}

// punctuation reports whether r is a word of its own.
func punctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return ascii[r] == asciiPunct
	}
	return unicode.IsPunct(r) && !unicode.Is(newer, r) || r == 0x166d || r == 0x111c9
}

// mark reports whether r is a non-spacing mark.
func mark(r rune) bool {
	return unicode.Is(unicode.Mn, r) && !unicode.Is(newer, r) && r != 0x111c9 || r == 0x1734
}
