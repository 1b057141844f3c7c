package chunk

import (
	"bytes"
	"html"
	"sort"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// outline holds the headings of a text in order.
type outline []heading

type heading struct {
	start int
	level int
	path  []string // titles down to this heading's
}

// at returns the path of headings in force at an offset, one that begins there included.
func (o outline) at(offset int) []string {
	i := sort.Search(len(o), func(i int) bool { return o[i].start > offset })
	if i == 0 {
		return nil
	}
	return o[i-1].path
}

// maxDepth is how deep lists and quotations are followed.
const maxDepth = 12

// region is a block of Markdown. It reaches to the next one.
type region struct {
	start    int
	strength strength
	split    splitter     // how it is cut if it does not fit
	heading  *ast.Heading // if it is one that begins a section
}

// markdown cuts CommonMark with tables. The tree of the parser gives the places where blocks begin, and only those: whatever
// the parser leaves out of its tree, such as the fences of code, stays with the block around or before it.
func (b *builder) markdown() (outline, error) {
	base := frontMatter(b.text)
	if err := b.block(0, base, blockStrength, b.codeLines); err != nil {
		return nil, err
	}
	source := []byte(b.text[base:])
	// No inline parsers: their work is not needed here and would be most of the time.
	blocks := parser.NewParser(
		parser.WithBlockParsers(parser.DefaultBlockParsers()...),
		parser.WithParagraphTransformers(util.Prioritized(extension.NewTableParagraphTransformer(), 200)),
	)
	tree := blocks.Parse(text.NewReader(source))
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	return b.regions(b.children(tree, base, 0), base, source)
}

// regions adds the blocks at the top of the tree, and returns the outline that the headings among them make.
func (b *builder) regions(regions []region, base int, source []byte) (outline, error) {
	var out outline
	var path []heading // the headings in force, outermost first
	section := 0       // index of the first unit of the section that is open
	for i, r := range regions {
		end := len(b.text)
		if i+1 < len(regions) {
			end = regions[i+1].start
		}
		if r.heading == nil {
			if err := b.block(r.start, end, r.strength, r.split); err != nil {
				return nil, err
			}
			continue
		}
		level, deeper := r.heading.Level, len(path) == 0 || path[len(path)-1].level < r.heading.Level
		if !deeper {
			// A heading with nothing under it does not belong to the next section.
			if err := b.release(r.start); err != nil {
				return nil, err
			}
		}
		if deeper && len(b.units) > section && b.total(section) < b.tiny {
			r.strength = blockStrength // what introduces its first section may stay with it
		}
		for len(path) > 0 && path[len(path)-1].level >= level {
			path = path[:len(path)-1]
		}
		h := heading{start: r.start, level: level}
		if len(path) > 0 {
			h.path = path[len(path)-1].path
		}
		if title := headingText(r.heading, source); title != "" {
			h.path = append(h.path[:len(h.path):len(h.path)], title)
		}
		h.start, _ = b.trim(r.start, end)
		path, out = append(path, h), append(out, h)
		section = len(b.units)
		if err := b.hold(r.start, end, r.strength); err != nil {
			return nil, err
		}
	}
	return out, b.release(len(b.text))
}

// total returns the cost of the units from the given one on.
func (b *builder) total(from int) (sum int) {
	for _, u := range b.units[from:] {
		sum += u.cost
	}
	return sum
}

// frontMatter returns the length of the YAML or TOML block at the beginning of a text, or of a byte order mark alone, which
// the parser would take for text.
func frontMatter(s string) int {
	const mark = "\ufeff"
	rest := strings.TrimPrefix(s, mark)
	skipped := len(s) - len(rest)
	first, body, ok := strings.Cut(rest, "\n")
	fence := strings.TrimRight(first, " \t\r")
	if !ok || fence != "---" && fence != "+++" {
		return skipped
	}
	at := skipped + len(first) + 1
	for row := range strings.Lines(body) {
		if at += len(row); strings.TrimRight(row, " \t\r\n") == fence {
			return at
		}
	}
	return skipped
}

// children returns the blocks among the children of a node. Lists are not blocks, their items are.
func (b *builder) children(parent ast.Node, base, depth int) []region {
	var out []region
	nested := strength(min(3*depth, 15))
	add := func(n ast.Node, s strength, split splitter) {
		at := position(n)
		if at < 0 {
			return // an empty one: with the block before
		}
		at += base
		at = max(base, strings.LastIndexByte(b.text[:at], '\n')+1)
		if len(out) > 0 {
			if at <= out[len(out)-1].start {
				return // on the line on which another block begins
			}
			if before := strings.TrimRight(b.text[:at], " \t\r\n"); endsWith(before, ":：") {
				s = min(s, leadStrength)
			}
		}
		r := region{start: at, strength: s, split: split}
		if h, ok := n.(*ast.Heading); ok && depth == 0 {
			r.heading, r.strength = h, headingStrength+strength(6-h.Level)
		}
		out = append(out, r)
	}
	var visit func(n ast.Node, first, rest strength)
	visit = func(n ast.Node, first, rest strength) {
		s := first
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			switch c.Kind() {
			case ast.KindList:
				visit(c, s, itemStrength-nested)
			case ast.KindListItem, ast.KindBlockquote:
				add(c, s, b.container(c, base, depth+1))
			case ast.KindThematicBreak:
				add(c, gapStrength-nested, b.prose)
				s = closerStrength // it stands over what follows
				continue
			case ast.KindFencedCodeBlock, ast.KindCodeBlock:
				add(c, s, b.code)
			case ast.KindHTMLBlock:
				add(c, s, b.codeLines)
			case east.KindTable:
				add(c, s, b.rows)
			default:
				add(c, s, b.prose)
			}
			s = rest
		}
	}
	visit(parent, blockStrength-nested, blockStrength-nested)
	return out
}

