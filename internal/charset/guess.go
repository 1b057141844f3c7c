package charset

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// sampleBytes is how much of a text is looked at for a guess.
const sampleBytes = 32 << 10

// guess names the charset that bytes which are not UTF-8 are most likely in.
//
// The detector of the Mozilla family tells encodings of several bytes, and alphabets other than the Latin, from a few words. It does
// not know the Latin ones of Central Europe and of Turkey, nor Arabic; those are told by which letters would stand where.
func guess(b []byte) string {
	s := sample(b)
	found := chardet.Detect(s)
	name := strings.ToLower(found.Encoding)
	if found.Confidence > .9 && fits(s, name) {
		return wide(name)
	}
	candidates := []string{"windows-1252", "windows-1250", "iso-8859-2", "windows-1254", "windows-1256", "iso-8859-6", "x-mac-cyrillic", "windows-1251"}
	east := ""
	for _, other := range chardet.DetectAll(s) { // the best first
		if n := strings.ToLower(other.Encoding); east == "" && other.Confidence > .1 && fits(s, n) {
			east = wide(n)
			candidates = append(candidates, east)
		}
	}
	if east == "" { // it says nothing of a few characters
		for _, n := range []string{"shift_jis", "gb18030", "big5", "euc-kr"} {
			if fits(s, n) {
				candidates = append(candidates, n)
			}
		}
	}
	if name == "koi8-r" {
		name = "koi8-u" // the same letters, and those of Ukrainian where KOI8-R has parts of frames
	}
	if enc, known := Lookup(name); enc != nil && !several(known) && found.Confidence > .3 && !strings.HasPrefix(name, "iso-8859-1") && name != "windows-1252" &&
		name != "windows-1254" && name != "iso-8859-9" && name != "maccyrillic" && name != "macroman" {
		candidates = append(candidates, name)
	}
	best, top := "", 0
	for _, c := range candidates {
		enc, known := Lookup(c)
		if enc == nil {
			continue
		}
		p := plausible(s, enc, known)
		if several(known) {
			p *= 2 // as each character has two bytes
		}
		if c == name {
			p += p / 4
		}
		if best == "" || p > top {
			best, top = known, p
		}
	}
	return best
}

// fits tells whether an encoding is one of several bytes and bytes are well formed in it.
func fits(s []byte, name string) bool {
	enc, known := Lookup(name)
	if enc == nil || !several(known) {
		return false
	}
	r, ok := decode(s, enc, known)
	return ok && r.Mended*100 <= utf8.RuneCountInString(r.Text)
}

// wide returns the usual name of an encoding, or of the one that has all of it and more.
func wide(name string) string {
	if _, name = Lookup(name); name == "gbk" {
		return "gb18030"
	}
	return name
}

// sample takes the lines that have bytes above ASCII, up to sampleBytes, as others tell nothing.
func sample(b []byte) []byte {
	var s []byte
	for len(b) > 0 && len(s) < sampleBytes {
		i := bytes.IndexFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
		if i < 0 {
			break
		}
		from := bytes.LastIndexByte(b[:i], '\n') + 1
		from = max(from, i-200)
		to := bytes.IndexByte(b[i:], '\n') + 1
		if to == 0 || to > sampleBytes-len(s) {
			to = min(len(b)-i, sampleBytes-len(s))
		}
		s = append(s, b[from:i+to]...)
		b = b[i+to:]
	}
	return s
}

// languages are the letters beyond ASCII that languages write with. A text uses those of one language and few others.
var languages = func() []map[rune]bool {
	var sets []map[rune]bool
	for _, letters := range []string{
		"éèàùâêîôûëïçœæÿ", "äöüßé", "áéíóúñü", "áâãàçéêíóôõúü", "åäöéü", "æøåéö", "àèéìòùî", "ëéïöüèó", "áéíóúýþæðö", "àèéíïòóúüçñ",
		"ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "âăîșțşţ", "čćđšž",
		"âçğıîöşüûİ",
		"абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя’", "абвгдђежзијклљмнњопрстћуфхцчџшѓѕќў",
		"ابتثجحخدذرزسشصضطظعغفقكلمنهويىةءأإآؤئپچژگک\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652",
		"αάβγδεέζηήθιίϊΐκλμνξοόπρσςτυύϋΰφχψωώ",
		"אבגדהוזחטיכךלמםנןסעפףצץקרשת",
		"กขฃคฅฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลวศษสหฬอฮะาิีึืุูเแโใไ่้๊๋์ัำๅๆฯ็",
	} {
		set := map[rune]bool{}
		for _, r := range letters {
			set[r] = true
			set[unicode.ToUpper(r)] = true
		}
		sets = append(sets, set)
	}
	return sets
}()

