package rtf

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/charset"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// destination is where the text of a group goes.
type destination uint8

const (
	body     destination = iota
	nowhere              // left out
	fonts                // the font table
	styles               // the style sheet
	info                 // a field of the information group
	instruct             // the instruction of a field
	mark                 // the number or bullet of a list item
)

// state is what a group inherits from the one around it, and what ends with it.
type state struct {
	dest, outer destination // outer is that of the group around \upr
	key         string      // of info
	story       *story
	owner       bool // the story ends with this group
	field       *field
	result      bool // the text of this group is the field's result, from start on in its paragraph
	start, in   int
	uc          int // bytes that stand for a character of \u
	font        int
	hidden      bool
	deleted     bool
	super       bool
	lang        int
	sheet       int // the style of the style sheet that is being read
	para        paragraph
}

// story is a text of its own: the document, a header, a footnote.
type story struct {
	kind  string // "" for the document
	label string
	text  []byte   // the paragraph that is being read
	n     int      // paragraphs read
	lines []string // they themselves, in a story other than the document
}

// paragraph are the properties of one.
type paragraph struct {
	style, outline, list, level int
	left                        int  // its indent in twentieths of a point
	hanging                     bool // its first line begins left of the others
	table                       bool
	nest                        int
}

func (p paragraph) depth() int {
	if p.table {
		return max(1, min(p.nest, maxNested))
	}
	return min(p.nest, maxNested)
}

// maxNested is how deep tables nest; what lies deeper is read at this depth.
const maxNested = 16

type field struct{ instruction []byte }

type style struct {
	name           []byte
	outline, based int
}

// nested is a table that is being read, and the cell in it.
type nested struct {
	table mdtext.Table
	row   []string
	cell  []byte
}

type parser struct {
	raw      []byte
	at       int
	token    token
	w        mdtext.Writer
	stack    []state
	state         // of the open group
	fresh    bool // the token before began the group
	star     bool // and it was followed by \*
	skipping int  // characters to skip after \u
	pending  []byte
	high     rune // the first half of a surrogate pair

	ansi     encoding.Encoding
	charsets map[int]int // of fonts
	styles   map[int]*style
	info     map[string]string
	stamps   map[string]*stamp
	stamp    *stamp // being read
	date     time.Time
	mark     []byte
	tables   []*nested
	boxes    []string // text boxes of the paragraph that is being read
	edges    map[string]bool
	last     []string // headers and footers for the end
	notes    map[string]int
	author   []byte // of the next comment
	langs    map[int]int
	deflang  int
	warnings []string
}

func newParser(raw []byte, maxBytes int) *parser {
	p := &parser{
		raw: raw, charsets: map[int]int{}, styles: map[int]*style{}, info: map[string]string{}, stamps: map[string]*stamp{},
		edges: map[string]bool{}, langs: map[int]int{}, notes: map[string]int{},
	}
	p.w.Max = maxBytes
	p.ansi = codepage(1252)
	p.state = state{story: &story{}, uc: 1, para: paragraph{outline: -1}}
	return p
}

func (p *parser) run(ctx context.Context) error {
	for i := 0; p.next(); i++ {
		if i&0xfff == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if p.w.Full() {
			return nil
		}
		fresh := p.fresh
		p.fresh = false
		switch p.token.kind {
		case open:
			p.flush()
			if p.skipping = 0; len(p.stack) >= maxGroups {
				return fmt.Errorf("%w: more than %d groups in groups", extract.ErrTooLarge, maxGroups)
			}
			p.stack = append(p.stack, p.state)
			p.owner, p.result, p.fresh, p.star = false, false, true, false
		case closed:
			p.flush()
			p.skipping = 0
			if len(p.stack) == 0 {
				return nil
			}
			p.close()
			if len(p.stack) == 0 {
				return nil
			}
		case chars:
			text := p.token.text
			n := min(p.skipping, len(text))
			p.skipping -= n
			p.chars(text[n:])
		case hex:
			if p.skipping > 0 {
				p.skipping--
			} else {
				p.pending = append(p.pending, byte(p.token.n))
			}
		case symbol:
			if p.token.word == "*" && fresh {
				p.star, p.fresh = true, true
			} else if p.skipping > 0 {
				p.skipping--
			} else {
				p.symbol(p.token.word[0])
			}
		case word:
			if _, text := texts[p.token.word]; text && p.skipping > 0 {
				p.skipping--
				break
			}
			p.skipping = 0 // a program left out what stands for the character
			p.flushUnless(p.token.word == "u")
			p.word(fresh)
		}
	}
	if len(p.stack) > 0 {
		p.warnings = append(p.warnings, "the file is cut short: what was there has been read")
	}
	return nil
}

