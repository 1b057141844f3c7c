package analysis

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// analyzeWord makes the terms of one segment that holds no dense script.
func (w *worker) analyzeWord(s string) word {
	s = strings.Trim(s, "_'")
	if s == "" {
		return word{}
	}
	if !strings.ContainsFunc(s, unicode.IsNumber) {
		if parts := strings.FieldsFunc(s, midLetter); len(parts) > 1 {
			if !acronym(parts) {
				return w.join(parts)
			}
			s = strings.Join(parts, "")
		}
	}
	parts := identifierParts(s)
	if len(parts) < 2 {
		return w.simpleWord(s)
	}
	whole, inner := w.simpleWord(s), w.join(parts)
	if len(whole.terms) == 0 { // too long as a whole, or a stop word
		return inner
	}
	for _, t := range inner.terms {
		t.Extra = true
		whole.terms = append(whole.terms, t)
	}
	whole.places = inner.places
	return whole
}

// midLetter reports the punctuation that segmentation keeps inside a word and
// that separates words for a reader: "example.com", "end.Start", "std::vector".
// Apostrophes belong to the word.
func midLetter(r rune) bool {
	switch r {
	case '.', ':', '·', '․', '‧', '״', '"':
		return true
	}
	return false
}

// acronym reports parts like those of "U.S".
func acronym(parts []string) bool {
	for _, p := range parts {
		if utf8.RuneCountInString(p) != 1 {
			return false
		}
	}
	return true
}

// join analyses parts that stand one after the other.
func (w *worker) join(parts []string) word {
	var all word
	for _, p := range parts {
		one := w.simpleWord(p)
		for _, t := range one.terms {
			t.Position += all.places
			all.terms = append(all.terms, t)
		}
		all.places += one.places
		all.drop = all.drop || one.drop
	}
	return all
}

// identifierParts cuts foo_bar and fooBar, HTTPServer into their parts. A word
// with a part of a single letter (iPhone, PhD) is none.
func identifierParts(s string) []string {
	var parts []string
	for field := range strings.SplitSeq(s, "_") {
		if field == "" {
			continue
		}
		runes := []rune(field)
		start, first := 0, len(parts)
		for i := 1; i < len(runes); i++ {
			lowerUpper := unicode.IsLower(runes[i-1]) && unicode.IsUpper(runes[i])
			acronymEnd := i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsUpper(runes[i]) && unicode.IsLower(runes[i+1])
			if lowerUpper || acronymEnd {
				parts = append(parts, string(runes[start:i]))
				start = i
			}
		}
		parts = append(parts, string(runes[start:]))
		for _, p := range parts[first:] {
			if len(parts)-first > 1 && utf8.RuneCountInString(p) == 1 {
				parts = append(parts[:first], field)
				break
			}
		}
	}
	return parts
}

// simpleWord makes at most one term of a word without parts.
func (w *worker) simpleWord(s string) word {
	if strings.ContainsFunc(s, unicode.IsNumber) {
		return tagged(Undetermined, number(s))
	}
	l := w.language
	if sc := firstScript(s); l.script != other && l.script != sc {
		l = languages[defaults[sc]]
	}
	if l.name == "tr" {
		s = strings.ToLowerSpecial(unicode.TurkishCase, s)
	} else {
		s = strings.ToLower(s)
	}
	s = l.apostrophes(s)
	if l.stop[s] {
		return word{places: 1}
	}
	if l.normalize != nil {
		s = l.normalize(s)
		if l.script != latin && l.stop[s] {
			return word{places: 1}
		}
	}
	if l.stem != nil && len(s) <= MaxTermBytes {
		s = l.stem(s)
	}
	switch firstScript(s) {
	case latin, greek:
		s = fold(s)
	case arab:
		s = arabicEnds.Replace(s)
	}
	return tagged(l.name, s)
}

