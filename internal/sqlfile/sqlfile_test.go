package sqlfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/sqlfile"
)

func TestRender(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, schema, want string }{
		{"SELECT 1", "s", "SELECT 1"},
		{"SELECT 1", "", "SELECT 1"},
		{"{{tables.a}}", "s", `"s"."a"`},
		{"{{tables.order}}, {{tables.Mixed_1$}}", "s", `"s"."order", "s"."Mixed_1$"`},
		{"{{tables.other.a}}", "s", `"other"."a"`},
		{"{{schema}}.f()", `Select "x"`, `"Select ""x""".f()`},
		{"'{{tables.a}}' $$ {{tables.b}} $$ -- {{schema}}", "s", `'"s"."a"' $$ "s"."b" $$ -- "s"`},
		{"'{ {1},{2}}' }}", "s", "'{ {1},{2}}' }}"},
		{"ä{{tables.a}}ö", "ü", `ä"ü"."a"ö`},
		{"{{tables.a}}, {{tables.other.a}}", "", `"a", "other"."a"`},
	} {
		got, err := sqlfile.Render(c.text, c.schema)
		if err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 64)
	for _, c := range []struct{ text, schema, want string }{
		{"{{tables.a", "s", "line 1, column 1: tag is not closed"},
		{"a\nö {{tables.a }}", "s", "line 2, column 3: mistyped tag {{tables.a }}"},
		{"{{ tables.a}}", "s", "line 1, column 1: unknown tag {{ tables.a}}"},
		{"{{table.a}}", "s", "line 1, column 1: unknown tag {{table.a}}"},
		{"{{Schema}}", "s", "line 1, column 1: unknown tag {{Schema}}"},
		{"{{}}", "s", "line 1, column 1: unknown tag {{}}"},
		{"{{tables.}}", "s", "line 1, column 1: mistyped tag {{tables.}}"},
		{"{{tables.a-b}}", "s", "line 1, column 1: mistyped tag {{tables.a-b}}"},
		{"{{tables.1a}}", "s", "line 1, column 1: mistyped tag {{tables.1a}}"},
		{"{{tables.a.b.c}}", "s", "line 1, column 1: mistyped tag {{tables.a.b.c}}"},
		{"{{tables..c}}", "s", "line 1, column 1: mistyped tag {{tables..c}}"},
		{"'{{1},{2}}'", "s", "line 1, column 2: unknown tag {{1},{2}}"},
		{"{{tables." + long + "}}", "s", "line 1, column 1: mistyped tag {{tables.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…}}"},
		{"{{schema}}", "", "line 1, column 1: {{schema}} has no meaning in a database without schemas"},
		{"{{schema}}", long, "schema: identifier has 64 bytes, at most 63 are allowed"},
		{"{{schema}}", "a\x00", "schema: identifier contains a NUL byte"},
		{"{{schema}}", "\xff", "schema: identifier is not valid UTF-8"},
	} {
		got, err := sqlfile.Render(c.text, c.schema)
		if !errors.Is(err, sqlfile.ErrTemplate) || got != "" || err.Error() != "bad SQL template: "+c.want {
			t.Errorf("%s: got %q, %v\nwant %s", c.text, got, err, c.want)
		}
	}
}