func (p *parser) flushUnless(unicode bool) {
	if !unicode {
		p.high = 0
	}
	p.flush()
}

// chars takes plain characters. The second byte of a double-byte character may be one of them.
func (p *parser) chars(text []byte) {
	for len(text) > 0 {
		if len(p.pending) > 0 || text[0] >= 0x80 {
			if len(p.pending) > 0 && text[0] < 0x80 && (p.pending[len(p.pending)-1] < 0x81 || p.whole()) {
				p.flush()
				continue
			}
			p.pending = append(p.pending, text[0])
			if text[0] < 0x80 {
				p.flush()
			}
			text = text[1:]
			continue
		}
		n := 0
		for n < len(text) && text[n] < 0x80 {
			n++
		}
		p.put(string(text[:n]))
		text = text[n:]
	}
}

// whole reports whether the bytes pending are whole characters, so that a character of ASCII after them is itself.
func (p *parser) whole() bool {
	out, err := p.encoding().NewDecoder().Bytes(p.pending)
	return err == nil && !strings.HasSuffix(string(out), "\ufffd")
}

// flush decodes the bytes that are pending.
func (p *parser) flush() {
	if len(p.pending) == 0 {
		return
	}
	out, err := p.encoding().NewDecoder().Bytes(p.pending)
	if err == nil {
		p.pending = p.pending[:0]
		p.put(string(out))
		return
	}
	p.pending = p.pending[:0]
}

// encoding returns that of the font in use.
func (p *parser) encoding() encoding.Encoding {
	if page, ok := pages[p.charsets[p.font]]; ok {
		if e := codepage(page); e != nil {
			return e
		}
	}
	return p.ansi
}

// pages are the code pages of character sets.
var pages = map[int]int{
	77: 10000, 128: 932, 129: 949, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251,
	222: 874, 238: 1250,
}

// codepage returns the encoding of a Windows code page, nil for one that is not known.
func codepage(page int) encoding.Encoding {
	if page == 65001 {
		return encoding.Nop
	}
	e, _ := charset.Lookup(charset.CodePage(page))
	return e
}

// put takes text.
func (p *parser) put(s string) {
	if s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", ""); s == "" {
		return
	}
	switch p.dest {
	case body:
		if p.hidden || p.deleted {
			return
		}
		p.langs[p.lang] += len(s)
		if p.super {
			t := p.story.text
			s = mdtext.Superscript(string(t[max(0, len(t)-8):]), s)
		}
		p.story.text = append(p.story.text, s...)
	case styles:
		if st := p.styles[p.sheet]; st != nil && len(st.name) < 200 {
			st.name = append(st.name, s...)
		}
	case info:
		if (p.key == "title" || p.key == "author") && len(p.info[p.key]) < 1000 {
			p.info[p.key] += s
		}
	case instruct:
		if p.field != nil && len(p.field.instruction) < 4000 {
			p.field.instruction = append(p.field.instruction, s...)
		}
	case mark:
		if len(p.mark) < 100 {
			p.mark = append(p.mark, s...)
		}
	}
}

