package mail

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// nameless reports whether what bytes are said to be in tells nothing.
func nameless(charset string) bool {
	name := cleanCharset(charset)
	return name == "" || undeclared[name] || charsetOf(name) == nil
}

// cleanCharset is the name of a charset as it is looked up.
func cleanCharset(charset string) string {
	name := strings.ToLower(strings.Trim(strings.TrimSpace(charset), `"'`))
	name, _, _ = strings.Cut(name, " ")
	return name
}

// toUTF8 decodes bytes of the charset that they are said to be in; "" says nothing. It never fails. The note tells what a person
// should know, or is empty.
//
// What is said is often wrong, in few ways: text in UTF-8 goes by the name of a charset of single bytes or of none, and text in a
// charset of single bytes by the name of UTF-8 or of ASCII. Bytes of the one are hardly ever valid as the other, so the bytes
// decide.
func toUTF8(b []byte, charset string) (text, note string) {
	name := cleanCharset(charset)
	if name == "utf-7" || name == "unicode-1-1-utf-7" || name == "x-unicode-2-0-utf-7" {
		return utf7(b), ""
	}
	stateful := strings.HasPrefix(name, "iso-2022") || strings.HasPrefix(name, "hz") || strings.HasPrefix(name, "utf-16") ||
		strings.HasPrefix(name, "utf-32") || strings.HasPrefix(name, "ucs-") || strings.HasPrefix(name, "csiso2022")
	if !stateful && ascii(b) {
		if bytes.Contains(b, []byte("\x1b$")) && (name == "" || undeclared[name]) {
			return decodeAs(japanese.ISO2022JP, b), ""
		}
		return string(b), ""
	}
	if name == "" || undeclared[name] {
		if utf8.Valid(b) {
			return string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))), ""
		}
		return decodeAs(charmap.Windows1252, b), "text in an unnamed charset, read as Windows-1252"
	}
	e := charsetOf(name)
	switch {
	case e == nil && utf8.Valid(b):
		return string(b), ""
	case e == nil:
		return decodeAs(charmap.Windows1252, b), "text in the charset " + printable(name) + ", which is not known, read as Windows-1252"
	case e == unicode.UTF8:
		b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		if utf8.Valid(b) {
			return string(b), ""
		}
		if good, bad := sequences(b); good > bad {
			return strings.ToValidUTF8(string(b), "\ufffd"), "text that is not quite UTF-8"
		}
		return decodeAs(charmap.Windows1252, b), "text that is not in UTF-8, as it says, read as Windows-1252"
	}
	if _, single := e.(*charmap.Charmap); single {
		if utf8.Valid(b) {
			return string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))), ""
		}
		return decodeAs(e, b), ""
	}
	text = decodeAs(e, b)
	if strings.ContainsRune(text, utf8.RuneError) {
		if utf8.Valid(b) {
			return string(b), ""
		}
		note = "text with bytes that are not in its charset " + printable(name)
	}
	return text, note
}

func decodeAs(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return strings.ToValidUTF8(string(out), "\ufffd")
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// sequences counts the characters of several bytes that are valid in UTF-8, and the bytes that are not.
func sequences(b []byte) (good, bad int) {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			bad++
		} else if size > 1 {
			good++
		}
		b = b[size:]
	}
	return good, bad
}

// undeclared are names that tell nothing.
var undeclared = map[string]bool{
	"us-ascii": true, "ascii": true, "ansi_x3.4-1968": true, "ansi": true, "unknown": true, "x-unknown": true, "unknown-8bit": true,
	"none": true, "binary": true, "default": true, "x-user-defined": true, "default_charset": true, "7bit": true, "8bit": true,
	"_autodetect": true, "_autodetect_all": true, "iso-10646": true, "646": true,
}

// aliases are names that are in use but in no register.
var aliases = map[string]string{
	"utf8": "utf-8", "utf_8": "utf-8", "utf-8mb4": "utf-8", "utf8mb4": "utf-8", "unicode": "utf-8", "unicode-1-1-utf-8": "utf-8",
	"cp932": "shift_jis", "cp-932": "shift_jis", "ms932": "shift_jis", "x-sjis": "shift_jis", "sjis": "shift_jis", "windows-932": "shift_jis",
	"cp936": "gbk", "ms936": "gbk", "windows-936": "gbk", "euc-cn": "gbk", "gb2312-80": "gbk", "gb_1988-80": "gbk", "x-gbk": "gbk",
	"cp949": "euc-kr", "uhc": "euc-kr", "ms949": "euc-kr", "ks_c_5601": "euc-kr", "ks_c_5601-1989": "euc-kr", "ksc_5601": "euc-kr",
	"ks_c-5601-1987": "euc-kr", "cp950": "big5", "ms950": "big5", "windows-950": "big5", "big-5": "big5", "x-euc-jp": "euc-jp",
	"eucjp": "euc-jp", "koi8r": "koi8-r", "koi8_r": "koi8-r", "koi8": "koi8-r", "koi8u": "koi8-u",
	"latin-1": "iso-8859-1", "latin_1": "iso-8859-1", "iso": "iso-8859-1", "8859-1": "iso-8859-1", "8859_1": "iso-8859-1",
	"mac": "macintosh", "macroman": "macintosh", "mac-roman": "macintosh",
	"iso-2022-jp-1": "iso-2022-jp", "iso-2022-jp-2": "iso-2022-jp", "iso-2022-jp-3": "iso-2022-jp", "iso-2022-jp-ms": "iso-2022-jp",
	"cp50220": "iso-2022-jp", "cp50221": "iso-2022-jp",
}

// charsetOf finds a charset by its name in lower case, or returns nil.
func charsetOf(name string) encoding.Encoding {
	if len(name) > 60 {
		return nil
	}
	if alias, ok := aliases[name]; ok {
		name = alias
	}
	if strings.HasPrefix(name, "hz") {
		return simplifiedchinese.HZGB2312
	}
	for _, prefix := range []string{"windows", "win", "x-cp", "cp", "ms", "microsoft"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			rest = strings.TrimLeft(rest, "-_")
			if len(rest) == 4 && strings.HasPrefix(rest, "125") || rest == "874" {
				name = "windows-" + rest
			}
		}
	}
	if rest, ok := strings.CutPrefix(name, "8859"); ok {
		name = "iso-8859" + rest
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e
	}
	return nil
}

// utf7 decodes UTF-7 (RFC 2152): base64 of UTF-16 between "+" and "-".
func utf7(b []byte) string {
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] != '+' {
			if b[i] < 0x80 {
				out.WriteByte(b[i])
			} else {
				out.WriteRune(utf8.RuneError)
			}
			continue
		}
		end := i + 1
		for end < len(b) && base64Value[b[end]] >= 0 && b[end] != '-' && b[end] != '_' {
			end++
		}
		if end == i+1 && end < len(b) && b[end] == '-' {
			out.WriteByte('+')
			i = end
			continue
		}
		raw := base64Bytes(b[i+1 : end])
		units := make([]uint16, len(raw)/2)
		for j := range units {
			units[j] = binary.BigEndian.Uint16(raw[2*j:])
		}
		out.WriteString(string(utf16.Decode(units)))
		i = end - 1
		if end < len(b) && b[end] == '-' {
			i = end
		}
	}
	return out.String()
}

// printable is a name as it may be shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