func tagged(lang, s string) word {
	switch {
	case s == "":
		return word{places: 1}
	case len(s) > MaxTermBytes:
		return word{places: 1, drop: true}
	}
	return word{terms: []Token{{Term: lang + ":" + s}}, places: 1}
}

func firstScript(s string) script {
	for _, r := range s {
		if unicode.IsLetter(r) {
			return scriptOf(r)
		}
	}
	return other
}

// apostrophes cuts what an apostrophe joins to a word of the language. The
// English stemmer does it by itself.
func (l *language) apostrophes(s string) string {
	i := strings.IndexByte(s, '\'')
	switch {
	case i < 0 || l.name == "en":
		return s
	case l.elide != nil:
		if l.elide[s[:i]] {
			return s[i+1:]
		}
	case l.suffixes:
		return s[:i]
	}
	return strings.TrimSuffix(s, "'s")
}

// number normalises a word that holds a digit: digits of any script as ASCII,
// thousands without their commas, lower case, diacritics folded.
func number(s string) string {
	s = strings.TrimSuffix(fold(strings.ToLower(s)), "'s")
	s = strings.Map(func(r rune) rune {
		for _, zero := range [...]rune{0x0660, 0x06F0, 0x0966, 0x09E6} {
			if r >= zero && r <= zero+9 {
				return '0' + r - zero
			}
		}
		return r
	}, s)
	if thousands(s) {
		s = strings.ReplaceAll(s, ",", "")
	}
	return s
}

// thousands reports digits in groups of three: 1,234,567 and 1,000.5.
func thousands(s string) bool {
	whole, _, _ := strings.Cut(s, ".")
	groups := strings.Split(whole, ",")
	if len(groups) < 2 || len(groups[0]) > 3 {
		return false
	}
	for i, g := range groups {
		if i > 0 && len(g) != 3 || strings.ContainsFunc(g, func(r rune) bool { return r < '0' || r > '9' }) {
			return false
		}
	}
	return true
}

// letters that Unicode does not decompose.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i", "ħ", "h", "ς", "σ")

