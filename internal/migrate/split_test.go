package migrate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/migrate"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"nothing", " \n ; ;; -- x", nil},
		{"two", "a; b", []string{"a", "b"}},
		{"comments before are dropped", "-- x;\n/* ; */ a /* y; */;", []string{"a /* y; */"}},
		{"nested comment", "/* /* ; */ ; */ a", []string{"a"}},
		{"string", "a ';''; ' ; b", []string{"a ';''; '", "b"}},
		{"a backslash is nothing special in a plain string", `a '\'; b`, []string{`a '\'`, "b"}},
		{"but is in an E string", `a E'\';', e'\\', E'it''s;'; b`, []string{`a E'\';', e'\\', E'it''s;'`, "b"}},
		{"E at the end of a word", `a typE'\'; b`, []string{`a typE'\'`, "b"}},
		{"quoted identifier", `a "it's;" "x""; "; b`, []string{`a "it's;" "x""; "`, "b"}},
		{"dollar quotes", "a $$;'$$; b $x$ $$; $y$ $x$; c", []string{"a $$;'$$", "b $x$ $$; $y$ $x$", "c"}},
		{"dollar in a name", "a$$; b$x$; c", []string{"a$$", "b$x$", "c"}},
		{"parameter", "a $1; b $2$x; c", []string{"a $1", "b $2$x", "c"}},
		{"unicode tag", "a $ä$;$ä$; b", []string{"a $ä$;$ä$", "b"}},
		{"parentheses", "create rule r as on insert to t do (a; b); c", []string{"create rule r as on insert to t do (a; b)", "c"}},
		{"too many closed", "a ); b", []string{"a )", "b"}},
		{"begin atomic", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2; END; c",
			[]string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2; END", "c"}},
		{"begin alone", "BEGIN; a; END", []string{"BEGIN", "a", "END"}},
		{"begin with a comment", "CREATE FUNCTION f() BEGIN /* x */ ATOMIC a; END; c", []string{"CREATE FUNCTION f() BEGIN /* x */ ATOMIC a; END", "c"}},
		{"plpgsql", "DO $$ BEGIN a; END $$; c", []string{"DO $$ BEGIN a; END $$", "c"}},
		{"no semicolon at the end", "a;\nb -- x", []string{"a", "b -- x"}},
		{"number with letters", "a 1e5$$; b", []string{"a 1e5$$", "b"}},
		{"carriage returns", "a;\r\nb;\r\n", []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			statements, err := migrate.Split(c.script)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range statements {
				got = append(got, s.Text)
				if !strings.HasPrefix(c.script[s.Offset:], s.Text) {
					t.Errorf("%q is not at %d", s.Text, s.Offset)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplitOpen(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]migrate.OpenError{
		"a; 'b":            {Offset: 3, What: "string"},
		`a E'\'`:           {Offset: 3, What: "string"},
		`a "b""`:           {Offset: 2, What: "quoted identifier"},
		"a $x$ $X$ $$":     {Offset: 2, What: "dollar-quoted string $x$"},
		"a /* /* */":       {Offset: 2, What: "comment"},
		"/*":               {Offset: 0, What: "comment"},
		`a 'b\`:            {Offset: 2, What: "string"},
		`select e'x\`:      {Offset: 8, What: "string"},
		"select $$":        {Offset: 7, What: "dollar-quoted string $$"},
		"a; b /*/ ; c */x": {},
	} {
		_, err := migrate.Split(script)
		if want.What == "" {
			if err != nil {
				t.Errorf("%s: %v", script, err)
			}
			continue
		}
		var open *migrate.OpenError
		if !errors.As(err, &open) || *open != want {
			t.Errorf("%s: got %+v, want %+v", script, err, want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	statements, err := migrate.Split(`create /* x */ Index "My Index" ON t (a)`)
	if err != nil {
		t.Fatal(err)
	}
	s := statements[0]
	if !s.Starts("CREATE", "INDEX") || s.Starts("CREATE", "INDEX", "MY INDEX") || s.Starts("CREATE", "UNIQUE") {
		t.Errorf("tokens are %+v", s.Tokens)
	}
	if got := s.Tokens[1].Identifier() + " " + s.Tokens[2].Identifier(); got != "index My Index" {
		t.Errorf("identifiers are %q", got)
	}
}

// Splitting loses nothing but semicolons, white space and comments, and what
// comes out is not split further.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		"", ";", "a;b", "'", "$$;$$", "$a$", "/*/**/;*/;", "E'\\'';", "CREATE FUNCTION f() BEGIN ATOMIC a; END; b", `";"`, "a(;);", "1$$;$$",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		statements, err := migrate.Split(script)
		if err != nil {
			var open *migrate.OpenError
			if !errors.As(err, &open) || open.Offset < 0 || open.Offset >= len(script) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		end := 0
		for _, s := range statements {
			if s.Text == "" || s.Offset < end || !strings.HasPrefix(script[s.Offset:], s.Text) {
				t.Fatalf("statement %+v of %q", s, script)
			}
			end = s.Offset + len(s.Text)
			again, err := migrate.Split(s.Text)
			if err != nil || len(again) != 1 || again[0].Text != s.Text || again[0].Offset != 0 {
				t.Fatalf("statement %q of %q is split into %+v, %v", s.Text, script, again, err)
			}
		}
	})
}
