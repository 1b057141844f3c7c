package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// language is what has to be known of a programming language to find its declarations without a parser: how comments and strings are
// written, so that nothing inside them is taken for structure, and whether blocks are made by brackets or by indentation.
type language struct {
	remark  []string    // what begins a comment that ends with the line
	remarks [][2]string // what begins and ends a comment
	quotes  string      // marks of strings that end with the line; a backslash escapes
	long    []string    // marks of strings that may have several lines
	char    bool        // an apostrophe begins a character, not a string
	indent  bool        // blocks are made by indentation
	free    bool        // a statement may end with the line
}

var (
	cLike  = language{remark: []string{"//"}, remarks: [][2]string{{"/*", "*/"}}, quotes: `"`, char: true}
	jvm    = language{remark: cLike.remark, remarks: cLike.remarks, quotes: `"`, long: []string{`"""`}, char: true}
	kotlin = language{remark: cLike.remark, remarks: cLike.remarks, quotes: `"`, long: []string{`"""`}, char: true, free: true}
	ecma   = language{remark: cLike.remark, remarks: cLike.remarks, quotes: `"'`, long: []string{"`"}, free: true}
	dart   = language{remark: cLike.remark, remarks: cLike.remarks, quotes: `"'`, long: []string{`"""`, `'''`}}
	php    = language{remark: []string{"//", "#"}, remarks: cLike.remarks, quotes: `"'`}
	script = language{remark: []string{"#"}, quotes: `"'`, indent: true, free: true}
	python = language{remark: script.remark, quotes: `"'`, long: []string{`"""`, `'''`}, indent: true, free: true}
	lua    = language{remark: []string{"--"}, remarks: [][2]string{{"--[[", "]]"}}, quotes: `"'`, indent: true, free: true}
)

// languages are those whose declarations are found, by the names that they have as mark-up.
var languages = map[string]*language{
	"c": &cLike, "cpp": &cLike, "objc": &cLike, "csharp": &jvm, "java": &jvm, "kotlin": &kotlin, "scala": &kotlin, "groovy": &kotlin,
	"swift": &kotlin, "rust": &cLike, "zig": &cLike, "javascript": &ecma, "typescript": &ecma, "tsx": &ecma, "dart": &dart, "php": &php,
	"protobuf": &cLike, "python": &python, "ruby": &script, "julia": &python, "elixir": &python, "lua": &lua, "bash": &script,
}

// source cuts source text of a language.
func (b *builder) source(name string) error {
	if name == "go" && len(b.text) <= maxParsed {
		return b.golang()
	}
	if l := languages[name]; l != nil && len(b.text) <= maxParsed {
		s := scanner{builder: b, language: l}
		s.scan()
		return s.items(0, len(s.rows), 0, nil)
	}
	return b.code(0, len(b.text), blockStrength)
}

// row is one line of source text.
type row struct {
	start, end int32
	level      int32 // brackets that are open, or columns of indentation
	kind       rowKind
	done       bool // a statement ends with it
}

type rowKind uint8

const (
	blank rowKind = iota
	comment
	annotation // a decorator or an attribute
	closer     // begins with a closing bracket, or a word such as "end"
	opener     // begins with an opening brace
	statement
)

// inside is the level of lines that go on with something: a string of several lines or, where indentation counts, a bracket.
const inside = 1 << 20

// scanner finds declarations by brackets or indentation. It is no parser: a text that is laid out in an unusual way is cut in less
// good places.
type scanner struct {
	*builder
	*language
	rows []row
	open []bracket // those that are open
}

// bracket is an opening one.
type bracket struct {
	column int32 // of the line that it stands on
	inner  int32 // of the first line after it, -1 if there was none
}

// settle takes brackets for closed whose lines are indented, if a line is not: somebody forgot to close them, and the rest of the text
// must not be one block.
func (s *scanner) settle(column int32, kind rowKind, body string) {
	if kind == closer || kind == opener {
		return
	}
	for i := len(s.open) - 1; i >= 0 && s.open[i].inner < 0; i-- {
		s.open[i].inner = column
	}
	if body[0] == '#' || strings.HasSuffix(body, ":") { // a directive or a label
		return
	}
	for n := len(s.open); n > 0 && s.open[n-1].inner > s.open[n-1].column && column <= s.open[n-1].column; n-- {
		s.open = s.open[:n-1]
	}
}

