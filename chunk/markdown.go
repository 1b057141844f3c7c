package chunk

import (
	"bytes"
	"html"
	"sort"
	"strings"
	"unicode/utf8"

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

// maxHeadings is how many headings of a text begin sections; those after them are blocks like any other. There is no end to what
// a heading costs otherwise, as it may be two bytes long.
const maxHeadings = 1 << 20

// region is a block of Markdown. It reaches to the next one.
type region struct {
	start    int
	strength strength
	split    splitter // how it is cut if it does not fit
	node     ast.Node // in Markdown
	rows     bool     // it is a table, or the rest of one
	level    int      // of the heading that begins a section, if the region is one; 0 if not
	title    string   // of that
}

// blocks reads CommonMark with tables. It has no inline parsers: their work is not needed here and would be most of the time.
var blocks = parser.NewParser(
	parser.WithBlockParsers(parser.DefaultBlockParsers()...),
	parser.WithParagraphTransformers(util.Prioritized(tables{extension.NewTableParagraphTransformer()}, 200)),
)

// windowBytes is how much Markdown is parsed at a time. The parser's tree takes up to two hundred times the memory of its text, and
// its work cannot be interrupted.
const windowBytes = 128 << 10

// markdown cuts CommonMark with tables. The tree of the parser gives the places where blocks begin, and only those: whatever
// the parser leaves out of its tree, such as the fences of code, stays with the block around or before it.
//
// A text larger than a window is parsed window by window, each from the beginning of the last block of the one before. A block
// that fills a window goes on in the next one as if it began there, and some of its structure may be missed.
func (b *builder) markdown() error {
	at := frontMatter(b.text)
	if err := b.block(0, at, blockStrength, b.codeLines); err != nil {
		return err
	}
	doc := document{builder: b}
	var rest *region // what is known of the first block of the window
	for at < len(b.text) {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		parsed, stop := b.nextWindow(at)
		if from, to := b.trim(at, stop); from == to {
			at = stop
			continue
		}
		source := []byte(b.text[at:parsed])
		defuse(source)
		regions := b.children(blocks.Parse(text.NewReader(source)), at, parsed, 0)
		if len(regions) == 0 {
			regions = []region{{strength: blockStrength, split: b.prose, node: ast.NewParagraph()}}
		}
		regions[0].start = at
		if first := &regions[0]; rest != nil && first.level == 0 {
			first.strength = rest.strength
			if rest.rows && first.node.Kind() == ast.KindParagraph {
				first.split, first.rows = b.body, true
			}
		}
		rest = nil
		if last := regions[len(regions)-1]; stop < len(b.text) {
			if last.start > at {
				regions, stop, rest = regions[:len(regions)-1], last.start, &region{strength: last.strength}
			} else {
				stop, rest = b.giant(last, at, stop)
			}
		}
		if err := doc.add(regions, stop); err != nil {
			return err
		}
		at = stop
	}
	return b.release(len(b.text))
}

// nextWindow returns the ends of the window that begins at an offset: that of what is parsed, and its own. Of a line that is longer
// than a window the parser need not see the end.
func (b *builder) nextWindow(at int) (parsed, stop int) {
	parsed = at + b.window
	if parsed >= len(b.text) {
		return len(b.text), len(b.text)
	}
	if n := strings.LastIndexByte(b.text[at:parsed], '\n'); n >= 0 {
		return at + n + 1, at + n + 1
	}
	return parsed, b.nextLine(parsed)
}

// nextLine returns where the line after the one at an offset begins.
func (b *builder) nextLine(at int) int {
	if n := strings.IndexByte(b.text[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(b.text)
}

// giant returns where the next window begins after one that a single block fills from at to stop, and what is known of the first
// block there.
func (b *builder) giant(r region, at, stop int) (int, *region) {
	if r.node.Kind() == ast.KindFencedCodeBlock {
		return b.fenceEnd(at + r.node.Pos()), nil
	}
	text := b.text[at:stop]
	if strings.Count(text[len(strings.TrimRight(text, " \t\r\n")):], "\n") > 1 {
		return stop, nil // an empty line ends it
	}
	return stop, &region{strength: lineStrength, rows: r.rows}
}

// fenceEnd returns the end of the code block whose opening fence is at an offset.
func (b *builder) fenceEnd(at int) int {
	mark := b.text[at : at+1]
	fence := len(b.text[at:]) - len(strings.TrimLeft(b.text[at:], mark))
	for at = b.nextLine(at); at < len(b.text); {
		row := strings.TrimLeft(b.text[at:b.nextLine(at)], " ")
		at = b.nextLine(at)
		if rest := strings.TrimLeft(row, mark); len(row)-len(rest) >= fence && strings.TrimSpace(rest) == "" {
			break
		}
	}
	return at
}

// containerColumns is how far into a line the marks of lists and quotations are read.
const containerColumns = 64

// defuse takes the marks of lists and quotations beyond containerColumns out of a text, and all but two of empty lines in a row. It
// moves nothing. On every line the parser looks at all containers that are open, so that thousands of them, one in the other, would
// take the square of the time.
func defuse(source []byte) {
	var last []byte
	empty := 0
	for row := range bytes.Lines(source) {
		if len(bytes.TrimLeft(row, " \t\r\n")) == 0 {
			if empty++; empty > 2 {
				last[len(last)-1] = ' '
			}
			last = row
			continue
		}
		empty = 0
		for at, column := 0, 0; at < len(row); {
			switch n := containerMark(row[at:]); {
			case row[at] == ' ':
				at, column = at+1, column+1
			case row[at] == '\t':
				at, column = at+1, column+4-column%4
			case n > 0 && column < containerColumns:
				at, column = at+n, column+n
			default:
				if n > 0 && !thematicBreak(row) {
					row[at] = 'x'
				}
				at = len(row)
			}
		}
	}
}

// thematicBreak reports whether a line that begins with marks of containers is a thematic break instead.
func thematicBreak(row []byte) bool {
	for _, marks := range []string{"- \t\r\n", "* \t\r\n"} {
		if len(bytes.Trim(row, marks)) == 0 {
			return true
		}
	}
	return false
}

// containerMark returns the length of the mark of a list item or a quotation at the beginning of a text, or 0.
func containerMark(s []byte) int {
	n := 0
	switch s[0] {
	case '>':
		return 1
	case '-', '+', '*':
		n = 1
	default:
		for n < len(s) && n < 9 && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n == 0 || n == len(s) || s[n] != '.' && s[n] != ')' {
			return 0
		}
		n++
	}
	if n < len(s) && strings.IndexByte(" \t\r\n", s[n]) < 0 {
		return 0
	}
	return n
}

// tables finds tables as the parser's own extension does, but leaves their rows alone: it would make a cell of every column in
// every row, though the row has no more than a letter.
type tables struct{ parser.ParagraphTransformer }

// Transform puts a table, which has but its head, in the place of a paragraph's lines from the head on.
func (t tables) Transform(p *ast.Paragraph, reader text.Reader, pc parser.Context) {
	parent, next, lines := p.Parent(), p.NextSibling(), p.Lines().Sliced(0, p.Lines().Len())
	keep := func(lines []text.Segment) {
		kept := text.NewSegments()
		kept.AppendAll(lines)
		p.SetLines(kept)
	}
	for i := 1; i < len(lines); i++ {
		if len(bytes.Trim(lines[i].Value(reader.Source()), "-:| \t\r\n")) > 0 {
			continue // no delimiter row
		}
		keep(lines[i-1 : i+1])
		t.ParagraphTransformer.Transform(p, reader, pc)
		if p.Parent() != nil {
			continue // no head before it
		}
		table := parent.LastChild()
		if next != nil {
			table = next.PreviousSibling()
		}
		if keep(lines[:i-1]); i > 1 {
			parent.InsertBefore(parent, table, p)
		}
		return
	}
	keep(lines)
}

// document is a text with headings as it is being read.
type document struct {
	*builder
	headings []heading // those in force, outermost first
	section  int       // index of the first unit of the section that is open
	count    int       // headings seen
}

// add adds blocks, the last of which ends at end.
func (d *document) add(regions []region, end int) error {
	for i, r := range regions {
		stop := end
		if i+1 < len(regions) {
			stop = regions[i+1].start
		}
		page, err := d.turn(r.start)
		if err != nil {
			return err
		}
		if r.level > 0 && d.count == maxHeadings {
			r.level, r.strength = 0, blockStrength
		}
		if page {
			r.strength = pageStrength
			d.headings, d.path = nil, nil
		}
		if r.level == 0 {
			if page {
				d.note(r.start, nil)
			}
			if err := d.block(r.start, stop, r.strength, r.split); err != nil {
				return err
			}
			continue
		}
		deeper := len(d.headings) == 0 || d.headings[len(d.headings)-1].level < r.level
		if !deeper {
			// A heading with nothing under it does not belong to the next section.
			if err := d.release(r.start); err != nil {
				return err
			}
		}
		if deeper && !page && len(d.units) > d.section && d.total(d.section) < d.tiny {
			r.strength = blockStrength // what introduces its first section may stay with it
		}
		for len(d.headings) > 0 && d.headings[len(d.headings)-1].level >= r.level {
			d.headings = d.headings[:len(d.headings)-1]
		}
		in := heading{level: r.level}
		if len(d.headings) > 0 {
			in.path = d.headings[len(d.headings)-1].path
		}
		if r.title != "" {
			in.path = append(in.path[:len(in.path):len(in.path)], r.title)
		}
		in.start, _ = d.trim(r.start, stop)
		d.headings, d.outline, d.path = append(d.headings, in), append(d.outline, in), in.path
		d.count++
		d.section = len(d.units)
		if err := d.hold(r.start, stop, r.strength); err != nil {
			return err
		}
	}
	return nil
}

// turn reports whether a page begins at a block, and releases what was held back before it.
func (b *builder) turn(at int) (bool, error) {
	turned := false
	for len(b.pages) > 0 && b.pages[0] <= at {
		b.pages, turned = b.pages[1:], true
	}
	if !turned {
		return false, nil
	}
	return true, b.release(at)
}

// note lets a path of headings be in force from an offset on.
func (b *builder) note(at int, path []string) {
	b.outline = append(b.outline, heading{start: at, path: path})
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

// children returns the blocks among the children of a node whose text ends at end. Lists are not blocks, their items are.
func (b *builder) children(parent ast.Node, base, end, depth int) []region {
	var out []region
	nested := strength(min(3*depth, 15))
	add := func(n ast.Node, s strength, split splitter) {
		at := position(n)
		if at < 0 {
			return // an empty one: with the block before
		}
		// The parser may count a tab that stands for several columns too often, and has blocks of what is white space for us.
		at = min(at+base, end)
		at = max(base, strings.LastIndexByte(b.text[:at], '\n')+1)
		if len(out) > 0 {
			if at <= out[len(out)-1].start {
				return // on the line on which another block begins
			}
			if before := strings.TrimRight(b.text[:at], " \t\r\n"); endsWith(before, ":：") {
				s = min(s, leadStrength)
			}
		}
		r := region{start: at, strength: s, split: split, node: n, rows: n.Kind() == east.KindTable}
		if h, ok := n.(*ast.Heading); ok && depth == 0 {
			r.strength, r.level, r.title = headingStrength+strength(6-h.Level), h.Level, b.title(h, base)
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
		inner := b.children(n, base, end, depth)
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
func (b *builder) rows(start, end int, s strength) error { return b.tableRows(start, end, s, 1) }

// body cuts the rest of a table between rows.
func (b *builder) body(start, end int, s strength) error { return b.tableRows(start, end, s, 4) }

// tableRows cuts rows of a table, the first of which has the given number. The head is the last of the headings of the rows.
func (b *builder) tableRows(start, end int, s strength, number int) error {
	first := number
	err := b.lines(start, end, func(l line) error {
		if number == 1 {
			b.head = columns(strings.Split(strings.Trim(strings.TrimSpace(b.text[l.start:l.end]), "|"), "|"))
		}
		if number == 2 || number == 3 {
			s = closerStrength
		}
		if number == 3 || number == first && first > 3 {
			b.note(l.start, b.under(l.start, b.head))
		}
		number++
		err := b.block(l.start, l.end, s, b.clauses)
		s = lineStrength
		return err
	})
	b.note(end, b.inForce(end))
	return err
}

// maxHeadBytes is the length that the head of a table is cut to where it is a heading: the rows are what matters.
const maxHeadBytes = 128

// columns returns the head of a table as a title.
func columns(cells []string) string {
	var names []string
	for _, c := range cells {
		if c = strings.TrimSpace(c); c != "" {
			names = append(names, c)
		}
	}
	return clean(strings.Join(names, " | "), maxHeadBytes)
}

// under returns the path of headings in force at an offset, with one more.
func (b *builder) under(at int, title string) []string {
	path := b.inForce(at)
	if title == "" {
		return path
	}
	return append(path[:len(path):len(path)], title)
}

// position returns where a block begins, or -1.
func position(n ast.Node) int {
	at := n.Pos()
	if lines := n.Lines(); lines != nil && lines.Len() > 0 && (at < 0 || lines.At(0).Start < at) {
		at = lines.At(0).Start
	}
	return at
}

// maxTitleBytes is the length that a heading's text is cut to. It is repeated with every passage under it.
const maxTitleBytes = 256

// titles reads the inline mark-up of headings.
var titles = goldmark.DefaultParser()

// title returns the text of a heading without mark-up.
func (b *builder) title(h *ast.Heading, base int) string {
	var raw strings.Builder
	for i := 0; i < h.Lines().Len() && raw.Len() < 4*maxTitleBytes; i++ {
		segment := h.Lines().At(i)
		raw.WriteString(shorten(b.text[base+segment.Start:base+segment.Stop], 4*maxTitleBytes))
		raw.WriteByte(' ')
	}
	return clean(raw.String(), maxTitleBytes)
}

// clean returns a title without mark-up, of no more than about n bytes.
func clean(title string, n int) string {
	title = strings.Join(strings.Fields(title), " ")
	if strings.ContainsAny(title, "\\`*_[]<&#") {
		title = strings.Join(strings.Fields(plain(title)), " ")
	}
	return brief(title, n)
}

// brief returns a title of no more than about n bytes.
func brief(title string, n int) string {
	if short := shorten(title, n); len(short) < len(title) {
		if n := strings.LastIndexByte(short, ' '); n > 0 {
			short = short[:n]
		}
		title = short + "…"
	}
	return title
}

// shorten returns no more than n bytes of the beginning of a text, in whole characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plain takes the mark-up off the text of a heading.
func plain(title string) string {
	raw := []byte("# " + title) // which keeps it a heading, whatever it begins with
	var out strings.Builder
	_ = ast.Walk(titles.Parse(text.NewReader(raw)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
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
	return out.String()
}