func (p *parser) symbol(c byte) {
	switch c {
	case '{', '}', '\\':
		p.chars([]byte{c})
		return
	}
	p.flush()
	switch c {
	case '~':
		p.put(" ")
	case '_':
		p.put("-")
	case '\r', '\n':
		p.endParagraph()
	case '\t':
		p.put("\t")
	}
}

// texts are control words that stand for text.
var texts = map[string]string{
	"line": "\n", "lbr": "\n", "tab": "\t", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
	"bullet": "•", "emspace": " ", "enspace": " ", "qmspace": " ", "zwj": "\u200d", "zwnj": "\u200c", "ltrmark": "\u200e", "rtlmark": "\u200f",
}

// word takes a control word; fresh tells that it is the first of its group.
func (p *parser) word(fresh bool) {
	n, on := p.token.n, !p.token.given || p.token.n != 0
	if s, ok := texts[p.token.word]; ok {
		p.put(s)
		return
	}
	star := fresh && p.star
	p.star = false
	switch w := p.token.word; w {
	case "u":
		p.unicode(n)
	case "uc":
		p.uc = max(0, min(n, 100))
	case "f":
		p.font = n
	case "fcharset":
		if p.dest == fonts && len(p.charsets) < maxFonts {
			p.charsets[p.font] = n
		}
	case "ansicpg":
		if e := codepage(n); e != nil {
			p.ansi = e
		}
	case "mac":
		p.ansi = codepage(10000)
	case "v":
		p.hidden = on
	case "deleted":
		p.deleted = on
	case "super":
		p.super = on
	case "nosupersub", "sub":
		p.super = false
	case "plain":
		p.hidden, p.deleted, p.super, p.lang = false, false, false, p.deflang
	case "lang":
		p.lang = n
	case "deflang":
		p.deflang, p.lang = n, n
	case "pard":
		p.para = paragraph{outline: -1}
	case "s":
		if p.dest == styles {
			p.newStyle(n)
		} else {
			p.para.style = n
		}
	case "sbasedon":
		if st := p.styles[p.sheet]; p.dest == styles && st != nil {
			st.based = n
		}
	case "outlinelevel":
		if p.dest != styles {
			p.para.outline = n
		} else if st := p.styles[p.sheet]; st != nil {
			st.outline = n
		}
	case "ls":
		p.para.list = n
	case "ilvl":
		p.para.level = n
	case "li":
		p.para.left = n
	case "fi":
		p.para.hanging = n < 0
	case "intbl":
		p.para.table = on
	case "itap":
		p.para.nest = max(0, n)
	case "par", "sect", "page", "column":
		p.endParagraph()
	case "cell", "nestcell":
		p.endCell(w == "nestcell")
	case "row", "nestrow":
		p.endRow(w == "nestrow")
	case "yr", "mo", "dy", "hr", "min":
		p.dated(w, n)
	default:
		if fresh {
			p.begin(w, star)
		}
	}
}

func (p *parser) newStyle(n int) {
	if p.sheet = n; len(p.styles) < maxFonts {
		p.styles[n] = &style{outline: -1, based: -1}
	}
}

func (p *parser) dated(w string, n int) {
	if p.stamp == nil {
		return
	}
	switch w {
	case "yr":
		p.stamp.year = n
	case "mo":
		p.stamp.month = n
	case "dy":
		p.stamp.day = n
	case "hr":
		p.stamp.hour = max(0, n)
	case "min":
		p.stamp.minute = max(0, n)
	}
}