// scan finds out about every line.
func (s *scanner) scan() {
	until := "" // what ends the string or comment that is open
	commented := false
	for at := 0; at < len(s.text); {
		stop, next := len(s.text), len(s.text)
		if n := strings.IndexByte(s.text[at:], '\n'); n >= 0 {
			stop, next = at+n, at+n+1
		}
		column := int32(0)
		r := row{start: int32(at), end: int32(stop)}
		text := s.text[at:stop]
		trimmed := strings.TrimLeft(text, " \t\ufeff")
		body := strings.TrimSpace(trimmed)
		switch {
		case until != "":
			r.level, r.kind = inside, statement
			if commented {
				r.level, r.kind = int32(len(s.open)), comment
				if s.indent {
					r.level = 0
				}
			}
		case strings.TrimSpace(text) == "":
			r.kind = blank
		case body == "": // a byte order mark alone
			r.kind = statement
		default:
			r.kind = s.kindOf(body)
			column = int32(columnsOf(text[:len(text)-len(trimmed)]))
			s.settle(column, r.kind, body)
			depth := len(s.open)
			r.level = int32(depth)
			r.done = s.free || body[0] == '#' || strings.IndexByte(";}:,>", body[len(body)-1]) >= 0
			if s.indent {
				if r.level = column; depth > 0 {
					r.level = inside
				}
			} else if r.kind == closer {
				r.level = int32(max(0, depth-leading(body)))
			}
		}
		until, commented = s.read(text, column, until, commented)
		s.rows = append(s.rows, r)
		at = next
	}
}

// kindOf returns what kind of a line it is that has the given text.
func (s *scanner) kindOf(body string) rowKind {
	for _, mark := range s.remark {
		if strings.HasPrefix(body, mark) && !strings.HasPrefix(body, "#[") && !strings.HasPrefix(body, "#!") {
			return comment
		}
	}
	for _, marks := range s.remarks {
		if strings.HasPrefix(body, marks[0]) {
			if n := strings.Index(body, marks[1]); n < 0 || n+len(marks[1]) == len(body) {
				return comment
			}
		}
	}
	switch {
	case strings.HasPrefix(body, "@") && !strings.HasPrefix(body, "@interface") && !strings.HasPrefix(body, "@implementation"),
		strings.HasPrefix(body, "#["), strings.HasPrefix(body, "[") && strings.HasSuffix(body, "]"), strings.HasPrefix(body, "template<"),
		strings.HasPrefix(body, "template <"):
		return annotation
	case strings.IndexByte("}])", body[0]) >= 0, s.indent && closing[firstWord(body)]:
		return closer
	case body[0] == '{':
		return opener
	}
	return statement
}

// closing are the words that end a block where indentation counts.
var closing = map[string]bool{"end": true, "fi": true, "done": true, "esac": true}

func firstWord(s string) string {
	n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && r != '_' })
	if n < 0 {
		return s
	}
	return s[:n]
}

// leading returns how many closing brackets a text begins with.
func leading(s string) int { return len(s) - len(strings.TrimLeft(s, "}])")) }

// columnsOf returns how wide an indentation is.
func columnsOf(s string) (n int) {
	for i := range len(s) {
		switch s[i] {
		case ' ':
			n++
		case '\t':
			n += 4
		}
	}
	return n
}

// read reads one line, and returns what ends the string or comment that is open after it.
func (s *scanner) read(text string, column int32, until string, commented bool) (string, bool) {
scan:
	for at := 0; at < len(text); {
		rest := text[at:]
		if until != "" {
			n := strings.Index(rest, until)
			if n < 0 {
				return until, commented
			}
			at, until, commented = at+n+len(until), "", false
			continue
		}
		switch c := rest[0]; c {
		case '{', '(', '[':
			s.open = append(s.open, bracket{column, -1})
			at++
			continue
		case '}', ')', ']':
			s.open = s.open[:max(0, len(s.open)-1)]
			at++
			continue
		case ' ', '\t':
			at++
			continue
		}
		for _, marks := range s.remarks {
			if strings.HasPrefix(rest, marks[0]) {
				at, until, commented = at+len(marks[0]), marks[1], true
				continue scan
			}
		}
		for _, mark := range s.remark {
			if strings.HasPrefix(rest, mark) {
				return "", false
			}
		}
		for _, mark := range s.long {
			if strings.HasPrefix(rest, mark) {
				at, until = at+len(mark), mark
				continue scan
			}
		}
		switch {
		case s.char && rest[0] == '\'':
			at += character(rest)
		case strings.IndexByte(s.quotes, rest[0]) >= 0:
			at += quotation(rest)
		default:
			at++
		}
	}
	return until, commented
}

