package mail

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/llmemory/llmemory/extract"
)

const (
	maxParts = 10_000
	maxDepth = 30
)

// part is an entity of MIME: the message itself, or what lies within it. Body is a slice of the message.
type part struct {
	header      header
	media       media
	disposition media
	body        []byte
	kids        []*part
}

// tree reads an entity and what lies within it.
type tree struct{ parts int }

func (t *tree) entity(h header, body []byte, standard string, depth int) (*part, error) {
	if t.parts++; t.parts > maxParts {
		return nil, fmt.Errorf("%w: a message of more than %d parts", extract.ErrTooLarge, maxParts)
	}
	p := &part{header: h, body: body, media: contentType(h, body), disposition: parseMedia(h.get("content-disposition"))}
	if p.media.value == "" {
		p.media.value = standard
	}
	if !strings.HasPrefix(p.media.value, "multipart/") {
		return p, nil
	}
	if depth == maxDepth {
		p.media = media{value: "application/octet-stream", params: map[string]string{}}
		return p, nil
	}
	bodies, bounded := split(body, p.media.params["boundary"])
	if !bounded {
		bodies, bounded = split(body, guessBoundary(body))
	}
	if !bounded { // in one part, whatever it says
		p.media = media{value: "text/plain", params: map[string]string{}}
		return p, nil
	}
	standard = "text/plain"
	if p.media.value == "multipart/digest" {
		standard = "message/rfc822"
	}
	for _, b := range bodies {
		kidHeader, kidBody := splitHeader(b)
		kid, err := t.entity(kidHeader, kidBody, standard, depth+1)
		if err != nil {
			return nil, err
		}
		p.kids = append(p.kids, kid)
	}
	return p, nil
}

// contentType chooses among several fields: the first that tells a boundary which is there, else the first of all.
func contentType(h header, body []byte) media {
	var first media
	n := 0
	for _, f := range h {
		if f.name != "content-type" || strings.TrimSpace(f.value) == "" {
			continue
		}
		if n++; n > 5 {
			break
		}
		m := parseMedia(f.value)
		switch m.value {
		case "text", "plain":
			m.value = "text/plain"
		case "html":
			m.value = "text/html"
		}
		if !strings.Contains(m.value, "/") {
			m.value = ""
		}
		if b := m.params["boundary"]; b != "" && strings.HasPrefix(m.value, "multipart/") && bytes.Contains(body, []byte("--"+b)) {
			return m
		}
		if first.value == "" {
			first = m
		}
	}
	if first.params == nil {
		first.params = map[string]string{}
	}
	return first
}

// split cuts a body at the lines that are its boundary. What stands before the first, and after the last if that is a closing one,
// is for programs that do not know MIME. A closing line may have one "-" too few, or not be there. Bounded tells whether there is any.
func split(body []byte, boundary string) (parts [][]byte, bounded bool) {
	if boundary == "" {
		return nil, false
	}
	delimiter := []byte("--" + boundary)
	from := -1 // where the part that is open begins
	for at := 0; at < len(body); {
		n := bytes.Index(body[at:], delimiter)
		if n < 0 {
			break
		}
		n += at
		at = n + len(delimiter)
		if n > 0 && body[n-1] != '\n' && body[n-1] != '\r' {
			continue
		}
		line, rest := cutLine(body[at:])
		tail := string(bytes.TrimSpace(line))
		if tail != "" && tail != "--" && tail != "-" {
			continue // another boundary that begins like this one
		}
		if from >= 0 {
			parts = append(parts, withoutLastEnd(body[from:n]))
		}
		at = len(body) - len(rest)
		from, bounded = at, true
		if tail != "" {
			from = -1
		}
	}
	if from >= 0 && len(bytes.TrimSpace(body[from:])) > 0 {
		parts = append(parts, body[from:])
	}
	return parts, bounded
}

func withoutLastEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// guessBoundary finds the line that looks like a boundary, as a field of a part's header follows it.
func guessBoundary(body []byte) string {
	for at := 0; at < len(body); {
		n := bytes.Index(body[at:], []byte("--"))
		if n < 0 {
			return ""
		}
		n += at
		line, next := cutLine(body[n:])
		if n == 0 || body[n-1] == '\n' {
			follows, _ := cutLine(next)
			if name, _, ok := fieldOf(follows); ok && strings.HasPrefix(name, "content-") {
				return strings.TrimSpace(string(line[2:]))
			}
		}
		at = len(body) - len(next)
	}
	return ""
}

// charset is that which the part says it is in, or "".
func (p *part) charset() string { return p.media.params["charset"] }

func (p *part) transfer() transfer { return transferOf(p.header.get("content-transfer-encoding")) }

// is reports whether the part has one of the media types.
func (p *part) is(types ...string) bool {
	for _, t := range types {
		if p.media.value == t {
			return true
		}
	}
	return false
}

// fileName is the name that the part says it has as a file, or "".
func (p *part) fileName() string {
	for _, name := range []string{p.disposition.params["filename"], p.media.params["name"], p.disposition.params["name"],
		p.media.params["filename"]} {
		if name = cleanName(words(name, p.charset())); name != "" {
			return name
		}
	}
	return ""
}

// nameAnyway is the file name, or one made of what else is known.
func (p *part) nameAnyway(number int) string {
	if name := p.fileName(); name != "" {
		return name
	}
	if p.isMessage() {
		inner, _ := splitHeader(p.transfer().decode(p.body))
		if name := cleanName(strings.NewReplacer("/", "-", `\`, "-").Replace(words(inner.get("subject"), ""))); name != "" {
			return name + ".eml"
		}
		return fmt.Sprintf("message %d.eml", number)
	}
	location := words(p.header.get("content-location"), "")
	location, _, _ = strings.Cut(location, "?")
	if name := cleanName(location); len(path.Ext(name)) > 1 && len(path.Ext(name)) < 6 {
		return name
	}
	return fmt.Sprintf("part %d%s", number, extensions[p.media.value])
}

func (p *part) isMessage() bool {
	return p.is("message/rfc822", "message/global", "message/news")
}

// extensions are those of parts that have no name.
var extensions = map[string]string{
	"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "text/vcard": ".vcf", "text/x-vcard": ".vcf",
	"text/directory": ".vcf", "text/xml": ".xml", "application/xml": ".xml", "application/json": ".json", "application/pdf": ".pdf",
	"application/zip": ".zip", "application/msword": ".doc", "application/rtf": ".rtf", "text/rtf": ".rtf",
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "audio/mpeg": ".mp3", "application/ms-tnef": ".dat",
}

const maxNameBytes = 200

// cleanName makes a name of a file without folders, control characters and superfluous blanks.
func cleanName(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	s = s[strings.LastIndexByte(s, '/')+1:]
	s = strings.Join(strings.Fields(printable(s)), " ")
	s = strings.Trim(s, ". ")
	if len(s) > maxNameBytes {
		ext := path.Ext(s)
		if len(ext) > 12 {
			ext = ""
		}
		s = strings.TrimSpace(strings.ToValidUTF8(s[:maxNameBytes-len(ext)], "")) + ext
	}
	return s
}
