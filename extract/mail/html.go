package mail

import (
	"html"
	"strings"
)

// withoutTags makes text of HTML by simple rules: blocks are lines, quotations have their ">", what is not shown is left out.
func withoutTags(s string) string {
	w := textWriter{}
	for s != "" {
		n := strings.IndexByte(s, '<')
		if n < 0 {
			w.text(s)
			break
		}
		w.text(s[:n])
		s = s[n:]
		name, closing, size := tag(s)
		if size == 0 {
			w.text("<")
			s = s[1:]
			continue
		}
		s = s[size:]
		if hidden[name] && !closing {
			s = after(s, name)
			continue
		}
		w.tag(name, closing)
	}
	w.line()
	return w.out.String()
}

var hidden = map[string]bool{"script": true, "style": true, "title": true, "template": true, "noscript": true, "textarea": true,
	"object": true, "select": true, "param": true}

// after returns what follows the closing tag of an element.
func after(s, name string) string {
	for at := 0; ; {
		n := strings.Index(s[at:], "</")
		if n < 0 {
			return ""
		}
		at += n
		if rest := s[at+2:]; len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
			if n := strings.IndexByte(rest, '>'); n >= 0 {
				return rest[n+1:]
			}
			return ""
		}
		at += 2
	}
}

// tag reads the tag, comment or declaration that a text begins with. The size is 0 if there is none.
func tag(s string) (name string, closing bool, size int) {
	if strings.HasPrefix(s, "<!--") {
		if n := strings.Index(s, "-->"); n >= 0 {
			return "!", false, n + 3
		}
		return "!", false, len(s)
	}
	at := 1
	if at < len(s) && (s[at] == '/' || s[at] == '!' || s[at] == '?') {
		closing = s[at] == '/'
		at++
	}
	start := at
	for at < len(s) && (s[at]|0x20 >= 'a' && s[at]|0x20 <= 'z' || s[at] >= '0' && s[at] <= '9' || s[at] == ':') {
		at++
	}
	name = strings.ToLower(s[start:at])
	if name == "" && s[start-1] == '<' {
		return "", false, 0
	}
	var mark byte
	for ; at < len(s); at++ {
		switch c := s[at]; {
		case mark != 0:
			if c == mark {
				mark = 0
			}
		case (c == '"' || c == '\'') && s[at-1] == '=':
			mark = c
		case c == '>':
			return name, closing, at + 1
		}
	}
	if n := strings.IndexByte(s, '>'); n >= 0 { // a quotation mark too many
		return name, closing, n + 1
	}
	return name, closing, len(s)
}

// textWriter puts lines together.
type textWriter struct {
	out   strings.Builder
	row   strings.Builder
	space bool // white space is due
	pre   int
	depth int  // of quotations
	last  int  // depth of the line written last
	due   bool // an empty line is
}

func (w *textWriter) text(s string) {
	s = html.UnescapeString(s)
	if w.pre > 0 {
		for i, row := range strings.Split(s, "\n") {
			if i > 0 {
				w.line()
			}
			w.row.WriteString(row)
		}
		return
	}
	for _, r := range s {
		switch r {
		case ' ', '\t', '\n', '\r', '\f', '\u00a0':
			w.space = true
		default:
			if w.space && w.row.Len() > 0 {
				w.row.WriteByte(' ')
			}
			w.space = false
			w.row.WriteRune(r)
		}
	}
}

// line ends the line that is being written, if there is something on it.
func (w *textWriter) line() {
	if row := w.row.String(); strings.TrimSpace(row) != "" {
		if w.due && w.out.Len() > 0 {
			w.out.WriteString(quote(min(w.depth, w.last), ""))
		}
		w.out.WriteString(quote(w.depth, strings.TrimRight(row, " ")))
		w.due, w.last = false, w.depth
	}
	w.row.Reset()
	w.space = false
}

// gap ends the line and leaves one empty.
func (w *textWriter) gap() {
	w.line()
	w.due = true
}

const maxQuotes = 50

func (w *textWriter) tag(name string, closing bool) {
	switch name {
	case "br":
		if w.row.Len() == 0 {
			w.due = true
		}
		w.line()
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "dl", "hr":
		w.gap()
	case "div", "tr", "section", "article", "header", "footer", "center", "address", "dt", "dd", "body", "form", "caption", "nl":
		w.line()
	case "li":
		w.line()
		if !closing {
			w.row.WriteString("- ")
		}
	case "td", "th":
		if w.row.Len() > 0 {
			w.space = true
		}
	case "pre":
		w.gap()
		if closing {
			w.pre = max(0, w.pre-1)
		} else {
			w.pre++
		}
	case "blockquote":
		w.gap()
		if closing {
			w.depth = max(0, w.depth-1)
		} else {
			w.depth = min(w.depth+1, maxQuotes)
		}
	}
}