// character returns the length of the literal that begins with an apostrophe, or 1 if it is something else, such as a lifetime.
func character(s string) int {
	if strings.HasPrefix(s, `'\`) && len(s) > 3 {
		if n := strings.IndexByte(s[3:], '\''); n >= 0 && n < 10 {
			return n + 4
		}
		return 1
	}
	_, size := utf8.DecodeRuneInString(s[1:])
	if len(s) > 1+size && s[1+size] == '\'' {
		return 2 + size
	}
	return 1
}

// quotation returns the length of the string that a line's rest begins with.
func quotation(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}

// maxNesting is how deep declarations are looked for in others.
const maxNesting = 4

// items cuts the lines from lo to before hi, whose declarations are at a level, under a path of headings.
func (s *scanner) items(lo, hi int, depth int, path []string) error {
	level := int32(inside)
	for _, r := range s.rows[lo:hi] {
		if r.kind != blank && r.kind != closer {
			level = min(level, r.level)
		}
	}
	for lo < hi {
		if lo%256 == 0 {
			if err := s.ctx.Err(); err != nil {
				return err
			}
		}
		if s.rows[lo].kind == blank {
			lo++
			continue
		}
		head, end, nested := s.item(lo, hi, level)
		if err := s.emit(lo, head, end, nested, depth, path); err != nil {
			return err
		}
		lo = end
	}
	return nil
}

// item returns where the item that begins with a line ends, on which line it begins without its comments, and whether it has lines
// of a deeper level.
func (s *scanner) item(lo, hi int, level int32) (head, end int, nested bool) {
	head = lo
	for head < hi && s.rows[head].kind == comment && s.rows[head].level <= level {
		head++
	}
	if head == hi || s.rows[head].kind == blank {
		return head, head, false // a comment on nothing
	}
	for end = head; end < hi; {
		last := s.rows[end]
		end++
		if deep := s.deeper(end, hi, level); deep > end {
			nested, end = true, deep
			for end < hi && s.rows[end].kind == closer && s.rows[end].level <= level {
				end++
				if deep := s.deeper(end, hi, level); deep > end { // } else {
					end = deep
				} else {
					break
				}
			}
			if last.kind == annotation {
				nested = false
				continue
			}
			if s.indent || s.rows[end-1].kind == closer {
				return head, end, true
			}
			continue
		}
		if end == hi || s.rows[end].kind == opener || last.kind == annotation {
			continue
		}
		switch next := s.rows[end]; {
		case next.kind == blank, next.kind == comment, next.kind == annotation, nested:
			return head, end, nested
		case last.done && (s.deeper(end+1, hi, level) > end+1 || end+1 < hi && s.rows[end+1].kind == opener):
			return head, end, nested
		}
	}
	return head, end, nested
}

// deeper returns the end of the run of lines from lo on that are of a deeper level than the given one, without empty lines at its end.
func (s *scanner) deeper(lo, hi int, level int32) int {
	end := lo
	for i := lo; i < hi && (s.rows[i].kind == blank || s.rows[i].level > level); i++ {
		if s.rows[i].kind != blank {
			end = i + 1
		}
	}
	return end
}

// emit adds the lines from lo to before end, an item whose own text begins with head.
func (s *scanner) emit(lo, head, end int, nested bool, depth int, path []string) error {
	start, stop := int(s.rows[lo].start), int(s.rows[end-1].end)
	name, container := "", false
	if head < end && (nested || s.indent || strings.Contains(s.text[s.rows[head].start:stop], "{")) {
		signature := s.signature(head, end)
		if name, container = s.naming(signature); !nested && s.indent && !functions[firstWord(strings.TrimSpace(signature))] {
			name, container = "", false
		}
	}
	if name == "" && !container {
		outer := s.path
		s.path = path
		defer func() { s.path = outer }()
		return s.loose(start, stop)
	}
	if name != "" {
		path = append(path[:len(path):len(path)], name)
	}
	return s.declaration(start, stop, path, depth, func(from, to int, st strength) error {
		inner, last := s.inner(head, end)
		if !container || depth >= maxNesting || inner >= last {
			return s.code(from, to, st)
		}
		if err := s.hold(from, int(s.rows[inner-1].end), st); err != nil {
			return err
		}
		if err := s.items(inner, last, depth+1, path); err != nil {
			return err
		}
		if err := s.release(int(s.rows[last-1].end)); err != nil {
			return err
		}
		if last < end && int(s.rows[last].start) < to { // no mere white space
			return s.block(int(s.rows[last].start), to, closerStrength, s.code)
		}
		return nil
	})
}

// inner returns the lines that a container's declaration holds: those after its head, without what closes it.
func (s *scanner) inner(head, end int) (first, last int) {
	level := s.rows[head].level
	first = s.bare(head, end)
	for first < end && (s.rows[first].level <= level || s.rows[first].kind == blank) {
		first++
	}
	last = end
	for last > first && (s.rows[last-1].kind == closer || s.rows[last-1].kind == blank) && s.rows[last-1].level <= level {
		last--
	}
	return first, last
}

// maxSignature is how much of a declaration is looked at for its name.
const maxSignature = 512

// bare returns the line on which a declaration goes on after its annotations.
func (s *scanner) bare(head, end int) int {
	level := s.rows[head].level
	for head < end-1 && s.rows[head].kind == annotation {
		for head++; head < end-1 && (s.rows[head].level > level || s.rows[head].kind == closer); {
			head++
		}
	}
	return head
}

// signature returns the beginning of a declaration without annotations, up to what opens its block.
func (s *scanner) signature(head, end int) string {
	head = s.bare(head, end)
	text := shorten(s.text[s.rows[head].start:s.rows[end-1].end], maxSignature)
	if s.indent {
		text, _, _ = strings.Cut(text, "\n")
		return text
	}
	text, _, _ = strings.Cut(text, "{")
	return text
}

// containers are the words before the name of what holds declarations, functions those before the name of a function.
var (
	containers = map[string]bool{
		"class": true, "struct": true, "interface": true, "enum": true, "trait": true, "impl": true, "namespace": true, "module": true,
		"mod": true, "object": true, "record": true, "protocol": true, "extension": true, "union": true, "defmodule": true, "message": true,
		"service": true, "contract": true, "actor": true, "@interface": true, "@implementation": true,
	}
	functions = map[string]bool{
		"def": true, "func": true, "function": true, "fn": true, "fun": true, "sub": true, "macro": true, "defp": true, "defmacro": true,
		"constructor": true, "init": true, "deinit": true,
	}
	values = map[string]bool{"const": true, "let": true, "var": true, "val": true, "type": true}
	// controls are words before a parenthesis that is not that of a function.
	controls = map[string]bool{
		"if": true, "for": true, "while": true, "switch": true, "return": true, "catch": true, "else": true, "do": true, "with": true,
		"match": true, "try": true, "elif": true, "until": true, "unless": true, "case": true, "when": true, "foreach": true, "using": true,
		"lock": true, "synchronized": true, "begin": true, "loop": true, "select": true, "import": true, "export": true,
	}
)

// naming returns the name that a declaration gives, and whether it may hold other declarations; "" if it gives none.
func (s *scanner) naming(signature string) (name string, container bool) {
	rest := signature
	for first := true; ; first = false {
		rest = strings.TrimLeftFunc(rest, func(r rune) bool { return !nameRune(r) && r != '(' && r != '=' })
		n := strings.IndexFunc(rest, func(r rune) bool { return !nameRune(r) })
		if n < 0 {
			n = len(rest)
		}
		word := rest[:n]
		switch {
		case word == "":
			return s.beforeParenthesis(signature), false
		case first && controls[word] && word != "export":
			return "", false
		case containers[word]:
			if word == "impl" || word == "extension" {
				return strings.Join(strings.Fields(signature[len(signature)-len(rest):]), " "), true
			}
			return nextName(rest[n:]), true
		case first && word == "extern" && strings.HasPrefix(strings.TrimSpace(rest[n:]), `"`):
			return "", true
		case functions[word]:
			if name := nextName(rest[n:]); name != "" {
				return name, false
			}
			return word, false
		case values[word]:
			return nextName(rest[n:]), false
		}
		rest = rest[n:]
	}
}