// container returns the splitter for a list item or a quotation.
func (b *builder) container(n ast.Node, base, depth int) splitter {
	if depth > maxDepth {
		return b.prose
	}
	return func(start, end int, s strength) error {
		inner := b.children(n, base, depth)
		if len(inner) == 0 {
			return b.prose(start, end, s)
		}
		from := start
		for i, r := range inner {
			to := end
			if i+1 < len(inner) {
				to = inner[i+1].start
			}
			if i > 0 {
				s = r.strength
			}
			if err := b.block(from, to, s, r.split); err != nil {
				return err
			}
			from = to
		}
		return nil
	}
}

// rows cuts a table between rows, but not its head from the first of them.
func (b *builder) rows(start, end int, s strength) error {
	row := 0
	return b.lines(start, end, func(l line) error {
		if row++; row == 2 || row == 3 {
			s = closerStrength
		}
		err := b.block(l.start, l.end, s, b.clauses)
		s = lineStrength
		return err
	})
}

// position returns where a block begins, or -1.
func position(n ast.Node) int {
	at := n.Pos()
	if lines := n.Lines(); lines != nil && lines.Len() > 0 && (at < 0 || lines.At(0).Start < at) {
		at = lines.At(0).Start
	}
	return at
}

// headingText returns the text of a heading without mark-up.
func headingText(h *ast.Heading, source []byte) string {
	var raw []byte
	for i := range h.Lines().Len() {
		segment := h.Lines().At(i)
		raw = append(append(raw, segment.Value(source)...), ' ')
	}
	// Read again with inline parsers. A leading "# " keeps it a heading, whatever it begins with.
	raw = append([]byte("# "), bytes.TrimSpace(bytes.ReplaceAll(raw, []byte("\n"), []byte(" ")))...)
	var out strings.Builder
	_ = ast.Walk(goldmark.DefaultParser().Parse(text.NewReader(raw)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.CodeSpan:
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				if t, ok := c.(*ast.Text); ok {
					out.Write(t.Value(raw))
				}
			}
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			out.WriteString(html.UnescapeString(string(util.UnescapePunctuations(n.Value(raw)))))
		case *ast.AutoLink:
			out.Write(n.Label(raw))
		}
		return ast.WalkContinue, nil // which returns no error
	})
	return strings.Join(strings.Fields(out.String()), " ")
}