// Every byte of the SQL that is not a tag's leads back to the same byte of the
// template, and every byte of a tag's to the tag.
func FuzzRenderMapped(f *testing.F) {
	for _, text := range []string{"", "{{", "}}", "a{{tables.b}}c{{schema}}d", "{{tables.a}}{{tables.x.b}}", "ä{{ schema}}", "'{ {1}}'"} {
		f.Add(text, `s"x`)
		f.Add(text, "")
	}
	f.Fuzz(func(t *testing.T, text, schema string) {
		r, err := sqlfile.RenderMapped(text, schema)
		if err != nil {
			if !errors.Is(err, sqlfile.ErrTemplate) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if strings.Contains(text, "{{") == (r.SQL == text) {
			t.Fatalf("%q was rendered to %q", text, r.SQL)
		}
		last := 0
		for i := range len(r.SQL) {
			from := r.Source(i)
			if from < last || from >= len(text) {
				t.Fatalf("offset %d of %q leads to %d of %q, after %d", i, r.SQL, from, text, last)
			}
			last = from
			if !strings.HasPrefix(text[from:], "{{") && text[from] != r.SQL[i] {
				t.Fatalf("offset %d of %q leads to %d of %q", i, r.SQL, from, text)
			}
		}
		if got := r.Source(len(r.SQL)); got != len(text) {
			t.Fatalf("the end leads to %d, want %d", got, len(text))
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add(`a"b`)
	f.Fuzz(func(t *testing.T, name string) {
		q := sqlfile.Quote(name)
		inner := q[1 : len(q)-1]
		if strings.ReplaceAll(inner, `""`, "") != strings.ReplaceAll(name, `"`, "") || strings.Count(inner, `"`) != 2*strings.Count(name, `"`) {
			t.Errorf("%q was quoted as %s", name, q)
		}
	})
}

func TestPosition(t *testing.T) {
	t.Parallel()
	const text = "ab\näö\n"
	var got []string
	for offset := -1; offset <= len(text)+1; offset++ {
		if offset >= 0 && offset < len(text) && !utf8.RuneStart(text[offset]) {
			continue
		}
		line, column := sqlfile.Position(text, offset)
		got = append(got, fmt.Sprintf("%d:%d", line, column))
	}
	want := []string{"1:1", "1:1", "1:2", "1:3", "2:1", "2:2", "2:3", "3:1", "3:1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

func TestLoad(t *testing.T) {
	t.Parallel()
	set, err := sqlfile.Load(fstest.MapFS{
		"a.sql":     file("-- About this file.\n\n-- name: one\n-- why\nSELECT 1\nFROM {{tables.t}};\n\n-- name: two\nSELECT ';'"),
		"sub/b.sql": file("-- name:three\r\nSELECT 3;\r\n"),
		"notes.txt": file("-- name: no"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "three", "two"}, set.Names()); diff != "" {
		t.Error(diff)
	}
	bound, err := set.Render("s")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range bound.Names() {
		got[name] = bound.Get(name)
	}
	want := map[string]string{"one": "-- why\nSELECT 1\nFROM \"s\".\"t\"", "two": "SELECT ';'", "three": "SELECT 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := set.Get("one"); !strings.Contains(got, "{{tables.t}}") {
		t.Errorf("Render changed the set it was called on: %s", got)
	}
	if got := set.Get("unknown"); got != "" {
		t.Errorf("got %q", got)
	}
	if err := set.Check("one", "two", "three"); err != nil {
		t.Error(err)
	}
	err = set.Check("one", "two", "four")
	wantErr := "sqlfile: statement \"four\" is not defined\nsub/b.sql:1: statement \"three\" is used by nobody"
	if err == nil || err.Error() != wantErr {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	_, err := sqlfile.Load(fstest.MapFS{
		"a.sql": file("SELECT 0;\n-- name: one\nSELECT 1\n-- name: one\nSELECT 2"),
		"b.sql": file("-- name: empty\n-- only a comment\n-- name: bad name\nSELECT 1\n-- name: one\nSELECT 1"),
		"c.sql": file("-- nothing here"),
	})
	want := `sqlfile: a.sql:1: statement before the first "-- name:" line
a.sql:4: statement "one" is already defined at a.sql:2
b.sql:1: statement "empty" is empty
b.sql:3: "bad name" is not a name (letters, digits and _ only)
b.sql:5: statement "one" is already defined at a.sql:2
c.sql:1: no "-- name:" line`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if _, err := sqlfile.Load(fstest.MapFS{"x.txt": file("")}); err == nil || err.Error() != "sqlfile: no .sql file found" {
		t.Errorf("got %v", err)
	}
	set, err := sqlfile.Load(fstest.MapFS{"a.sql": file("-- name: one\nSELECT {{x}}\n-- name: two\nSELECT {{schema}}\n-- name: three\n\nSELECT\n{{y}}")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Render("s")
	want = `sqlfile: a.sql:1: one: bad SQL template: line 1, column 8: unknown tag {{x}}
a.sql:5: three: bad SQL template: line 2, column 1: unknown tag {{y}}`
	if !errors.Is(err, sqlfile.ErrTemplate) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
