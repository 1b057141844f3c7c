package eval

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const (
	okCorpus = `{"_id": "d1", "title": "One", "text": "first"}
{"_id": "d2", "text": "second", "metadata": {"year": 1999}}
{"_id": "d3", "title": "", "text": ""}
`
	okQueries = `{"_id": "q1", "text": "which is first?"}
{"_id": "q2", "text": "which is unjudged?"}
{"_id": "q3", "text": "which is bad?"}
{"_id": "q4", "text": "which is second?"}
`
	okQrels = "query-id\tcorpus-id\tscore\nq4\td2\t2\nq1\td1\t1\nq1\td2\t0\nq3\td1\t-1\n"
)

func files(corpus, queries, qrels string) fs.FS {
	return fstest.MapFS{
		"corpus.jsonl":  {Data: []byte(corpus)},
		"queries.jsonl": {Data: []byte(queries)},
		"qrels.tsv":     {Data: []byte(qrels)},
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for name, fsys := range map[string]fs.FS{
		"as is":            files(okCorpus, okQueries, okQrels),
		"no last line end": files(strings.TrimSpace(okCorpus), strings.TrimSpace(okQueries), strings.TrimSpace(okQrels)),
		"CRLF":             files(crlf(okCorpus), crlf(okQueries), crlf(okQrels)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Open(fsys)
			if err != nil {
				t.Fatal(err)
			}
			var docs []Document
			for d, err := range c.Documents() {
				if err != nil {
					t.Fatal(err)
				}
				docs = append(docs, d)
			}
			want := []Document{{"d1", "One", "first"}, {"d2", "", "second"}, {"d3", "", ""}}
			if diff := cmp.Diff(want, docs); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
			if c.Len() != 3 {
				t.Errorf("Len() = %d, want 3", c.Len())
			}
			wantQueries := []Query{{"q1", "which is first?"}, {"q2", "which is unjudged?"}, {"q3", "which is bad?"}, {"q4", "which is second?"}}
			if diff := cmp.Diff(wantQueries, c.Queries); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]Query{wantQueries[0], wantQueries[3]}, c.Judged()); diff != "" {
				t.Errorf("judged (-want +got):\n%s", diff)
			}
			wantQrels := Qrels{"q1": {"d1": 1, "d2": 0}, "q3": {"d1": -1}, "q4": {"d2": 2}}
			if diff := cmp.Diff(wantQrels, c.Qrels); diff != "" {
				t.Errorf("qrels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	corpus := func(s string) fs.FS { return files(s, okQueries, okQrels) }
	queries := func(s string) fs.FS { return files(okCorpus, s, okQrels) }
	qrels := func(s string) fs.FS { return files(okCorpus, okQueries, s) }
	const header = "query-id\tcorpus-id\tscore\n"
	for name, c := range map[string]struct {
		fsys fs.FS
		want string
	}{
		"broken JSON":       {corpus(okCorpus + `{"_id": "d4", "text": `), `corpus.jsonl:4: is not a JSON object of strings`},
		"two objects":       {corpus(`{"_id": "d1", "text": ""} {"_id": "d2", "text": ""}`), `corpus.jsonl:1: is not a JSON object of strings`},
		"an array":          {corpus("[1]\n"), `corpus.jsonl:1: is not a JSON object of strings`},
		"a number as id":    {corpus(`{"_id": 7, "text": "x"}`), `corpus.jsonl:1: is not a JSON object of strings`},
		"no id":             {corpus(`{"text": "x"}`), `corpus.jsonl:1: "_id" is missing or empty`},
		"null":              {corpus("null\n"), `corpus.jsonl:1: "_id" is missing or empty`},
		"empty id":          {queries(`{"_id": "", "text": "x"}`), `queries.jsonl:1: "_id" is missing or empty`},
		"tab in id":         {corpus(`{"_id": "a\tb", "text": "x"}`), `corpus.jsonl:1: id "a\tb" holds a tab or a line break`},
		"no text":           {corpus(`{"_id": "d1", "contents": "x"}`), `corpus.jsonl:1: "text" is missing`},
		"blank question":    {queries(okQueries + `{"_id": "q5", "text": " "}`), `queries.jsonl:5: "text" is blank`},
		"document twice":    {corpus(okCorpus + `{"_id": "d2", "text": "again"}`), `corpus.jsonl:4: id "d2" was used on line 2`},
		"query twice":       {queries(okQueries + okQueries), `queries.jsonl:5: id "q1" was used on line 1`},
		"blank line":        {corpus("{\"_id\": \"d1\", \"text\": \"\"}\n \t\n"), `corpus.jsonl:2: is blank`},
		"invalid UTF-8":     {corpus("{\"_id\": \"d1\", \"text\": \"caf\xe9\"}\n"), `corpus.jsonl:1: is not valid UTF-8`},
		"no header":         {qrels("q1\td1\t1\nq4\td2\t1\n"), `qrels.tsv:1: is a judgement, want a header line`},
		"TREC's own format": {qrels("q1 0 d1 1\n"), `qrels.tsv:1: has 1 fields separated by tabs, want 3`},
		"four fields":       {qrels(header + "q1\t0\td1\t1\n"), `qrels.tsv:2: has 4 fields`},
		"fraction":          {qrels(header + "q1\td1\t0.5\n"), `qrels.tsv:2: grade "0.5" is not a whole number`},
		"huge grade":        {qrels(header + "q1\td1\t3000000000\n"), `qrels.tsv:2: grade "3000000000" is not a whole number within 32 bits`},
		"unknown query":     {qrels(header + "q9\td1\t1\n"), `qrels.tsv:2: query "q9" is not in queries.jsonl`},
		"unknown document":  {qrels(header + "q1\td1\t1\nq1\td9\t1\n"), `qrels.tsv:3: document "d9" is not in corpus.jsonl`},
		"judged twice":      {qrels(header + "q1\td1\t1\nq1\td1\t2\n"), `qrels.tsv:3: query "q1" and document "d1" are judged twice`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(c.fsys)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			var at *LineError
			if !errors.As(err, &at) {
				t.Errorf("error is a %T, want a *LineError", err)
			}
		})
	}
}

func TestOpenWithoutJudgements(t *testing.T) {
	t.Parallel()
	for name, qrels := range map[string]string{
		"empty file":  "",
		"header only": "query-id\tcorpus-id\tscore\n",
		"grade zero":  "query-id\tcorpus-id\tscore\nq1\td1\t0\n",
	} {
		if _, err := Open(files(okCorpus, okQueries, qrels)); !errors.Is(err, ErrNothingRelevant) {
			t.Errorf("%s: error %v, want ErrNothingRelevant", name, err)
		}
	}
}

func TestOpenMissingFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"corpus.jsonl", "queries.jsonl", "qrels.tsv"} {
		fsys := files(okCorpus, okQueries, okQrels).(fstest.MapFS)
		delete(fsys, name)
		if _, err := Open(fsys); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error %v, want fs.ErrNotExist with the name", name, err)
		}
	}
}

