// Package mdtext writes Markdown for readers of other formats: headings, paragraphs, lists, tables, code, quotations and
// footnotes, as people read them well and as a CommonMark parser finds their structure again.
//
// Text is escaped only where it would otherwise become structure: at the beginning of a line, and in the cells of a table.
// Emphasis is not written, and characters such as * and _ within a line stay as they are, so that words are found as written.
package mdtext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/fault"
)

// maxDepth is how deep containers nest; deeper ones are written at this depth.
const maxDepth = 24

// maxTarget is the length of a link's target over which only its text is written: such targets are made by machines, for
// tracking mostly, and bury the text.
const maxTarget = 300

// maxLinkText is the length of a text over which it is no link's.
const maxLinkText = 10_000

// Writer builds a text of blocks. The zero value is ready.
type Writer struct {
	// Max is the size in bytes over which the writer takes no more; 0 means no limit. See [Writer.Full].
	Max int

	b     strings.Builder
	open  []container
	depth int  // containers that are open, those over maxDepth included
	items int  // how many of the open containers are items of Item
	tight bool // no empty line before the next block
	last  kind // the block written last
	notes []note
	full  bool
}

type kind uint8

const (
	none kind = iota
	block
	item
)

// container is a quotation or a list item: first stands before its first line, rest before the others.
type container struct {
	first, rest string
	begun       bool
}

type note struct{ label, text string }

// Len returns the number of bytes written so far.
func (w *Writer) Len() int { return w.b.Len() }

// Full reports whether the text was to become larger than Max.
func (w *Writer) Full() bool { return w.full }

// String returns the text, with a line end after the last line.
func (w *Writer) String() string {
	w.EndList()
	w.FlushNotes()
	return w.b.String()
}

// Text returns the text, or why there is none: fault.TooLarge if it was to become larger than Max, or fault.NoText, of which none tells
// what that means, if nothing but white space was written.
func (w *Writer) Text(none string) (string, error) {
	text := w.String()
	switch {
	case w.Full():
		return "", fmt.Errorf("%w: text must be at most %d bytes", fault.TooLarge, w.Max)
	case strings.TrimSpace(text) == "":
		return "", fmt.Errorf("%w: %s", fault.NoText, none)
	}
	return text, nil
}

// lines writes the lines of one block, which are not escaped any more.
func (w *Writer) lines(lines []string) {
	size := 0
	for _, line := range lines {
		size += len(line) + 1
	}
	if w.full || w.Max > 0 && w.b.Len()+size > w.Max {
		w.full = true
		return
	}
	if w.b.Len() > 0 && !w.tight {
		w.b.WriteString(w.prefix(true))
		w.b.WriteByte('\n')
	}
	w.tight = false
	for _, line := range lines {
		p := w.prefix(line == "")
		w.b.WriteString(p)
		w.b.WriteString(line)
		w.b.WriteByte('\n')
	}
	w.full = w.Max > 0 && w.b.Len() > w.Max
	w.last = block
}

// prefix returns what stands before a line. For an empty line containers are not begun and spaces at the end are left out.
func (w *Writer) prefix(empty bool) string {
	var b strings.Builder
	for i := range w.open {
		c := &w.open[i]
		switch {
		case c.begun:
			b.WriteString(c.rest)
		case empty:
			return strings.TrimRight(b.String(), " ")
		default:
			b.WriteString(c.first)
			c.begun = true
		}
	}
	if empty {
		return strings.TrimRight(b.String(), " ")
	}
	return b.String()
}

// Open begins a container: a quotation with "> " twice, a list item with its mark and as many spaces. What is written until
// [Writer.Close] stands in it.
func (w *Writer) Open(first, rest string) {
	if w.depth++; w.depth <= maxDepth {
		w.open = append(w.open, container{first: first, rest: rest})
	}
}

// OpenItem begins an item of a list with its mark, such as "-" or "3.". Without loose the item follows the block before it
// with no empty line between.
func (w *Writer) OpenItem(mark string, loose bool) {
	if !loose && w.last == item {
		w.tight = true
	}
	w.Open(marks(mark))
}

