package mail

import (
	"bytes"
	"strings"
)

// field is a header field: its name in lower case, its value unfolded but as it is written.
type field struct{ name, value string }

type header []field

// get returns the value of the first field with a name that says something, or "".
func (h header) get(name string) string {
	for _, f := range h {
		if f.name == name && strings.TrimSpace(f.value) != "" {
			return f.value
		}
	}
	return ""
}

const (
	maxFields      = 2000
	maxHeaderBytes = 1 << 20
	maxFieldName   = 76
	// lookahead is how many lines after one that does not belong in a header are looked at for more of it.
	lookahead = 30
)

// cutLine returns the first line of a text without its end, and the rest.
func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return bytes.TrimRight(b, "\r"), nil
	}
	return bytes.TrimRight(b[:n], "\r"), b[n+1:]
}

// splitHeader parts the header of an entity from its body. Lines that belong in no header, such as those that some program has
// wrapped without an indent, are taken for the rest of the field before, as long as more fields follow; else the body begins
// with them.
func splitHeader(raw []byte) (h header, body []byte) {
	rest := raw
	var more []byte // of the last field
	finish := func() {
		if len(more) > 0 {
			h[len(h)-1].value += string(more)
			more = more[:0]
		}
	}
	defer finish()
	grow := func(line []byte) {
		if len(h) > 0 && len(raw)-len(rest) < maxHeaderBytes {
			more = append(append(more, ' '), bytes.TrimSpace(line)...)
		}
	}
	for len(rest) > 0 {
		line, next := cutLine(rest)
		if len(line) == 0 {
			return h, next
		}
		name, value, isField := fieldOf(line)
		switch {
		case line[0] == ' ' || line[0] == '\t':
			if len(bytes.TrimSpace(line)) == 0 && !moreHeader(next) {
				return h, next
			}
			grow(line)
		case isField:
			if len(h) < maxFields && len(raw)-len(rest) < maxHeaderBytes {
				finish()
				h = append(h, field{name, value})
			}
		case len(h) == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))):
			// The mark of a mailbox, left by whatever took the message out of it.
		case bytes.HasPrefix(line, []byte("--")) || !moreHeader(next):
			return h, rest
		default:
			grow(line)
		}
		rest = next
	}
	return h, nil
}

// fieldOf takes a header line apart.
func fieldOf(line []byte) (name, value string, ok bool) {
	n := bytes.IndexByte(line[:min(len(line), maxFieldName+8)], ':')
	if n <= 0 {
		return "", "", false
	}
	left := bytes.TrimRight(line[:n], " \t")
	if len(left) == 0 || len(left) > maxFieldName {
		return "", "", false
	}
	for _, c := range left {
		if c <= ' ' || c >= 0x7f {
			return "", "", false
		}
	}
	return strings.ToLower(string(left)), strings.TrimSpace(string(line[n+1:])), true
}

// moreHeader reports whether a field follows before the next empty line, or a folded line at once.
func moreHeader(rest []byte) bool {
	for i := 0; i < lookahead && len(rest) > 0; i++ {
		line, next := cutLine(rest)
		if len(line) == 0 {
			return false
		}
		if i == 0 && (line[0] == ' ' || line[0] == '\t') && len(bytes.TrimSpace(line)) > 0 {
			return true
		}
		if name, _, ok := fieldOf(line); ok && usual(name) {
			return true
		}
		rest = next
	}
	return false
}

// usual reports whether a name is one that headers of messages and their parts have.
func usual(name string) bool {
	return names[name] || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "content-") ||
		strings.HasPrefix(name, "resent-") || strings.HasPrefix(name, "list-") || strings.HasPrefix(name, "arc-")
}

var names = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields("from to cc bcc date subject sender reply-to message-id in-reply-to references received " +
		"return-path mime-version delivered-to envelope-to user-agent dkim-signature domainkey-signature received-spf " +
		"authentication-results priority importance status comments keywords organization newsgroups thread-topic thread-index " +
		"auto-submitted errors-to precedence lines disposition-notification-to") {
		m[name] = true
	}
	return m
}()

// isMessage reports whether a header is one of a message: it has a field that only mail has, or two that it usually has.
func (h header) isMessage() bool {
	known := 0
	for _, f := range h {
		switch f.name {
		case "from", "to", "subject", "date", "received", "message-id", "return-path", "delivered-to", "mime-version", "sender":
			known += 2
		case "cc", "bcc", "reply-to", "content-type", "content-transfer-encoding", "in-reply-to":
			known++
		}
	}
	return known >= 2
}

// media is a value such as "text/plain; charset=utf-8", taken apart.
type media struct {
	value  string // in lower case, without comments
	params map[string]string
}

