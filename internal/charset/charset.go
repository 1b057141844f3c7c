// Package charset makes UTF-8 of text in any encoding: by its byte order mark, by what was declared, or by what it looks like.
package charset

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/llmemory/llmemory/internal/fault"
)

// Result is a decoded text.
type Result struct {
	Text    string // valid UTF-8, without a byte order mark
	Charset string // in lower case, such as "utf-8" or "shift_jis"
	Guessed bool   // the charset was neither declared nor certain
	Mended  int    // characters that could not be decoded and are U+FFFD in Text
}

// Warnings says what was assumed and what was lost, for people.
func (r Result) Warnings() []string {
	var w []string
	if r.Guessed {
		w = append(w, "read as "+r.Charset+", which is a guess")
	}
	if r.Mended > 0 {
		w = append(w, fmt.Sprintf("%d characters could not be read as %s", r.Mended, r.Charset))
	}
	return w
}

// Decode makes a text of bytes. The declared charset may be empty or wrong; a byte order mark goes before it, and so does UTF-8 where
// the bytes are nothing else. Bytes that are no text in any encoding are refused with fault.Unsupported. The text may share the memory
// of b, which must not be changed any more.
func Decode(b []byte, declared string) (Result, error) {
	for _, m := range marks {
		if rest, ok := bytes.CutPrefix(b, []byte(m.mark)); ok {
			if m.width == 1 {
				return finish(rest, "utf-8", false), nil
			}
			return units(rest, m)
		}
	}
	if m, ok := bare(b); ok {
		return units(b, m)
	}
	if m, ok := wideName(declared); ok {
		if r, err := units(b, m); err == nil && r.Mended*50 <= utf8.RuneCountInString(r.Text) {
			return r, nil
		}
	}
	if Binary(b) {
		return Result{}, fmt.Errorf("%w: binary data", fault.Unsupported)
	}
	enc, name := Lookup(declared)
	if utf8.Valid(b) && !shifts(b) {
		// Text in another encoding is valid UTF-8 by accident only where it is short and its characters have several bytes.
		if r, ok := decode(b, enc, name); ok && r.Mended == 0 && several(name) && !ascii(b) {
			return r, nil
		}
		return Result{Text: unsafe.String(unsafe.SliceData(b), len(b)), Charset: "utf-8"}, nil
	}
	if shifts(b) && !several(name) {
		jis, usual := Lookup("iso-2022-jp")
		if r, ok := decode(b, jis, usual); ok && r.Mended == 0 {
			return r, nil
		}
	}
	if r, ok := decode(b, enc, name); ok && r.Mended*50 <= utf8.RuneCountInString(r.Text) {
		return r, nil
	}
	if r := finish(b, "utf-8", false); mostlyUTF8(b, r.Mended) {
		return r, nil
	}
	name = guess(b)
	enc, name = Lookup(name)
	r, ok := decode(b, enc, name)
	if !ok {
		r, _ = decode(b, charmap.Windows1252, "windows-1252")
	}
	r.Guessed = true
	return r, nil
}

// mark is a byte order mark.
type mark struct {
	mark, name string
	width      int // bytes of a unit
	big        bool
}

var marks = []mark{
	{"\xef\xbb\xbf", "utf-8", 1, false},
	{"\xff\xfe\x00\x00", "utf-32le", 4, false},
	{"\x00\x00\xfe\xff", "utf-32be", 4, true},
	{"\xff\xfe", "utf-16le", 2, false},
	{"\xfe\xff", "utf-16be", 2, true},
}

// wideName returns how text in UTF-16 or UTF-32 of a name that tells the order of bytes is read.
func wideName(name string) (mark, bool) {
	name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"'`))
	for _, m := range marks {
		if m.width > 1 && m.name == name {
			return m, true
		}
	}
	return mark{}, false
}