// marks returns what stands before the first line of an item and before its others. A mark that is none in Markdown, such as
// "1.2" or "(a)", stands behind one that is.
func marks(mark string) (first, rest string) {
	n := len(mark)
	switch number := strings.TrimRight(mark, ".)"); {
	case mark == "-":
	case len(number) == n-1 && n <= 10 && strings.Trim(number, "0123456789") == "" && number != "":
	case mark == "":
		return "- ", "  "
	default:
		return "- " + mark + " ", "  "
	}
	return mark + " ", strings.Repeat(" ", n+1)
}

// Close ends the container opened last. One in which nothing was written leaves no trace.
func (w *Writer) Close() {
	if w.depth == 0 {
		return
	}
	if w.depth--; w.depth < maxDepth {
		c := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		if w.tight = false; c.begun && strings.TrimSpace(c.rest) == "" {
			w.last = item
		}
	}
}

// Tight makes the next block follow the last one without an empty line, as a list does its item's text.
func (w *Writer) Tight() { w.tight = w.b.Len() > 0 }

// Item writes an item of a list of flat items, each of which tells its depth, from 0. What follows an item and is no item ends
// the list: call [Writer.EndList] before it.
func (w *Writer) Item(depth int, mark, text string) {
	lines := paragraph(text)
	if len(lines) == 0 {
		return
	}
	listed := w.items > 0
	depth = max(0, min(depth, w.items, maxDepth-1))
	deeper := depth == w.items
	for w.items > depth {
		w.closeItem()
	}
	// A number other than 1 right below a paragraph would be read as its continuation.
	w.tight = listed && !(deeper && mark != "1." && mark != "1)" && strings.Trim(mark, "0123456789.)") == "")
	w.Open(marks(mark))
	w.items++
	w.lines(lines)
}

// Continue writes a further paragraph of the item written last by [Writer.Item].
func (w *Writer) Continue(text string) {
	if lines := paragraph(text); len(lines) > 0 {
		w.lines(lines)
	}
}

func (w *Writer) closeItem() {
	w.Close()
	w.items--
}

// EndList ends the list that [Writer.Item] has begun, if there is one.
func (w *Writer) EndList() {
	for w.items > 0 {
		w.closeItem()
	}
}

// Heading writes a heading of a level from 1 to 6; others are taken as the nearest. Notes of the section that ends here are
// written first.
func (w *Writer) Heading(level int, text string) {
	text = OneLine(text)
	if text == "" {
		return
	}
	w.EndList()
	if w.depth == 0 {
		w.FlushNotes()
	}
	if trimmed := strings.TrimRight(text, "#"); trimmed != text && (trimmed == "" || strings.HasSuffix(trimmed, " ")) {
		text = trimmed + `\` + text[len(trimmed):] // a closing sequence of # would be dropped
	}
	w.lines([]string{strings.Repeat("#", max(1, min(level, 6))) + " " + text})
}

// Paragraph writes a paragraph. Line ends in it stay; white space at the ends of its lines does not.
func (w *Writer) Paragraph(text string) {
	if lines := paragraph(text); len(lines) > 0 {
		w.EndList()
		w.lines(lines)
	}
}

// Lines writes lines that are Markdown already.
func (w *Writer) Lines(lines ...string) {
	w.EndList()
	w.lines(lines)
}

// Code writes a fenced block.
func (w *Writer) Code(language, text string) {
	text = strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if strings.TrimSpace(text) == "" {
		return
	}
	w.EndList()
	ticks, longest := 0, 2
	for i := range len(text) {
		if ticks++; text[i] != '`' {
			ticks = 0
		}
		longest = max(longest, ticks)
	}
	fence := strings.Repeat("`", longest+1)
	if strings.ContainsAny(language, "`\n\r \t") {
		language = ""
	}
	lines := append([]string{fence + language}, strings.Split(text, "\n")...)
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	w.lines(append(lines, fence))
}

// Note keeps a footnote for the end of the section. Its reference in the text is [Ref] of the same label.
func (w *Writer) Note(label, text string) {
	if text = OneLine(text); text != "" {
		w.notes = append(w.notes, note{label, text})
	}
}

// FlushNotes writes the footnotes kept so far.
func (w *Writer) FlushNotes() {
	if len(w.notes) == 0 {
		return
	}
	notes := w.notes
	w.notes = nil
	w.EndList()
	for _, n := range notes {
		w.lines([]string{"[^" + n.label + "]: " + n.text})
	}
}

// Ref returns the reference to a footnote.
func Ref(label string) string { return "[^" + label + "]" }