// parseMedia takes the value of Content-Type or Content-Disposition apart. It never fails: quotes may be missing around blanks
// and unusual characters, semicolons may be missing or too many, values may be encoded by RFC 2231, RFC 2047 or not at all.
func parseMedia(v string) media {
	m := media{params: map[string]string{}}
	v = strings.TrimSpace(v)
	n := strings.IndexAny(v, "; \t(")
	if n < 0 {
		n = len(v)
	}
	m.value = strings.ToLower(strings.Trim(v[:n], `"'`))
	var pieces []param
	for v = v[n:]; v != "" && len(pieces) < 200; {
		v = strings.TrimLeft(v, "; \t\r\n")
		if strings.HasPrefix(v, "(") {
			v = v[commentEnd(v):]
			continue
		}
		stop := strings.IndexAny(v, "=;")
		if stop < 0 {
			break
		}
		if v[stop] == ';' {
			v = v[stop:]
			continue
		}
		name := strings.ToLower(strings.TrimSpace(v[:stop]))
		if i := strings.LastIndexAny(name, " \t"); i >= 0 {
			name = name[i+1:] // what stands before it is no parameter
		}
		var value string
		value, v = paramValue(strings.TrimLeft(v[stop+1:], " \t"))
		pieces = append(pieces, param{name, value})
	}
	m.join(pieces)
	return m
}

type param struct{ name, value string }

