package htmltext

import (
	"strings"

	"golang.org/x/net/html"

	"github.com/llmemory/llmemory/internal/mdtext"
)

// Formula returns the MathML that a document consists of on one line, "" if there is none.
func Formula(doc string) string {
	tree, ok := Parse(XHTML(doc))
	if !ok {
		return ""
	}
	n := find(tree, func(n *html.Node) bool { return n.Data == "math" && n.Namespace == "math" })
	if n == nil {
		return ""
	}
	return formula(n)
}

// formula returns a math element on one line; what was typed, if no more than that is there.
func formula(n *html.Node) string {
	if s := mdtext.OneLine(mathOf(n)); s != "" {
		return s
	}
	if a := find(n, func(n *html.Node) bool { return n.Data == "annotation" }); a != nil {
		return mdtext.OneLine(plain(a, nil))
	}
	return mdtext.OneLine(attr(n, "alttext"))
}

func mathOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return mdtext.Visible(n.Data)
	}
	if n.Type != html.ElementNode || n.Data == "annotation" || n.Data == "annotation-xml" {
		return ""
	}
	var parts []string
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type == html.ElementNode || strings.TrimSpace(c.Data) != "" {
			parts = append(parts, mathOf(c))
		}
	}
	at := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	switch n.Data {
	case "mfrac":
		return mdtext.Fraction(at(0), at(1))
	case "msup", "mover":
		if c := n.FirstChild; n.Data == "mover" && at(1) != "" && c != nil && strings.Contains("¯^~→ˆ˜˙⃗‾", strings.TrimSpace(at(1))) {
			return at(0)
		}
		return mdtext.Group(at(0)) + mdtext.Script("^", at(1))
	case "msub", "munder":
		return mdtext.Group(at(0)) + mdtext.Script("_", at(1))
	case "msubsup", "munderover":
		base := at(0)
		if len([]rune(strings.TrimSpace(base))) > 1 {
			base = mdtext.Group(base)
		}
		return base + mdtext.Script("_", at(1)) + mdtext.Script("^", at(2))
	case "msqrt":
		return mdtext.Root("", strings.Join(parts, ""))
	case "mroot":
		return mdtext.Root(at(1), at(0))
	case "mtr", "mlabeledtr":
		return strings.Join(parts, ", ")
	case "mtable":
		return "[" + strings.Join(parts, "; ") + "]"
	case "mfenced":
		return "(" + strings.Join(parts, ", ") + ")"
	case "mspace":
		return " "
	case "mphantom":
		return ""
	case "mi", "mn", "mo", "ms":
		return strings.TrimSpace(strings.Join(parts, ""))
	}
	return strings.Join(parts, "")
}