// begin takes the control word that says what a group is.
func (p *parser) begin(w string, star bool) {
	if p.dest == nowhere {
		switch {
		case w == "result": // what an object looks like
			p.dest = body
		case w == "ud":
			p.dest = p.outer
		}
		return
	}
	switch w {
	case "fonttbl":
		p.dest = fonts
	case "stylesheet":
		p.dest = styles
		p.newStyle(0)
	case "info":
		p.dest = info
	case "title", "author":
		if p.dest == info {
			p.key = w
		}
	case "creatim", "revtim":
		if p.dest == info {
			p.stamp = &stamp{}
			p.stamps[w] = p.stamp
		}
	case "upr":
		p.outer, p.dest = p.dest, nowhere
	case "field":
		p.field = &field{}
	case "fldinst":
		p.dest = instruct
	case "fldrslt":
		if p.dest == instruct {
			p.dest = body
		}
		if p.field != nil {
			words := strings.Fields(string(p.field.instruction))
			if len(words) > 0 && (words[0] == "PAGE" || words[0] == "NUMPAGES" || words[0] == "TOC" || words[0] == "SECTIONPAGES") {
				p.dest = nowhere // a number of no use, or headings that stand in the text
			}
			p.result, p.start, p.in = true, len(p.story.text), p.story.n
		}
	case "listtext", "pntext":
		p.dest = mark
		p.mark = p.mark[:0]
	case "footnote":
		p.notes["note"]++
		label := strconv.Itoa(p.notes["note"])
		p.put(mdtext.Ref(label))
		p.tell("note", label)
	case "annotation":
		p.notes["comment"]++
		label := "c" + strconv.Itoa(p.notes["comment"])
		p.put(mdtext.Ref(label))
		p.tell("comment", label)
	case "atnauthor":
		p.tell("author", "")
	case "header", "headerl", "headerr", "headerf":
		p.tell("header", "")
	case "footer", "footerl", "footerr", "footerf":
		p.tell("footer", "")
	case "shptxt", "dptxbxtext":
		p.tell("box", "")
	case "shp", "shpinst", "shpgrp", "do", "nesttableprops", "mmath", "moMath", "moMathPara", "ud", "rtf", "pn", "ftnsep":
	case "pict", "colortbl", "object", "nonesttables", "nonshppict", "shprslt", "sp", "tc", "tcn", "xe", "listtable", "listoverridetable",
		"revtbl", "rsidtbl", "filetbl", "pntxta", "pntxtb", "bkmkstart", "bkmkend", "atnid", "themedata", "template", "ftnsepc", "aftnsep",
		"aftnsepc", "ftncn", "aftncn", "buptim", "printim", "comment", "doccomm", "operator", "company", "subject", "keywords", "category",
		"manager", "hlinkbase", "generator":
		p.dest = nowhere
	default:
		if star || strings.HasPrefix(w, "m") && strings.HasSuffix(w, "Pr") {
			p.dest = nowhere
		}
	}
}

// tell begins a story in the group at hand.
func (p *parser) tell(kind, label string) {
	p.super = false
	p.story, p.owner = &story{kind: kind, label: label}, true
	p.dest, p.hidden, p.field = body, false, nil
	p.para = paragraph{outline: -1}
}

// close ends the group at hand.
func (p *parser) close() {
	ended := p.state
	p.state = p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	if ended.dest == info {
		p.stamp = nil
	}
	switch {
	case ended.owner:
		p.endStory(ended.story)
	case ended.result && ended.dest == body && ended.in == ended.story.n && ended.start <= len(ended.story.text):
		s := ended.story
		s.text = mdtext.LinkFrom(s.text, ended.start, link(string(ended.field.instruction)))
	}
}

// link returns the target of a field that is a link.
func link(instruction string) string {
	rest, ok := strings.CutPrefix(strings.TrimSpace(instruction), "HYPERLINK")
	if !ok {
		return ""
	}
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, `\`) { // \l and the like: a place in the document
		return ""
	}
	if strings.HasPrefix(rest, `"`) {
		target, _, _ := strings.Cut(rest[1:], `"`)
		return target
	}
	target, _, _ := strings.Cut(rest, " ")
	return target
}

