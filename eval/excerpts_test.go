package eval_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
)

// excerpts is a collection of two documents; offsets are in characters, some of which have several bytes.
func excerpts(lines ...string) fstest.MapFS {
	return fstest.MapFS{
		"docs/a.md":        {Data: []byte("Größe zählt. Ein Satz. Noch ein Satz.")},
		"docs/b.txt":       {Data: []byte("0123456789")},
		"gold_spans.jsonl": {Data: []byte(strings.Join(lines, "\n") + "\n")},
	}
}

func TestExcerpts(t *testing.T) {
	t.Parallel()
	e, err := eval.OpenExcerpts(excerpts(
		`{"_id":"1","doc":"a","question":"Was zählt?","spans":[[0,12],[23,37]],"text":["Größe zählt.","Noch ein Satz."]}`,
		`{"_id":"2","doc":"b","question":"Which?","spans":[[2,4]],"text":["23"]}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []eval.ExcerptQuestion{
		{ID: "1", Text: "Was zählt?", Document: "a", Excerpts: []eval.Range{{Start: 0, End: 15}, {Start: 26, End: 40}}},
		{ID: "2", Text: "Which?", Document: "b", Excerpts: []eval.Range{{Start: 2, End: 4}}},
	}
	if diff := cmp.Diff(want, e.Questions); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if e.Documents["b"] != (eval.Source{File: "b.txt", Text: "0123456789"}) {
		t.Errorf("documents %v", e.Documents)
	}
	near := func(what string, got, want eval.ExcerptScores) {
		t.Helper()
		for _, d := range []float64{got.Recall - want.Recall, got.Precision - want.Precision, got.IoU - want.IoU} {
			if math.Abs(d) > 1e-12 {
				t.Errorf("%s: %+v, want %+v", what, got, want)
				return
			}
		}
	}
	passage := func(document string, start, end int) eval.Passage {
		return eval.Passage{Document: document, Range: eval.Range{Start: start, End: end}}
	}
	near("nothing found", e.Score(nil), eval.ExcerptScores{})
	// Of the 26 characters wanted 12 are among the 12 + 5 found; for the other question nothing is.
	near("one of two", e.Score(map[string][]eval.Passage{"1": {passage("a", 0, 15), passage("b", 0, 5)}, "2": {passage("a", 0, 15)}}),
		eval.ExcerptScores{Recall: 12. / 26 / 2, Precision: 12. / 17 / 2, IoU: 12. / (17 + 14) / 2})
	// What is found twice is a hit once, and found twice: 2 of 4 + 3.
	near("twice", e.Score(map[string][]eval.Passage{"2": {passage("b", 1, 5), passage("b", 2, 5)}}),
		eval.ExcerptScores{Recall: 1. / 2, Precision: 2. / 7 / 2, IoU: 2. / 7 / 2})
	// Half of an excerpt: 1 of 3 found and 1 missed.
	near("half", e.Score(map[string][]eval.Passage{"2": {passage("b", 3, 6)}}),
		eval.ExcerptScores{Recall: 1. / 2 / 2, Precision: 1. / 3 / 2, IoU: 1. / 4 / 2})
}

func TestExcerptFaults(t *testing.T) {
	t.Parallel()
	good := `{"_id":"1","doc":"b","question":"q","spans":[[0,1]],"text":["0"]}`
	for line, want := range map[string]string{
		`{`: "not a question",
		`{"doc":"b","question":"q","spans":[[0,1]],"text":["0"]}`:            `"_id"`,
		`{"_id":"2","doc":"b","question":" ","spans":[[0,1]],"text":["0"]}`:  `"question"`,
		`{"_id":"2","doc":"c","question":"q","spans":[[0,1]],"text":["0"]}`:  `"c"`,
		`{"_id":"2","doc":"b","question":"q","spans":[],"text":[]}`:          "0 spans",
		`{"_id":"2","doc":"b","question":"q","spans":[[0,1]],"text":[]}`:     "1 spans and 0 texts",
		`{"_id":"2","doc":"b","question":"q","spans":[[1,1]],"text":[""]}`:   "[1, 1]",
		`{"_id":"2","doc":"b","question":"q","spans":[[9,11]],"text":["9"]}`: "[9, 11]",
		`{"_id":"2","doc":"b","question":"q","spans":[[0,1]],"text":["1"]}`:  `stands "0"`,
		good: "used before",
	} {
		_, err := eval.OpenExcerpts(excerpts(good, line))
		var fault *eval.LineError
		if !errors.As(err, &fault) || fault.Line != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of line 2 that tells %s", line, err, want)
		}
	}
	empty := excerpts(good)
	empty["gold_spans.jsonl"].Data = nil
	if _, err := eval.OpenExcerpts(empty); !errors.Is(err, eval.ErrNothingRelevant) {
		t.Errorf("no question: %v", err)
	}
	twice := excerpts(good)
	twice["docs/b.md"] = twice["docs/a.md"]
	if _, err := eval.OpenExcerpts(twice); err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("two documents of a name: %v", err)
	}
	invalid := excerpts(good)
	invalid["docs/a.md"].Data = []byte{0xff}
	if _, err := eval.OpenExcerpts(invalid); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

func TestChunkingReport(t *testing.T) {
	t.Parallel()
	r := eval.ChunkingReport{Dataset: "d", Documents: 2, Questions: 3, Embedder: "m", Top: 5, Strategies: []eval.ChunkingStrategy{
		{Name: "a", Signature: "a/1", Chunks: 7, Tokens: 100, ExcerptScores: eval.ExcerptScores{Recall: .5, Precision: .25, IoU: .125}, BudgetRecall: .75},
	}}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"dataset":"d","documents":2,"questions":3,"embedder":"m","top":5,"strategies":[{"name":"a","signature":"a/1","chunks":7,` +
		`"tokens":100,"recall":0.5,"precision":0.25,"iou":0.125,"recall_1000":0.75}]}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	if row := "0.5000     0.2500  0.1250"; !strings.Contains(text.String(), row) {
		t.Errorf("no %q in\n%s", row, &text)
	}
}