// fold takes the diacritics off a lower-case Latin or Greek word.
func fold(s string) string {
	if isASCII(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
	return norm.NFC.String(letters.Replace(s))
}

// normalizeGerman writes umlauts and their two-letter forms alike, as the
// Snowball German2 stemmer does: ä and ae become a, ß ss; an e after a or o is
// a mark of the umlaut, after u only if no vowel or q is before it.
func normalizeGerman(s string) string {
	var b strings.Builder
	previous, before := rune(0), rune(0)
	for _, r := range s {
		marks := r == 'e' && (previous == 'a' || previous == 'o' || previous == 'u' && !strings.ContainsRune("aeioquyäöü", before))
		if marks {
			before, previous = previous, 'ä' // an umlaut takes no second mark
			continue
		}
		switch r {
		case 'ä':
			b.WriteByte('a')
		case 'ö':
			b.WriteByte('o')
		case 'ü':
			b.WriteByte('u')
		case 'ß':
			b.WriteString("ss")
		default:
			b.WriteRune(r)
		}
		before, previous = previous, r
	}
	return b.String()
}

// romanianCommas: the letters with a cedilla are the same letters in old
// encodings; the stemmer knows only those.
var romanianCommas = strings.NewReplacer("ș", "ş", "ț", "ţ")

func normalizeRomanian(s string) string { return romanianCommas.Replace(s) }

func normalizeRussian(s string) string { return strings.ReplaceAll(s, "ё", "е") }

// arabicLetters: alefs with hamza or madda as bare alef; no tatweel, no vowel
// marks.
var arabicLetters = strings.NewReplacer("آ", "ا", "أ", "ا", "إ", "ا", "ـ", "",
	"\u064B", "", "\u064C", "", "\u064D", "", "\u064E", "", "\u064F", "", "\u0650", "", "\u0651", "", "\u0652", "")

func normalizeArabic(s string) string { return arabicLetters.Replace(s) }

// arabicEnds: dotless yeh as yeh, teh marbuta as heh. The stemmer must see the
// difference, the index must not.
var arabicEnds = strings.NewReplacer("ى", "ي", "ة", "ه")

// persianLetters: Farsi yeh and keheh as their Arabic forms, heh with a hamza
// as heh.
var persianLetters = strings.NewReplacer("ی", "ي", "ے", "ي", "ک", "ك", "ۀ", "ه", "ہ", "ه", "\u0654", "", "ـ", "")

func normalizePersian(s string) string { return persianLetters.Replace(s) }

// hindiLetters writes alike what Hindi spells in several ways: nasals as
// bindu, no nukta and no virama, candra and short vowels, long vowels as short
// ones (the rules of Lucene's HindiNormalizer).
var hindiLetters = strings.NewReplacer(
	"\u0928\u094D", "\u0902", "\u0901", "\u0902", "\u093C", "", "\u094D", "", "\u200D", "",
	"\u0929", "\u0928", "\u0931", "\u0930", "\u0934", "\u0933",
	"\u0945", "\u0947", "\u0946", "\u0947", "\u0949", "\u094B", "\u094A", "\u094B",
	"\u090D", "\u090F", "\u090E", "\u090F", "\u0911", "\u0913", "\u0912", "\u0913", "\u0972", "\u0905",
	"\u0906", "\u0905", "\u0908", "\u0907", "\u090A", "\u0909", "\u0960", "\u090B", "\u0961", "\u090C",
	"\u0910", "\u090F", "\u0914", "\u0913",
	"\u0940", "\u093F", "\u0942", "\u0941", "\u0944", "\u0943", "\u0963", "\u0962", "\u0948", "\u0947", "\u094C", "\u094B")

func normalizeHindi(s string) string { return hindiLetters.Replace(s) }

// hindiSuffixes are the endings of the light stemmer of A. Ramanathan and
// D. Rao, "A Lightweight Stemmer for Hindi" (EACL 2003), longest first.
var hindiSuffixes = normalizedFields(`
ाएंगी ाएंगे ाऊंगी ाऊंगा ाइयाँ ाइयों ाइयां
ाएगी ाएगा ाओगी ाओगे एंगी ेंगी एंगे ेंगे ूंगी ूंगा ातीं नाओं नाएं ताओं ताएं ियाँ ियों ियां
ाकर ाइए ाईं ाया ेगी ेगा ोगी ोगे ाने ाना ाते ाती ाता तीं ाओं ाएं ुओं ुएं ुआं
कर ाओ िए ाई ाए ने नी ना ते ीं ती ता ाँ ां ों ें
ो े ू ु ी ि ा`)

// normalizedFields are the fields of a list as the words they are compared
// with are written.
func normalizedFields(list string) []string {
	fields := strings.Fields(list)
	for i, f := range fields {
		fields[i] = normalizeHindi(f)
	}
	return fields
}

// stemHindi cuts the longest suffix that leaves at least two characters.
func stemHindi(s string) string {
	for _, suffix := range hindiSuffixes {
		if strings.HasSuffix(s, suffix) && utf8.RuneCountInString(s)-utf8.RuneCountInString(suffix) >= 2 {
			return strings.TrimSuffix(s, suffix)
		}
	}
	return s
}

// FirstLetter returns the letter that every term of a word begins with, after the tag, in any language. It says so of plain words
// only: ASCII letters, of which none but the first is a capital. Whoever looks for certain terms in a text can pass over most
// words at a glance.
func FirstLetter(word string) (byte, bool) {
	for i := range len(word) {
		if c := word[i]; (c < 'a' || c > 'z') && (i > 0 || c < 'A' || c > 'Z') {
			return 0, false
		}
	}
	if word == "" || word[0]|0x20 == 'i' { // Turkish has two
		return 0, false
	}
	return word[0] | 0x20, true
}
