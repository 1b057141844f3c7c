package chunk

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"sort"
	"strings"
)

// maxParsed is how much source text a parser gets, which holds all of it as a tree and cannot be interrupted. Longer texts are
// generated, and read like those of an unknown language.
const maxParsed = 4 << 20

// golang cuts Go between declarations, which the standard library's parser finds; a comment belongs to the declaration that it
// documents. A declaration's name, after that of its receiver's type, is its heading.
func (b *builder) golang() error {
	fset := token.NewFileSet()
	// What cannot be parsed is left out of the tree, and so lies between two declarations: an error is no reason to stop.
	file, _ := parser.ParseFile(fset, "", b.text, parser.ParseComments|parser.SkipObjectResolution)
	if file == nil {
		return b.code(0, len(b.text), blockStrength)
	}
	at := 0
	offset := func(p token.Pos) int { return min(max(at, fset.PositionFor(p, false).Offset), len(b.text)) }
	for i, d := range file.Decls {
		if i%256 == 0 {
			if err := b.ctx.Err(); err != nil {
				return err
			}
		}
		begin, path := d.Pos(), []string(nil)
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			if d.Recv != nil && len(d.Recv.List) > 0 {
				path = append(path, receiver(d.Recv.List[0].Type))
			}
			path = append(path, d.Name.Name)
		case *ast.GenDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			if len(d.Specs) == 1 {
				switch s := d.Specs[0].(type) {
				case *ast.TypeSpec:
					path = []string{s.Name.Name}
				case *ast.ValueSpec:
					path = []string{s.Names[0].Name}
				}
			}
		default: // does not parse
			continue
		}
		start := offset(begin)
		end := max(start, offset(d.End()))
		if !border(b.text, start) || !border(b.text, end) {
			continue // cannot be
		}
		// What is left of the line is a comment on it.
		if n := strings.IndexByte(b.text[end:], '\n'); n >= 0 && strings.HasPrefix(strings.TrimSpace(b.text[end:end+n]), "//") {
			end += n
		}
		if err := b.loose(at, start); err != nil {
			return err
		}
		if err := b.declaration(start, end, path, 0, b.code); err != nil {
			return err
		}
		at = end
	}
	return b.loose(at, len(b.text))
}

// receiver returns the name of a method's type.
func receiver(x ast.Expr) string {
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.ParenExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// declaration adds a declaration with its comment, whose path of headings is given. Depth is how many others are around it.
func (b *builder) declaration(start, end int, path []string, depth int, split splitter) error {
	start, end = b.trim(start, end)
	if start == end {
		return nil
	}
	var names []string
	for _, name := range path {
		if name != "" {
			names = append(names, brief(name, maxHeadBytes))
		}
	}
	b.note(start, names)
	s := headingStrength + strength(5-min(depth, 5))
	if !b.declared && b.total(0) < b.tiny {
		s = blockStrength // a few words at the beginning may stay with the first declaration
	}
	b.declared, b.loosened = true, false
	if b.pending { // a declaration is rather kept whole than begun beside the head of what holds it
		if cost := b.measure(start, end, b.keep); cost <= b.keep && cost > b.max-b.pendingCost {
			if err := b.release(start); err != nil {
				return err
			}
		}
	}
	return b.block(start, end, s, split)
}

// maxNamesBytes is how long the names of several declarations together may be in a heading: the text is what matters.
const maxNamesBytes = 96

// over returns the path of headings for a part of source code: where several declarations are in it, what their paths have in common,
// and then their names.
func (o outline) over(start, end int) []string {
	var paths [][]string // without those of what holds the declaration before or after
	for _, h := range o[max(0, sort.Search(len(o), func(i int) bool { return o[i].start > start })-1):] {
		if h.start >= end {
			break
		}
		switch n := len(paths); {
		case len(h.path) == 0, n > 0 && shared(paths[n-1], h.path) == len(h.path):
		case n > 0 && shared(paths[n-1], h.path) == len(paths[n-1]):
			paths[n-1] = h.path
		default:
			paths = append(paths, h.path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	common := len(paths[0])
	for _, path := range paths {
		common = min(common, shared(paths[0], path))
	}
	if len(paths) == 1 {
		return paths[0]
	}
	var names []string
	length := 0
	for _, path := range paths {
		name := strings.Join(path[common:], ".")
		if slices.Contains(names, name) {
			continue
		}
		if length += len(name) + len(", "); length > maxNamesBytes && len(names) > 0 {
			names = append(names, "…")
			break
		}
		names = append(names, name)
	}
	return append(paths[0][:common:common], strings.Join(names, ", "))
}

// shared returns how many headings two paths begin with alike.
func shared(a, b []string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// loose adds what stands between declarations.
func (b *builder) loose(start, end int) error {
	start, end = b.trim(start, end)
	if start == end {
		return nil
	}
	b.note(start, b.path)
	s := headingStrength
	if b.loosened {
		s = blockStrength
	}
	b.loosened = true
	return b.code(start, end, s)
}