// nameRune reports whether a name may hold a character.
func nameRune(r rune) bool {
	return r == '_' || r == '$' || r == '@' || r == ':' || r == '~' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// nextName returns the name that a text begins with, after white space and asterisks.
func nextName(s string) string {
	s = strings.TrimLeft(s, " \t*&\r\n")
	n := strings.IndexFunc(s, func(r rune) bool { return !nameRune(r) && r != '?' && r != '!' })
	if n < 0 {
		n = len(s)
	}
	return strings.TrimRight(s[:n], ":.")
}

// beforeParenthesis returns the name of the function whose signature is neither introduced by a word nor an expression, or "".
func (s *scanner) beforeParenthesis(signature string) string {
	before, after, found := strings.Cut(signature, "(")
	if !found || strings.HasPrefix(after, "*") || strings.Contains(before, "=") || strings.HasPrefix(before, "typedef") {
		return ""
	}
	if s.indent && !strings.HasPrefix(after, ")") { // only a shell has functions like that
		return ""
	}
	before = strings.TrimRight(before, " \t\r\n")
	n := strings.LastIndexFunc(before, func(r rune) bool { return !nameRune(r) })
	name := strings.Trim(before[n+1:], ":.")
	if name == "" || controls[name] || name[0] >= '0' && name[0] <= '9' {
		return ""
	}
	return name
}