func (p *parser) endStory(s *story) {
	if line := strings.TrimSpace(string(s.text)); line != "" {
		s.lines = append(s.lines, line)
	}
	text := strings.Join(s.lines, "\n")
	if text == "" && s.kind != "comment" {
		return
	}
	switch s.kind {
	case "note":
		p.w.Note(s.label, text)
	case "comment":
		who := "Comment"
		if len(p.author) > 0 {
			who += " by " + string(p.author)
		}
		p.author = nil
		p.w.Note(s.label, who+": "+text)
	case "author":
		p.author = []byte(mdtext.OneLine(text))
	case "box":
		p.boxes = append(p.boxes, text)
	case "header", "footer":
		if !p.edges[text] {
			p.edges[text] = true
			if s.kind == "header" && p.w.Len() == 0 && len(p.tables) == 0 {
				p.w.Paragraph(text)
			} else {
				p.last = append(p.last, text)
			}
		}
	}
}

func (p *parser) unicode(n int) {
	p.skipping = p.uc
	r := rune(n)
	if n < 0 {
		r = rune(n + 65536)
	}
	if p.high != 0 {
		pair := utf16.DecodeRune(p.high, r)
		p.high = 0
		if pair != utf8.RuneError {
			p.put(string(pair))
			return
		}
	}
	switch {
	case utf16.IsSurrogate(r):
		p.high = r
	case r >= 0xf000 && r <= 0xf0ff: // a sign of a symbol font
		if r > 0xf020 {
			p.put("•")
		}
	case r == 0:
	case r > 0xffff && !utf8.ValidRune(r):
		p.put("\ufffd")
	default:
		p.put(string(r))
	}
}

// take returns the paragraph read so far and begins the next.
func (p *parser) take() string {
	s := p.story
	text := strings.TrimSpace(string(s.text))
	s.text = s.text[:0]
	s.n++
	return text
}

// endParagraph takes the end of a paragraph.
func (p *parser) endParagraph() {
	if p.dest != body {
		return
	}
	text := p.take()
	if p.story.kind != "" {
		if text != "" {
			p.story.lines = append(p.story.lines, text)
		}
		return
	}
	marked := strings.TrimSpace(string(p.mark))
	p.mark = p.mark[:0]
	depth := p.para.depth()
	p.closeTables(depth)
	if depth > 0 {
		if isLabel(marked) && text != "" {
			text = marked + " " + text
		}
		p.openTables(depth).add(text)
	} else {
		p.block(text, marked)
	}
	for _, box := range p.boxes {
		if depth > 0 {
			p.openTables(depth).add(box)
		} else {
			p.w.Paragraph(box)
		}
	}
	p.boxes = nil
}

// block writes a paragraph outside of tables.
func (p *parser) block(text, marked string) {
	if text == "" {
		return
	}
	depth := p.para.level
	if marked == "" && p.para.hanging && p.para.list == 0 { // a list by its looks: a mark and a tab before a hanging paragraph
		if before, after, ok := strings.Cut(text, "\t"); ok && isMark(before) {
			marked, text, depth = before, after, max(0, p.para.left/360-1)
		}
	}
	text = spaces(text)
	level := p.outline()
	switch {
	case level > 0:
		if isLabel(marked) {
			text = marked + " " + text
		}
		p.w.Heading(level, text)
	case marked != "" || p.para.list > 0:
		if !isLabel(marked) {
			marked = "-"
		}
		p.w.Item(depth, marked, text)
	default:
		p.w.Paragraph(text)
	}
}

// spaces makes spaces of tabs.
func spaces(s string) string { return strings.ReplaceAll(s, "\t", " ") }

// isMark tells whether a word is the mark of an item: a bullet, or a number or letter with a full stop or a parenthesis.
func isMark(s string) bool {
	if strings.Contains("•·–-*◦▪o", s) {
		return s != ""
	}
	core := strings.Trim(s, ".()")
	return core != s && len(core) > 0 && len(core) <= 6 && !strings.ContainsAny(core, " ")
}

// isLabel tells a number of a list from a bullet.
func isLabel(mark string) bool {
	return strings.IndexFunc(mark, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) >= 0 && mark != "o"
}