// paramValue returns the value at the beginning of a text, and the rest.
func paramValue(v string) (value, rest string) {
	if !strings.HasPrefix(v, `"`) {
		n := strings.IndexByte(v, ';')
		if n < 0 {
			n = len(v)
		}
		return strings.TrimSpace(v[:n]), v[n:]
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\'):
			i++
			b.WriteByte(v[i])
		case c == '"':
			return b.String(), v[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String()), ""
}

// join puts the pieces of RFC 2231 together: "name*0*", "name*1" and so on, or "name*".
func (m media) join(pieces []param) {
	type extended struct {
		charset string
		bytes   []byte
		next    int
		begun   bool
	}
	long := map[string]*extended{}
	for round := 0; round <= len(pieces); round++ { // sections may come in any order
		before := 0
		for i, p := range pieces {
			base, suffix, is := strings.Cut(p.name, "*")
			if p.name == "" {
				continue
			}
			if !is {
				if _, has := m.params[base]; !has {
					m.params[base] = p.value
				}
				pieces[i].name = ""
				continue
			}
			x := long[base]
			if x == nil {
				x = &extended{}
				long[base] = x
			}
			number, encoded := strings.CutSuffix(suffix, "*")
			if suffix == "" {
				encoded = true
			} else if number != itoa(x.next) {
				continue
			}
			value := []byte(p.value)
			if encoded {
				if !x.begun {
					if c, rest, ok := strings.Cut(p.value, "'"); ok {
						if _, rest, ok := strings.Cut(rest, "'"); ok {
							x.charset, value = c, []byte(rest)
						}
					}
				}
				value = percent(value)
			}
			x.bytes, x.begun = append(x.bytes, value...), true
			x.next++
			pieces[i].name = ""
			before++
		}
		if before == 0 {
			break
		}
	}
	for name, x := range long {
		if x.begun {
			m.params[name], _ = toUTF8(x.bytes, x.charset)
		}
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// percent decodes "%41"; what is not of this form stays.
func percent(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// commentEnd returns the end of the comment that a text begins with.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// words decodes the encoded words of RFC 2047 in a text, wherever they stand, and what has other bytes than ASCII: as UTF-8 if it
// is, else in the given charset. Runs of white space become one space.
//
// Words of one charset that follow each other are decoded together, as many programs cut within a character.
func words(s, charset string) string {
	var b strings.Builder
	var run []byte   // decoded bytes of the words
	runCharset := "" // of them
	inRun := false
	flush := func() {
		if inRun {
			text, _ := toUTF8(run, runCharset)
			b.WriteString(text)
		}
		run, inRun = nil, false
	}
	literal := func(s string) {
		if s == "" || inRun && strings.TrimSpace(s) == "" {
			return
		}
		flush()
		if raw := []byte(s); !ascii(raw) { // the charset is for raw bytes only
			s, _ = toUTF8(raw, charset)
		}
		b.WriteString(s)
	}
	from := 0
	for i := 0; i < len(s); {
		if s[i] != '=' || i+1 == len(s) || s[i+1] != '?' {
			i++
			continue
		}
		wordCharset, decoded, size := encodedWord(s[i:])
		if size == 0 {
			i += 2
			continue
		}
		if between := s[from:i]; strings.TrimSpace(between) != "" || !inRun {
			flush()
			literal(between)
		} else if !strings.EqualFold(wordCharset, runCharset) {
			flush()
		}
		run, runCharset, inRun = append(run, decoded...), wordCharset, true
		i += size
		from = i
	}
	if rest := s[from:]; strings.TrimSpace(rest) != "" {
		literal(rest)
	}
	flush()
	return strings.Join(strings.FieldsFunc(b.String(), func(r rune) bool {
		return r == ' ' || r < ' ' || r == 0x7f || r == 0xa0 || r == 0x2028 || r == 0x2029 || r == 0x85
	}), " ")
}

const maxWordBytes = 4096

// encodedWord decodes the word that a text begins with. The size is 0 if it begins with none.
func encodedWord(s string) (charset string, decoded []byte, size int) {
	n := strings.IndexByte(s[2:min(len(s), 80)], '?')
	if n <= 0 {
		return "", nil, 0
	}
	charset = s[2 : 2+n]
	if strings.ContainsAny(charset, " \t\"") {
		return "", nil, 0
	}
	charset, _, _ = strings.Cut(charset, "*") // a language
	at := 2 + n + 1
	if at+1 >= len(s) || s[at+1] != '?' {
		return "", nil, 0
	}
	kind := s[at] | 0x20
	if kind != 'b' && kind != 'q' {
		return "", nil, 0
	}
	at += 2
	for end := at; ; {
		n := strings.Index(s[end:min(len(s), at+maxWordBytes)], "?=")
		if n < 0 {
			return "", nil, 0
		}
		end += n
		if after := s[end+2:]; kind == 'q' && len(after) >= 2 && unhex(after[0]) >= 0 && unhex(after[1]) >= 0 && strings.Contains(
			s[end+2:min(len(s), at+maxWordBytes)], "?=") {
			end++ // a question mark that should have been encoded, before something that is
			continue
		}
		text := s[at:end]
		if kind == 'b' {
			decoded = base64Bytes([]byte(text))
		} else {
			decoded = quoted([]byte(strings.ReplaceAll(text, "_", " ")), true)
		}
		return charset, decoded, end + 2
	}
}

// address is a mailbox: a person's name, which may be empty, and where to write to.
type address struct{ name, addr string }

func (a address) String() string {
	if a.name == "" {
		return a.addr
	}
	if a.addr == "" {
		return a.name
	}
	return a.name + " <" + a.addr + ">"
}

// addresses reads a list of mailboxes, in whatever form.
func addresses(v, charset string) (out []address) {
	var text, comment, angle strings.Builder
	lastEnd := strings.LastIndexByte(v, ';') // of a group
	lastQuote := strings.LastIndexByte(v, '"')
	inAngle, hadAngle := false, false
	flush := func() {
		name := unquote(words(text.String(), charset))
		a := address{name, strings.Join(strings.Fields(words(angle.String(), charset)), "")}
		if !hadAngle {
			a = bare(name)
			if a.name == "" {
				a.name = unquote(words(comment.String(), charset))
			}
		}
		if a.name != "" || a.addr != "" {
			out = append(out, a)
		}
		text.Reset()
		comment.Reset()
		angle.Reset()
		inAngle, hadAngle = false, false
	}
	for i := 0; i < len(v) && len(out) < maxFields; i++ {
		switch c := v[i]; {
		case c == '"' && !inAngle && i == lastQuote: // without another
		case c == '"' && !inAngle:
			j := i + 1
			for ; j < len(v) && v[j] != '"'; j++ {
				if v[j] == '\\' && j+1 < len(v) {
					j++
				}
				text.WriteByte(v[j])
			}
			i = j
		case c == '(':
			n := commentEnd(v[i:])
			if comment.Len() == 0 {
				comment.WriteString(strings.TrimSuffix(v[i+1:i+n], ")"))
			}
			i += n - 1
		case c == '<':
			inAngle, hadAngle = true, true
		case c == '>':
			inAngle = false
		case inAngle:
			angle.WriteByte(c)
		case c == ',':
			flush()
		case c == ':' && i < lastEnd:
			text.Reset() // the name of a group
		case c == ';':
			flush()
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return out
}

// bare reads a mailbox without angle brackets.
func bare(s string) address {
	fields := strings.Fields(s)
	at, n := -1, 0
	for i, f := range fields {
		if strings.Contains(f, "@") {
			at, n = i, n+1
		}
	}
	switch {
	case n == 1 && len(fields) > 1 && at == len(fields)-1:
		return address{strings.Join(fields[:at], " "), fields[at]}
	case n == 1 && len(fields) > 1 && at == 0 && !strings.Contains(s, "@ ") && !strings.Contains(s, " ."):
		return address{strings.Join(fields[1:], " "), fields[0]}
	}
	return address{addr: strings.Join(fields, " ")}
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	for len(s) > 1 && (s[0] == '"' && s[len(s)-1] == '"' || s[0] == '\'' && s[len(s)-1] == '\'') {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	return s
}