// Link returns a link, or the text alone where the target is not worth one: it is empty, only a place in the same document, a
// script or data, longer than 300 bytes, or what the text says already.
func Link(text, target string) string {
	if target = strings.TrimSpace(target); len(text) > maxLinkText {
		return text
	}
	lower := strings.ToLower(target)
	bare := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(lower, "mailto:"), "https://"), "http://")
	shown := strings.ToLower(strings.TrimSpace(text))
	switch {
	case shown == "" || target == "" || target[0] == '#' || len(target) > maxTarget:
		return text
	case strings.HasPrefix(lower, "javascript:") || strings.HasPrefix(lower, "data:") || strings.HasPrefix(lower, "vbscript:"):
		return text
	case shown == lower || strings.TrimRight(shown, "/") == strings.TrimRight(bare, "/"):
		return text
	case strings.Contains(text, "]("):
		return text // a link in a link is none
	}
	// White space at the ends stays outside of the brackets.
	inner := strings.TrimSpace(text)
	at := strings.Index(text, inner)
	return text[:at] + "[" + OneLine(inner) + "](" + destination(target) + ")" + text[at+len(inner):]
}

// LinkFrom makes a link of the text from start on, as Link does.
func LinkFrom(text []byte, start int, target string) []byte {
	if target == "" || start > len(text) || len(text)-start > maxLinkText {
		return text
	}
	return append(text[:start], Link(string(text[start:]), target)...)
}

// destination escapes what would end a link's target.
func destination(target string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(target); i++ {
		switch c := target[i]; {
		case c <= ' ' || c == '(' || c == ')' || c == '<' || c == '>' || c == '\\' || c == 0x7f || c == '|':
			b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Superscript returns what stands for s, written high, after the text before: 10 and 6 are not 106. Marks of notes stay as they are.
func Superscript(before, s string) string {
	trimmed := strings.TrimSpace(s)
	last, _ := utf8.DecodeLastRuneInString(before)
	if trimmed == "" || len(trimmed) > 4 || strings.Trim(trimmed, "0123456789+-−n") != "" || !unicode.IsLetter(last) && !unicode.IsDigit(last) && last != ')' {
		return s
	}
	return "^" + s
}

// OneLine returns text with each run of white space, line ends included, as one space, and none at the ends.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// paragraph splits text into lines, without empty ones, and escapes their beginnings.
func paragraph(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimFunc(line, unicode.IsSpace)
		if line == "" {
			continue
		}
		lines = append(lines, EscapeLine(line))
	}
	return lines
}

// EscapeLine returns a line that begins no block: a heading, list, quotation, fence, rule, HTML block or link definition.
func EscapeLine(line string) string {
	if line == "" {
		return line
	}
	switch c := line[0]; c {
	case '#':
		if n := len(line) - len(strings.TrimLeft(line, "#")); n <= 6 && (n == len(line) || line[n] == ' ' || line[n] == '\t') {
			return `\` + line
		}
	case '>':
		return `\` + line
	case '-', '+', '*', '=', '_':
		if c != '=' && c != '_' && (len(line) == 1 || line[1] == ' ' || line[1] == '\t') || strings.Trim(line, string(c)+" \t") == "" {
			return `\` + line
		}
	case '`', '~':
		if strings.HasPrefix(line, "```") || strings.HasPrefix(line, "~~~") {
			return `\` + line
		}
	case '<':
		if len(line) > 1 && (line[1] == '/' || line[1] == '!' || line[1] == '?' || line[1]|0x20 >= 'a' && line[1]|0x20 <= 'z') {
			return `\` + line
		}
	case '|':
		return `\` + line
	case '[':
		if end := strings.IndexByte(line, ']'); end > 0 && end+1 < len(line) && line[end+1] == ':' {
			return `\` + line
		}
	case ':':
		if strings.Trim(line, ":-| \t") == "" {
			return `\` + line
		}
	default:
		n := 0
		for n < len(line) && n < 10 && line[n] >= '0' && line[n] <= '9' {
			n++
		}
		if n > 0 && n < 10 && n < len(line) && (line[n] == '.' || line[n] == ')') && (n+1 == len(line) || line[n+1] == ' ' || line[n+1] == '\t') {
			return line[:n] + `\` + line[n:]
		}
	}
	return line
}
