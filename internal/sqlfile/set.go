package sqlfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Set is a collection of named statements. The zero value is an empty set. A
// set never changes once made, so many goroutines may use one.
type Set struct {
	statements map[string]statement
}

type statement struct {
	text string
	file string
	line int
}

const namePrefix = "-- name:"

// Load reads every .sql file of fsys, subfolders included. All faults of all
// files are reported together: a duplicate or bad name, text before the first
// name, a name without a statement, a file without names, no file at all.
//
// Comment lines between a name and its statement stay part of it, so that they
// show up in the server's log; a semicolon at the end is dropped.
func Load(fsys fs.FS) (Set, error) {
	set := Set{statements: map[string]statement{}}
	var faults []error
	files := 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || path.Ext(p) != ".sql" {
			return nil
		}
		files++
		content, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		faults = append(faults, set.add(p, string(content))...)
		return nil
	})
	if err != nil {
		return Set{}, fmt.Errorf("sqlfile: %w", err)
	}
	if files == 0 {
		faults = append(faults, errors.New("no .sql file found"))
	}
	if len(faults) > 0 {
		return Set{}, fmt.Errorf("sqlfile: %w", errors.Join(faults...))
	}
	return set, nil
}

// add parses one file into s and returns what is wrong with it.
func (s Set) add(file, content string) (faults []error) {
	fault := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s:%d: "+format, append([]any{file, line}, args...)...))
	}
	var (
		name  string
		start int
		body  []string
		named bool
		skip  bool // the name above was bad: its text is nobody's
	)
	flush := func() {
		text := strings.TrimSpace(strings.Join(body, "\n"))
		text = strings.TrimSpace(strings.TrimSuffix(text, ";"))
		body = body[:0]
		switch {
		case skip:
		case name == "":
			if !onlyComments(text) {
				fault(1, "statement before the first %q line", namePrefix)
			}
		case onlyComments(text):
			fault(start, "statement %q is empty", name)
		default:
			if old, ok := s.statements[name]; ok {
				fault(start, "statement %q is already defined at %s:%d", name, old.file, old.line)
				return
			}
			s.statements[name] = statement{text: text, file: file, line: start}
		}
	}
	content = strings.ReplaceAll(content, "\r\n", "\n")
	for i, line := range strings.Split(content, "\n") {
		rest, ok := strings.CutPrefix(line, namePrefix)
		if !ok {
			body = append(body, line)
			continue
		}
		flush()
		named = true
		name, start = strings.TrimSpace(rest), i+1
		if skip = !plainName(name); skip {
			fault(start, "%q is not a name (letters, digits and _ only)", clip(name))
		}
	}
	flush()
	if !named {
		fault(1, "no %q line", namePrefix)
	}
	return faults
}

// onlyComments reports whether text has no line outside -- comments.
func onlyComments(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}

// Render returns the set bound to schema (see the function [Render]). All
// faulty templates are reported together, each with its file and line.
func (s Set) Render(schema string) (Set, error) {
	out := Set{statements: make(map[string]statement, len(s.statements))}
	var faults []error
	for _, name := range s.Names() {
		st := s.statements[name]
		text, err := Render(st.text, schema)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %s: %w", st.file, st.line, name, err))
			continue
		}
		st.text = text
		out.statements[name] = st
	}
	if len(faults) > 0 {
		return Set{}, fmt.Errorf("sqlfile: %w", errors.Join(faults...))
	}
	return out, nil
}

// Get returns the statement called name, or "" if there is none. Prove once
// with [Set.Check], in a constructor, that every name used exists.
func (s Set) Get(name string) string { return s.statements[name].text }

// Names returns all names in alphabetical order.
func (s Set) Names() []string {
	names := make([]string, 0, len(s.statements))
	for name := range s.statements {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check reports every name of want that the set lacks and every statement of
// the set that want does not mention: the first is a bug, the second dead SQL.
func (s Set) Check(want ...string) error {
	var faults []error
	for _, name := range want {
		if _, ok := s.statements[name]; !ok {
			faults = append(faults, fmt.Errorf("statement %q is not defined", name))
		}
	}
	for _, name := range s.Names() {
		if !slices.Contains(want, name) {
			st := s.statements[name]
			faults = append(faults, fmt.Errorf("%s:%d: statement %q is used by nobody", st.file, st.line, name))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("sqlfile: %w", errors.Join(faults...))
	}
	return nil
}
