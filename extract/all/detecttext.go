package all

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/llmemory/llmemory/extract"
)

// detectText finds out which format of text it is.
func detectText(src *extract.Source, head []byte, name, media string) Kind {
	ext := strings.TrimPrefix(strings.ToLower(path.Ext(strings.ReplaceAll(name, `\`, "/"))), ".")
	hint := byExtension[ext]
	if hint == "" {
		hint = byMedia[media]
	}
	if hint == "" {
		if t, ok := extract.TypeByName(name); ok {
			hint = t
		}
	}
	sample := plainASCII(head)
	lower := bytes.ToLower(sample[:min(len(sample), 4096)])
	switch hint {
	case "code":
		return Kind{"code", "text/plain"}
	case "email", "mbox":
		if mboxStart.Match(sample) {
			return Kind{"mbox", "application/mbox"}
		}
		return Kind{"email", "message/rfc822"}
	}
	switch root, xml := rootElement(lower); {
	case hint == "markdown":
	case root == "html", strings.HasPrefix(root, "!doctype html"), !xml && (root == "head" || root == "body"):
		return Kind{"html", "text/html"}
	case xml && hint != "html":
		return Kind{"xml", "application/xml"}
	}
	if mboxStart.Match(sample) {
		return Kind{"mbox", "application/mbox"}
	}
	if isMessage(sample) {
		return Kind{"email", "message/rfc822"}
	}
	if (hint == "" || hint == "text") && isChat(sample) {
		return Kind{"chat", "text/plain"}
	}
	switch hint {
	case "html":
		return Kind{"html", "text/html"}
	case "csv", "tsv", "jsonl", "yaml", "markdown", "xml", "text":
		return Kind{hint, mediaOf[hint]}
	}
	if len(sample) > 0 && (sample[0] == '{' || sample[0] == '[') || hint == "json" || hint == "notebook" {
		if k, ok := detectJSON(src, sample); ok {
			return k
		}
	}
	switch {
	case bytes.HasPrefix(sample, []byte("#!")):
		return Kind{"code", "text/plain"}
	case hint == "" && headingLine.Match(sample) && markdownLine.Match(sample):
		return Kind{"markdown", "text/markdown"}
	case hint == "" && delimited(sample, ','):
		return Kind{"csv", "text/csv"}
	case hint == "" && delimited(sample, '\t'):
		return Kind{"tsv", "text/tab-separated-values"}
	}
	return Kind{"text", "text/plain"}
}

var mediaOf = map[string]string{
	"csv": "text/csv", "tsv": "text/tab-separated-values", "jsonl": "application/jsonl", "yaml": "application/yaml",
	"markdown": "text/markdown", "xml": "application/xml", "text": "text/plain",
}

var byMedia = map[string]string{
	"text/html": "html", "application/xhtml+xml": "html", "text/markdown": "markdown", "text/x-markdown": "markdown", "text/csv": "csv",
	"text/tab-separated-values": "tsv", "application/json": "json", "application/jsonl": "jsonl", "application/x-ndjson": "jsonl",
	"application/yaml": "yaml", "application/xml": "xml", "text/xml": "xml", "message/rfc822": "email", "application/mbox": "mbox",
	"application/x-ipynb+json": "notebook", "application/rss+xml": "xml", "application/atom+xml": "xml",
}

var byExtension = map[string]string{
	"html": "html", "htm": "html", "xhtml": "html", "csv": "csv", "tsv": "tsv", "tab": "tsv", "json": "json", "geojson": "json",
	"webmanifest": "json", "jsonl": "jsonl", "ndjson": "jsonl", "ipynb": "notebook", "yaml": "yaml", "yml": "yaml", "xml": "xml", "rss": "xml",
	"atom": "xml", "svg": "xml", "xsd": "xml", "xsl": "xml", "xslt": "xml", "opml": "xml", "plist": "xml", "gpx": "xml", "kml": "xml",
	"eml": "email", "mbox": "mbox", "mbx": "mbox",
}

// plainASCII drops the byte order mark and the NUL bytes that UTF-16 and UTF-32 put between ASCII characters, and leading white
// space: enough to recognize a beginning.
func plainASCII(head []byte) []byte {
	for _, bom := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "\x00\x00\xfe\xff"} {
		head = bytes.TrimPrefix(head, []byte(bom))
	}
	if bytes.IndexByte(head, 0) >= 0 {
		head = bytes.ReplaceAll(head, []byte{0}, nil)
	}
	return bytes.TrimLeft(head, " \t\r\n\f")
}

// rootElement returns the first tag of what is markup, without namespace, and whether it is XML. A document type is a tag here.
func rootElement(s []byte) (root string, xml bool) {
	for {
		s = bytes.TrimLeft(s, " \t\r\n")
		switch {
		case bytes.HasPrefix(s, []byte("<?xml")):
			xml = true
			fallthrough
		case bytes.HasPrefix(s, []byte("<?")) && xml:
			end := bytes.Index(s, []byte("?>"))
			if end < 0 {
				return "", xml
			}
			s = s[end+2:]
		case bytes.HasPrefix(s, []byte("<!--")):
			end := bytes.Index(s, []byte("-->"))
			if end < 0 {
				return "", xml
			}
			s = s[end+3:]
		case bytes.HasPrefix(s, []byte("<!doctype html")):
			return "!doctype html", xml
		case bytes.HasPrefix(s, []byte("<!doctype")):
			return "", true
		default:
			m := tagStart.FindSubmatch(s)
			if m == nil {
				return "", xml
			}
			tag, _, _ := bytes.Cut(s, []byte(">"))
			return string(m[1]), xml || string(m[1]) == "rss" || string(m[1]) != "html" && bytes.Contains(tag, []byte(" xmlns"))
		}
	}
}

var (
	tagStart     = regexp.MustCompile(`^<(?:[\w.-]+:)?([a-z][\w.-]*)`)
	mboxStart    = regexp.MustCompile(`^From \S.*\d{4}.*\r?\n[\w-]+:`)
	headerLine   = regexp.MustCompile(`^([!-9;-~]+):`)
	headingLine  = regexp.MustCompile(`(?m)^#{1,6} \S`)
	markdownLine = regexp.MustCompile("(?m)^```|^ {0,3}[-*] \\S|\\]\\([^)\\s]+\\)|^\\|.*\\|\\s*$|^#{2,6} \\S")
)

// isMessage tells whether a text begins with the header of a mail: several of its fields, among them one that says from whom or on
// which way it came, then an empty line.
func isMessage(s []byte) bool {
	known, from := 0, false
	for n := 0; len(s) > 0 && n < 200; n++ {
		line, rest, _ := bytes.Cut(s, []byte("\n"))
		s = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if n > 0 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		m := headerLine.FindSubmatch(line)
		if m == nil {
			return false
		}
		switch strings.ToLower(string(m[1])) {
		case "from", "received", "return-path", "message-id", "delivered-to", "x-original-to":
			known, from = known+1, true
		case "to", "cc", "subject", "date", "mime-version", "content-type", "content-transfer-encoding", "reply-to", "sender":
			known++
		}
	}
	return from && known >= 3
}

// detectJSON tells JSON from text that begins with a bracket, and which kind of it.
func detectJSON(src *extract.Source, sample []byte) (Kind, bool) {
	dec := json.NewDecoder(bytes.NewReader(sample))
	var raw json.RawMessage
	err := dec.Decode(&raw)
	whole := err == nil
	if err != nil {
		// What is longer than the sample may be cut off anywhere, but is well formed up to there.
		if !errors.Is(err, io.ErrUnexpectedEOF) || src.Size() <= headBytes {
			return Kind{}, false
		}
	}
	if whole {
		if err := dec.Decode(&raw); err == nil || (errors.Is(err, io.ErrUnexpectedEOF) && src.Size() > headBytes) {
			return Kind{"jsonl", "application/jsonl"}, true
		} else if !errors.Is(err, io.EOF) {
			return Kind{}, false
		}
	}
	tail := make([]byte, min(4096, src.Size()))
	n, _ := src.ReadAt(tail, src.Size()-int64(len(tail)))
	if sample[0] == '{' && (bytes.Contains(tail[:n], []byte(`"nbformat"`)) || bytes.Contains(sample, []byte(`"nbformat"`))) &&
		bytes.Contains(sample, []byte(`"cells"`)) {
		return Kind{"notebook", "application/x-ipynb+json"}, true
	}
	return Kind{"json", "application/json"}, true
}

// delimited tells whether the first lines all have the same number of fields, at least two.
func delimited(s []byte, by byte) bool {
	lines := bytes.Split(bytes.TrimSpace(s), []byte("\n"))
	if len(s) >= headBytes-4 && len(lines) > 1 {
		lines = lines[:len(lines)-1]
	}
	lines = lines[:min(len(lines), 20)]
	if len(lines) < 3 {
		return false
	}
	n := bytes.Count(lines[0], []byte{by})
	for _, line := range lines {
		if n == 0 || bytes.Count(line, []byte{by}) != n || bytes.Contains(line, []byte(", ")) {
			return false
		}
	}
	return true
}
