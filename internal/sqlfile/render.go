package sqlfile

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// ErrTemplate is wrapped by every error of [Render]: an unknown or mistyped
// tag, or a tag that cannot be bound.
var ErrTemplate = errors.New("bad SQL template")

// maxIdentifier is PostgreSQL's limit (NAMEDATALEN-1). Longer names are cut
// silently by the server, so two long names could become one.
const maxIdentifier = 63

// Quote returns name as a quoted SQL identifier. The quotes make reserved
// words, mixed case and blanks harmless.
func Quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// CheckIdentifier reports why name cannot be an identifier in SQL: empty, not
// UTF-8, holding a NUL, or longer than 63 bytes. Everything else is legal once
// quoted.
func CheckIdentifier(name string) error {
	switch {
	case name == "":
		return errors.New("identifier is empty")
	case !utf8.ValidString(name):
		return errors.New("identifier is not valid UTF-8")
	case strings.ContainsRune(name, 0):
		return errors.New("identifier contains a NUL byte")
	case len(name) > maxIdentifier:
		return fmt.Errorf("identifier has %d bytes, at most %d are allowed", len(name), maxIdentifier)
	}
	return nil
}

// Render replaces the tags of text and returns the SQL for schema:
//
//	{{tables.x}}        the table (index, type, function …) x of schema
//	{{tables.other.x}}  x of the schema named other
//	{{schema}}          the schema itself
//
// Names are always quoted. Tags are replaced wherever they stand, also inside
// string literals and function bodies, because functions need them there. A
// tag must be written exactly as above: blanks inside, another word, or an
// unclosed brace is an error that wraps [ErrTemplate] and gives line and
// column, never text passed on to the server. A literal that needs two opening
// braces (an array of arrays) is written with a blank between them.
//
// With an empty schema, for databases that have none, {{tables.x}} is the bare
// name and {{schema}} is an error.
func Render(text, schema string) (string, error) {
	r, err := RenderMapped(text, schema)
	return r.SQL, err
}

// Rendered is rendered SQL that still knows where each byte came from.
type Rendered struct {
	// SQL is the text to send.
	SQL string
	// edits are the replaced tags in order.
	edits []edit
}

// edit says that SQL[to:to+toLen] replaces text[from:from+fromLen].
type edit struct{ from, fromLen, to, toLen int }

// Source returns the byte offset in the template for a byte offset in SQL. An
// offset inside a replaced tag becomes that of the tag.
func (r Rendered) Source(offset int) int {
	i := sort.Search(len(r.edits), func(i int) bool { return r.edits[i].to > offset })
	if i == 0 {
		return offset
	}
	e := r.edits[i-1]
	if offset < e.to+e.toLen {
		return e.from
	}
	return offset - (e.to + e.toLen) + e.from + e.fromLen
}

// RenderMapped is [Render] with the way back to the template, so that an error
// position reported by the server can be shown in the file it was written in.
func RenderMapped(text, schema string) (Rendered, error) {
	if !strings.Contains(text, "{{") {
		return Rendered{SQL: text}, nil
	}
	if schema != "" {
		if err := CheckIdentifier(schema); err != nil {
			return Rendered{}, fmt.Errorf("%w: schema: %w", ErrTemplate, err)
		}
	}
	var (
		out   strings.Builder
		edits []edit
		pos   int
	)
	for {
		i := strings.Index(text[pos:], "{{")
		if i < 0 {
			break
		}
		start := pos + i
		end := strings.Index(text[start:], "}}")
		if end < 0 {
			return Rendered{}, tagError(text, start, "tag is not closed")
		}
		end += start + len("}}")
		name, err := expand(text[start+len("{{"):end-len("}}")], schema)
		if err != nil {
			return Rendered{}, tagError(text, start, err.Error())
		}
		out.WriteString(text[pos:start])
		edits = append(edits, edit{from: start, fromLen: end - start, to: out.Len(), toLen: len(name)})
		out.WriteString(name)
		pos = end
	}
	out.WriteString(text[pos:])
	return Rendered{SQL: out.String(), edits: edits}, nil
}

func expand(tag, schema string) (string, error) {
	if tag == "schema" {
		if schema == "" {
			return "", errors.New("{{schema}} has no meaning in a database without schemas")
		}
		return Quote(schema), nil
	}
	rest, ok := strings.CutPrefix(tag, "tables.")
	if !ok {
		return "", fmt.Errorf("unknown tag {{%s}}", clip(tag))
	}
	table, other, qualified := strings.Cut(rest, ".")
	if qualified {
		schema, table = table, other
		if !plainName(schema) {
			return "", fmt.Errorf("mistyped tag {{%s}}", clip(tag))
		}
	}
	if !plainName(table) {
		return "", fmt.Errorf("mistyped tag {{%s}}", clip(tag))
	}
	if schema == "" {
		return Quote(table), nil
	}
	return Quote(schema) + "." + Quote(table), nil
}

// plainName reports whether s may stand in a tag: letters, digits, _ and $,
// not starting with a digit. Stranger names exist in databases, but in a
// template they are nearly always typing errors.
func plainName(s string) bool {
	if s == "" || len(s) > maxIdentifier {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '$' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func tagError(text string, offset int, msg string) error {
	line, column := Position(text, offset)
	return fmt.Errorf("%w: line %d, column %d: %s", ErrTemplate, line, column, msg)
}

// Position returns line and column, both from 1 and the column in characters,
// of a byte offset in text. An offset outside text is moved to its nearer end.
func Position(text string, offset int) (line, column int) {
	offset = min(max(offset, 0), len(text))
	before := text[:offset]
	line = 1 + strings.Count(before, "\n")
	column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return line, column
}

func clip(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