// plausible counts for and against an encoding: letters of one language for it; those of no such language, symbols within words,
// capitals after small letters, alphabets mixed in a word, and what the encoding does not have, against it.
func plausible(s []byte, enc encoding.Encoding, name string) int {
	out, err := enc.NewDecoder().Bytes(s)
	if err != nil {
		return -1 << 30
	}
	runes := []rune(string(out))
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return ' '
		}
		return runes[i]
	}
	points := 0
	letters := map[rune]int{}
	for i, r := range runes {
		if r < utf8.RuneSelf {
			continue
		}
		before, after := at(i-1), at(i+1)
		inWord := unicode.IsLetter(before) && unicode.IsLetter(after)
		switch {
		case r == utf8.RuneError, r < 0xa0:
			points -= 20
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			if unicode.Is(unicode.Han, r) && !everyday(r, name) {
				points -= 4
			}
			points += 3
			if isLatin(before) || isLatin(after) || r >= 0xff61 && r <= 0xff9f { // or of half the width
				points -= 6
			}
			if unicode.Is(unicode.Hangul, r) && unicode.Is(unicode.Han, before) || unicode.Is(unicode.Han, r) && unicode.Is(unicode.Hangul, before) {
				points -= 6 // modern Korean does not mix them
			}
		case unicode.IsLetter(r) || unicode.IsMark(r):
			letters[r]++
			if unicode.IsUpper(r) && unicode.IsLower(before) {
				points -= 8
			}
			if unicode.IsLower(r) && unicode.IsUpper(before) && unicode.IsUpper(after) {
				points -= 8
			}
			if unicode.IsLetter(before) && script(before) != script(r) {
				points -= 8
			}
		case inWord && r != '\u2019' && r != '\u00ad' && r != '\u00b7' && r != '\u200c' && r != '\u200d':
			points -= 8
		case unicode.IsLetter(after) && !unicode.In(r, unicode.Pi, unicode.Ps, unicode.Pf, unicode.Pd) && !strings.ContainsRune("¿¡«„\u00a0§€£", r):
			points -= 4
		case strings.ContainsRune("’‘“”„–—«»¿¡\u00a0€£§°·…", r):
			points += 2
		default:
			points--
		}
	}
	best := 0
	for i, set := range languages {
		sum := 0
		for r, n := range letters {
			if set[r] {
				sum += 3 * n
			} else {
				sum -= 3 * n
			}
		}
		if i == 0 || sum > best {
			best = sum
		}
	}
	return points + best
}

// everyday tells whether a Chinese character is one of the few thousand that the standard behind an encoding lists first, as those
// of everyday use.
func everyday(r rune, name string) bool {
	enc, first, last := encoding.Encoding(simplifiedchinese.GBK), byte(0xb0), byte(0xd7)
	switch name {
	case "big5":
		enc, first, last = traditionalchinese.Big5, 0xa4, 0xc6
	case "shift_jis", "euc-jp", "iso-2022-jp":
		enc, first, last = japanese.EUCJP, 0xb0, 0xcf
	case "euc-kr":
		return false
	}
	b, err := enc.NewEncoder().String(string(r))
	return err == nil && len(b) == 2 && b[0] >= first && b[0] <= last && (name == "big5" || b[1] >= 0xa1)
}

func isLatin(r rune) bool { return unicode.Is(unicode.Latin, r) }

func script(r rune) *unicode.RangeTable {
	for _, s := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Arabic, unicode.Hebrew, unicode.Thai} {
		if unicode.Is(s, r) {
			return s
		}
	}
	return nil
}
