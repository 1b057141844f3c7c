package mail

import (
	"bytes"
	"io"
)

// transfer is a transfer encoding.
type transfer int

const (
	identity transfer = iota
	quotedPrintable
	base64Encoding
	uuencode
)

// transferOf reads the value of Content-Transfer-Encoding. What nobody knows leaves the content as it is.
func transferOf(v string) transfer {
	v, _ = cutComment(v)
	letters := make([]byte, 0, 20)
	for i := 0; i < len(v) && len(letters) < 20; i++ {
		if c := v[i] | 0x20; c >= 'a' && c <= 'z' || v[i] >= '0' && v[i] <= '9' {
			letters = append(letters, c)
		}
	}
	switch string(letters) {
	case "quotedprintable", "qp", "quoted":
		return quotedPrintable
	case "base64", "xbase64", "b":
		return base64Encoding
	case "uuencode", "xuuencode", "uue", "xuue":
		return uuencode
	}
	return identity
}

func cutComment(v string) (before, after string) {
	for i := range len(v) {
		if v[i] == '(' {
			return v[:i], v[i:]
		}
	}
	return v, ""
}

// decode takes a transfer encoding off as a whole.
func (e transfer) decode(b []byte) []byte {
	switch e {
	case quotedPrintable:
		return quoted(b, false)
	case base64Encoding:
		if !likeBase64(b) {
			return b
		}
		return base64Bytes(b)
	case uuencode:
		if files, _ := uufiles(b); len(files) > 0 {
			return files[0].content
		}
		return nil
	}
	return b
}

// reader takes a transfer encoding off as it is read.
func (e transfer) reader(b []byte) io.Reader {
	if e == base64Encoding && likeBase64(b) {
		return &base64Reader{src: b}
	}
	return bytes.NewReader(e.decode(b))
}

// quoted decodes quoted-printable, or its form in header words. What is not encoded stays as it is: a lone "=", letters in lower
// case, lines of any length, white space at their ends of which some program made a mess.
func quoted(b []byte, word bool) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '=' {
			if (c == '\n' || c == '\r') && !word { // white space before the end of a line is not part of it
				for j := i - 1; j >= 0 && len(out) > 0 && (b[j] == ' ' || b[j] == '\t'); j-- {
					out = out[:len(out)-1]
				}
			}
			out = append(out, c)
			continue
		}
		if i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		// A soft end of the line: white space may follow.
		j := i + 1
		for j < len(b) && (b[j] == ' ' || b[j] == '\t' || b[j] == '\r') {
			j++
		}
		switch {
		case word:
			out = append(out, c)
		case j == len(b):
			i = j
		case b[j] == '\n':
			i = j
		default:
			out = append(out, c)
		}
	}
	return out
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

var base64Value = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range len(base64Alphabet) {
		t[base64Alphabet[i]] = int8(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// likeBase64 reports whether the first lines of a text look encoded, as some are only said to be.
func likeBase64(b []byte) bool {
	b = bytes.TrimSpace(b)
	b = b[:min(len(b), 1000)]
	bad := 0
	for _, c := range b {
		if base64Value[c] < 0 && c != '=' && c != '\r' && c != '\n' {
			bad++
		}
	}
	return bad*10 <= len(b)
}

func base64Bytes(b []byte) []byte {
	out, _ := io.ReadAll(&base64Reader{src: b}) // yields no error
	return out
}

// base64Reader decodes base64 in which other characters stand, which has too little padding or none, or of which several were put
// one after the other.
type base64Reader struct {
	src  []byte
	bits uint32
	n    int    // digits in bits
	more []byte // decoded, to be read next
	room [3]byte
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.more) == 0 && len(p) < 3 {
		n, err := r.Read(r.room[:])
		if err != nil {
			return 0, err
		}
		r.more = r.room[:n]
	}
	if len(r.more) > 0 {
		n := copy(p, r.more)
		r.more = r.more[n:]
		return n, nil
	}
	out := 0
	for out+3 <= len(p) && len(r.src) > 0 {
		c := r.src[0]
		r.src = r.src[1:]
		if v := base64Value[c]; v >= 0 {
			r.bits = r.bits<<6 | uint32(v)
			if r.n++; r.n == 4 {
				p[out], p[out+1], p[out+2] = byte(r.bits>>16), byte(r.bits>>8), byte(r.bits)
				out += 3
				r.bits, r.n = 0, 0
			}
		} else if c == '=' {
			out += r.rest(p[out:])
		}
	}
	if len(r.src) == 0 && out+3 <= len(p) {
		out += r.rest(p[out:])
	}
	if out == 0 {
		return 0, io.EOF
	}
	return out, nil
}

// rest writes what an incomplete group holds.
func (r *base64Reader) rest(p []byte) (n int) {
	switch r.n {
	case 2:
		p[0], n = byte(r.bits>>4), 1
	case 3:
		p[0], p[1], n = byte(r.bits>>10), byte(r.bits>>2), 2
	}
	r.bits, r.n = 0, 0
	return n
}

// uufile is a file in a body.
type uufile struct {
	name    string
	content []byte
}

// uufiles takes files out of a text that are put there by uuencode, each from a line "begin 644 name" to a line "end". A file without
// an end is none.
func uufiles(b []byte) (files []uufile, rest []byte) {
	if !bytes.Contains(b, []byte("begin ")) {
		return nil, b
	}
	from := 0
	for at := 0; at < len(b); {
		line, next := cutLine(b[at:])
		after := len(b) - len(next)
		name, ok := uubegin(line)
		if !ok {
			at = after
			continue
		}
		content, size := uubody(next)
		if size == 0 {
			at = after
			continue
		}
		files = append(files, uufile{name, content})
		rest = append(rest, b[from:at]...)
		at = after + size
		from = at
	}
	return files, append(rest, b[from:]...)
}

func uubegin(line []byte) (name string, ok bool) {
	fields := bytes.SplitN(bytes.TrimSpace(line), []byte(" "), 3)
	if len(fields) != 3 || string(fields[0]) != "begin" || len(fields[1]) < 3 || len(fields[1]) > 4 || line[0] != 'b' {
		return "", false
	}
	for _, c := range fields[1] {
		if c < '0' || c > '7' {
			return "", false
		}
	}
	return string(fields[2]), true
}

// uubody decodes lines up to "end", which it returns the size with, or 0 when there is none or a line is none of them.
func uubody(b []byte) (content []byte, size int) {
	for rest := b; len(rest) > 0; {
		line, next := cutLine(rest)
		rest = next
		if string(bytes.TrimSpace(line)) == "end" {
			return content, len(b) - len(rest)
		}
		if len(line) == 0 || line[0] == '`' || line[0] == ' ' {
			continue
		}
		n := int(line[0]-' ') & 63
		digits := line[1:]
		if line[0] < ' ' || line[0] > '`' || len(digits) > 100 || len(digits)+3 < (n*8+5)/6 {
			return nil, 0
		}
		for i := 0; n > 0; i += 4 {
			var group [4]byte
			for j := range group {
				if i+j < len(digits) {
					group[j] = (digits[i+j] - ' ') & 63
				}
			}
			three := []byte{group[0]<<2 | group[1]>>4, group[1]<<4 | group[2]>>2, group[2]<<6 | group[3]}
			content = append(content, three[:min(3, n)]...)
			n -= 3
		}
	}
	return nil, 0
}