// bare recognizes UTF-16 and UTF-32 without a byte order mark, by the zeros that characters below U+0100 have, or by the spaces and
// line ends between letters of other alphabets.
func bare(b []byte) (mark, bool) {
	b = b[:min(len(b), 4096)&^3]
	if len(b) < 4 || bytes.IndexByte(b, 0) < 0 {
		return mark{}, false
	}
	var zeros [4]int
	for i, c := range b {
		if c == 0 {
			zeros[i%4]++
		}
	}
	q := len(b) / 4
	most, few := func(n int) bool { return n*10 >= q*7 }, func(n int) bool { return n*20 <= q }
	switch {
	case zeros[0] == q && zeros[1] == q && most(zeros[2]) && few(zeros[3]):
		return mark{"", "utf-32be", 4, true}, true
	case zeros[3] == q && zeros[2] == q && most(zeros[1]) && few(zeros[0]):
		return mark{"", "utf-32le", 4, false}, true
	case most(zeros[0]) && most(zeros[2]) && few(zeros[1]) && few(zeros[3]):
		return mark{"", "utf-16be", 2, true}, true
	case most(zeros[1]) && most(zeros[3]) && few(zeros[0]) && few(zeros[2]):
		return mark{"", "utf-16le", 2, false}, true
	}
	return foreign(b)
}

// foreign recognizes UTF-16 of alphabets that have no zeros: nearly all of it is letters, and among them are spaces or line ends, which
// in the other order of bytes would be none.
func foreign(b []byte) (mark, bool) {
	plain := bytes.ReplaceAll(b, []byte{0}, nil)
	for cut := range min(utf8.UTFMax, len(plain)) { // the last character may be cut off
		if utf8.Valid(plain[:len(plain)-cut]) && !Binary(plain) {
			return mark{}, false // text with a few zeros in it
		}
	}
	for _, m := range marks {
		if m.width != 2 {
			continue
		}
		text, spaces := 0, 0
		for i := 0; i+1 < len(b); i += 2 {
			r := rune(b[i+1])<<8 | rune(b[i])
			if m.big {
				r = rune(b[i])<<8 | rune(b[i+1])
			}
			switch {
			case r == ' ' || r == '\n' || r == '\r' || r == '\t':
				spaces++
			case unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || unicode.IsPunct(r) || r == 0x3000 || r == 0xa0:
				text++
			}
		}
		if n := len(b) / 2; n >= 8 && spaces > 0 && spaces*2 < n && (text+spaces)*50 >= n*49 {
			return m, true
		}
	}
	return mark{}, false
}

// Unmarked tells whether bytes are text in UTF-16 or UTF-32 without a byte order mark.
func Unmarked(b []byte) bool {
	m, ok := bare(b)
	if !ok {
		return false
	}
	_, err := units(b[:len(b)&^3], m)
	return err == nil
}

// units decodes UTF-16 and UTF-32.
func units(b []byte, m mark) (Result, error) {
	unit := func(i int) rune {
		var v uint32
		for k := range m.width {
			if m.big {
				v = v<<8 | uint32(b[i+k])
			} else {
				v |= uint32(b[i+k]) << (8 * k)
			}
		}
		if v > utf8.MaxRune {
			return utf8.RuneError
		}
		return rune(v)
	}
	var s strings.Builder
	s.Grow(len(b) / m.width)
	r := Result{Charset: m.name}
	odd, n := 0, 0 // characters that text does not have
	for i := 0; i+m.width <= len(b); i += m.width {
		c := unit(i)
		if m.width == 2 && utf16.IsSurrogate(c) {
			pair := utf8.RuneError
			if i+4 <= len(b) {
				pair = utf16.DecodeRune(c, unit(i+2))
			}
			if c = pair; pair != utf8.RuneError {
				i += 2
			}
		}
		n++
		if c == utf8.RuneError || !utf8.ValidRune(c) {
			c = utf8.RuneError
			r.Mended++
		}
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' || c&0xfffe == 0xfffe {
			odd++
		}
		s.WriteRune(c)
	}
	if len(b)%m.width != 0 {
		s.WriteRune(utf8.RuneError)
		r.Mended++
	}
	if (odd+r.Mended)*20 > n+20 {
		return Result{}, fmt.Errorf("%w: binary data", fault.Unsupported)
	}
	r.Text = s.String()
	return r, nil
}

// Binary tells whether bytes, which begin with no byte order mark and are neither UTF-16 nor UTF-32, are no text in any encoding: more
// than one of a hundred is a control character.
func Binary(b []byte) bool {
	n := 0
	b = b[:min(len(b), 1<<20)]
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != '\b' || c == 0x7f {
			n++
		}
	}
	return n*100 > len(b)
}