// outline returns the level of the paragraph as a heading, 0 for none.
func (p *parser) outline() int {
	level := p.para.outline
	for n, hops := p.para.style, 0; level < 0 && hops < 20; hops++ {
		st := p.styles[n]
		if st == nil {
			break
		}
		level = st.outline
		name := strings.ToLower(strings.TrimRight(strings.TrimSpace(string(st.name)), ";"))
		if rest, ok := strings.CutPrefix(name, "heading "); ok && level < 0 {
			if v, err := strconv.Atoi(rest); err == nil {
				level = v - 1
			}
		}
		if name == "title" && level < 0 {
			level = 0
		}
		n = st.based
	}
	if level < 0 || level > 8 {
		return 0
	}
	return level + 1
}

// openTables returns the table at a depth.
func (p *parser) openTables(depth int) *nested {
	for len(p.tables) < depth {
		p.tables = append(p.tables, &nested{})
	}
	return p.tables[depth-1]
}

func (n *nested) add(text string) {
	if text == "" {
		return
	}
	if len(n.cell) > 0 {
		n.cell = append(n.cell, '\n')
	}
	n.cell = append(n.cell, text...)
}

// closeTables ends the tables deeper than a depth.
func (p *parser) closeTables(depth int) {
	for len(p.tables) > depth {
		t := p.tables[len(p.tables)-1]
		t.end()
		if p.tables = p.tables[:len(p.tables)-1]; len(p.tables) > 0 {
			p.tables[len(p.tables)-1].add(t.table.Inline())
		} else {
			p.w.Table(&t.table)
		}
	}
}

// end ends the row that is open.
func (n *nested) end() {
	if len(n.cell) > 0 {
		n.row = append(n.row, string(n.cell))
	}
	n.cell = nil
	if len(n.row) == 0 {
		return
	}
	n.table.Row()
	for _, cell := range n.row {
		n.table.Cell(cell, 1, 1)
	}
	n.row = nil
}

func (p *parser) endCell(nested bool) {
	if p.dest != body {
		return
	}
	depth := 1
	if nested {
		depth = max(2, p.para.depth())
	}
	text := p.take()
	if p.story.kind != "" {
		if text != "" {
			p.story.lines = append(p.story.lines, text)
		}
		return
	}
	if marked := strings.TrimSpace(string(p.mark)); isLabel(marked) && text != "" {
		text = marked + " " + text
	}
	p.mark = p.mark[:0]
	p.closeTables(depth)
	t := p.openTables(depth)
	t.add(text)
	for _, box := range p.boxes {
		t.add(box)
	}
	p.boxes = nil
	t.row = append(t.row, string(t.cell))
	t.cell = nil
}

func (p *parser) endRow(nested bool) {
	if p.dest != body || p.story.kind != "" {
		return
	}
	depth := 1
	if nested {
		depth = max(2, len(p.tables))
	}
	p.closeTables(depth)
	p.openTables(depth).end()
}

// finish ends the text.
func (p *parser) finish() {
	for len(p.stack) > 0 {
		p.close()
	}
	p.dest = body
	p.endParagraph()
	p.closeTables(0)
	p.w.FlushNotes()
	for _, text := range p.last {
		p.w.Paragraph(text)
	}
	for _, key := range []string{"revtim", "creatim"} {
		if s := p.stamps[key]; s != nil && p.date.IsZero() {
			p.date = s.time()
		}
	}
	for key := range p.info {
		p.info[key] = mdtext.OneLine(p.info[key])
	}
}

// language returns that of most of the text.
func (p *parser) language() string {
	best, most := 0, 0
	for _, lang := range slices.Sorted(maps.Keys(p.langs)) {
		if n := p.langs[lang]; n > most && docmeta.LCID(lang) != "" {
			best, most = lang, n
		}
	}
	return docmeta.LCID(best)
}