// A corpus that changes after it was opened is noticed, and reading may stop early.
func TestDocumentsReadsAnew(t *testing.T) {
	t.Parallel()
	fsys := files(okCorpus, okQueries, okQrels).(fstest.MapFS)
	c, err := Open(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for d, err := range c.Documents() {
		if err != nil || d.ID != "d1" {
			t.Fatalf("first document is %q, error %v", d.ID, err)
		}
		break
	}
	fsys["corpus.jsonl"] = &fstest.MapFile{Data: []byte(`{"_id": "d1", "text": ""}` + "\n{")}
	var errs []error
	for _, err := range c.Documents() {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || errs[1] == nil {
		t.Errorf("errors %v, want none and then one", errs)
	}
}

func TestLineLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	for _, c := range []struct {
		name string
		file string
		want string // error; "" for none
	}{
		{"at the limit", strings.Repeat("x", limit) + "\r\ny\n", ""},
		{"one above", "y\n" + strings.Repeat("x", limit+1) + "\n", "f:2: is longer than 100 bytes"},
		{"far above", "y\n" + strings.Repeat("x", 10*limit) + "\n", "f:2: is longer than 100 bytes"},
		{"no line end", strings.Repeat("x", limit), ""},
		{"no line end, one above", strings.Repeat("x", limit+1), "f:1: is longer than 100 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, err := range lines(fstest.MapFS{"f": {Data: []byte(c.file)}}, "f", limit) {
				if err != nil {
					got = err.Error()
				}
			}
			if got != c.want {
				t.Errorf("error %q, want %q", got, c.want)
			}
		})
	}
}

// Lines of several megabytes, far beyond any buffer's first size, are ordinary.
func TestLongLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("lorem ", 1_000_000)
	c, err := Open(files(`{"_id": "d1", "text": "`+long+`"}`, `{"_id": "q", "text": "?"}`, "a\tb\tc\nq\td1\t1"))
	if err != nil {
		t.Fatal(err)
	}
	for d, err := range c.Documents() {
		if err != nil || d.Text != long {
			t.Errorf("got %d bytes, error %v; want %d bytes", len(d.Text), err, len(long))
		}
	}
}

func TestContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ title, text, want string }{
		{"Title", "text\n", "Title\n\ntext\n"},
		{"Title", "", "Title"},
		{"Title", " \n", "Title"},
		{"", "text", "text"},
		{"\t", "text", "text"},
		{"", "", ""},
		{" ", "\n", ""},
	} {
		if got := (Document{Title: c.title, Text: c.text}).Content(); got != c.want {
			t.Errorf("title %q, text %q: %q, want %q", c.title, c.text, got, c.want)
		}
	}
}

// Whatever the files hold, a collection that is opened is sound.
func FuzzOpen(f *testing.F) {
	f.Add(okCorpus, okQueries, okQrels)
	f.Add("", "", "")
	f.Add(okCorpus, okQueries, "a\tb\tc\nq1\td1\t9\r\nq1\td2\t-9")
	f.Fuzz(func(t *testing.T, corpus, queries, qrels string) {
		c, err := Open(files(corpus, queries, qrels))
		if err != nil {
			return
		}
		docs, known := map[string]bool{}, map[string]bool{}
		for d, err := range c.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			docs[d.ID] = true
		}
		for _, q := range c.Queries {
			known[q.ID] = true
		}
		if len(docs) != c.Len() || len(known) != len(c.Queries) {
			t.Error("ids are not unique")
		}
		judgements := 0
		for query, grades := range c.Qrels {
			for doc := range grades {
				judgements++
				if !known[query] || !docs[doc] {
					t.Errorf("judgement of %q and %q names an unknown id", query, doc)
				}
			}
		}
		if want := strings.Count(strings.TrimSuffix(qrels, "\n"), "\n"); judgements != want {
			t.Errorf("%d judgements read, want %d", judgements, want)
		}
	})
}