// Lookup returns the encoding of a name as mail, web pages and XML use them, and its usual name; nil for none, and for UTF-8.
func Lookup(name string) (encoding.Encoding, string) {
	name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"'`))
	if other, ok := aliases[name]; ok {
		name = other
	}
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "binary", "unknown-8bit", "utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be":
		return nil, ""
	case "utf-7":
		return nil, "" // not read; it is ASCII to the eye
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		if e, err = ianaindex.IANA.Encoding(name); err != nil || e == nil {
			return nil, ""
		}
	}
	if e == encoding.Replacement {
		return nil, ""
	}
	if n, err := htmlindex.Name(e); err == nil {
		if n == "utf-8" || strings.HasPrefix(n, "utf-16") {
			return nil, ""
		}
		name = n
	}
	return e, name
}

// CodePage returns the name of a code page of Windows or DOS, "" for one that is not known, and for ASCII.
func CodePage(n int) string {
	switch {
	case n >= 1250 && n <= 1258 || n == 874:
		return "windows-" + strconv.Itoa(n)
	case n >= 28591 && n <= 28606:
		return "iso-8859-" + strconv.Itoa(n-28590)
	}
	if name, ok := codePages[n]; ok {
		return name
	}
	if e, name := Lookup("ibm" + strconv.Itoa(n)); e != nil {
		return name
	}
	return ""
}

var codePages = map[int]string{
	932: "shift_jis", 936: "gbk", 949: "euc-kr", 950: "big5", 10000: "macintosh", 10007: "x-mac-cyrillic", 20866: "koi8-r", 21866: "koi8-u",
	32768: "macintosh", 50220: "iso-2022-jp", 50221: "iso-2022-jp", 50222: "iso-2022-jp", 51932: "euc-jp", 51936: "gbk", 51949: "euc-kr",
	54936: "gb18030", 65001: "utf-8",
}

// aliases are names that are used and that no index has, or that mean a larger set than they say.
var aliases = map[string]string{
	"cp1252": "windows-1252", "cp1251": "windows-1251", "cp1250": "windows-1250", "cp932": "shift_jis", "ms932": "shift_jis",
	"windows-31j": "shift_jis", "cp936": "gbk", "gb2312": "gbk", "gb_2312-80": "gbk", "cp949": "euc-kr", "uhc": "euc-kr", "cp950": "big5",
	"maccyrillic": "x-mac-cyrillic", "macroman": "macintosh", "tis-620": "windows-874", "latin1": "windows-1252", "latin-1": "windows-1252",
	"iso8859-1": "windows-1252", "8859_1": "windows-1252", "cp850": "ibm850", "cp437": "ibm437", "cp866": "ibm866", "sjis": "shift_jis",
	"ks_c_5601-1987": "euc-kr", "koi8r": "koi8-r", "iso-8859-8-i": "iso-8859-8",
}

// several tells whether characters of an encoding may have several bytes.
func several(name string) bool {
	switch name {
	case "shift_jis", "euc-jp", "euc-kr", "gbk", "gb18030", "big5", "iso-2022-jp", "hz-gb-2312":
		return true
	}
	return false
}

// shifts tells whether ASCII bytes may be text of another alphabet, by the escape sequences of ISO 2022.
func shifts(b []byte) bool {
	for {
		i := bytes.IndexByte(b, 0x1b)
		if i < 0 || i+2 >= len(b) {
			return false
		}
		if b[i+1] == '$' && (b[i+2] == 'B' || b[i+2] == '@' || b[i+2] == '(') {
			return true
		}
		b = b[i+1:]
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// decode decodes bytes in an encoding, if there is one.
func decode(b []byte, e encoding.Encoding, name string) (Result, bool) {
	if e == nil {
		return Result{}, false
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return Result{}, false
	}
	return finish(out, name, true), true
}

// finish makes valid UTF-8 of what is or should be UTF-8. Replacement characters of a decoder count as mended.
func finish(b []byte, name string, decoded bool) Result {
	r := Result{Charset: name}
	if decoded {
		r.Mended = bytes.Count(b, []byte("\uFFFD"))
	}
	if utf8.Valid(b) {
		r.Text = unsafe.String(unsafe.SliceData(b), len(b))
		return r
	}
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		if c == utf8.RuneError && n == 1 {
			r.Mended++
		}
		s.WriteRune(c)
		b = b[n:]
	}
	r.Text = s.String()
	return r
}

// mostlyUTF8 tells whether bytes are UTF-8 but for a few that were spoiled: ten sound characters of several bytes for each bad byte.
func mostlyUTF8(b []byte, bad int) bool {
	sound := 0
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		if n > 1 && c != utf8.RuneError {
			sound++
		}
		b = b[n:]
	}
	return sound >= 10*bad
}
