package analysis

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/terms.json anew")

// TestCollection pins the terms of a small collection in three languages. A
// difference means that stored indexes no longer match: raise [Version], then
// run with -update.
func TestCollection(t *testing.T) {
	t.Parallel()
	var collection struct {
		Docs    []struct{ Lang, Text string }
		Queries []string
	}
	data, err := os.ReadFile(filepath.Join("testdata", "collection.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &collection); err != nil {
		t.Fatal(err)
	}
	type terms struct {
		Docs    [][]string `json:"docs"`
		Queries [][]string `json:"queries"` // in the languages of the collection
	}
	a := New()
	plain := func(tokens []Token) []string {
		list := []string{}
		for _, t := range tokens {
			if !t.Extra {
				list = append(list, t.Term)
			}
		}
		return list
	}
	var got terms
	owned := []string{"de", "en", "zh"}
	for _, d := range collection.Docs {
		if lang := a.Detect(d.Text); lang != d.Lang {
			t.Errorf("detected %s, want %s: %s", lang, d.Lang, d.Text)
		}
		tokens, _ := a.Analyze(d.Lang, d.Text, nil)
		got.Docs = append(got.Docs, plain(tokens))
	}
	for _, q := range collection.Queries {
		list, seen := []string{}, make(map[string]bool)
		for _, lang := range QueryLanguages(q, owned) {
			tokens, _ := a.AnalyzeQuery(lang, q, nil)
			mine := plain(tokens)
			for _, term := range mine {
				if !seen[term] {
					list = append(list, term)
				}
			}
			for _, term := range mine {
				seen[term] = true
			}
		}
		got.Queries = append(got.Queries, list)
	}
	golden := filepath.Join("testdata", "terms.json")
	if *update {
		data, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var want terms
	if data, err = os.ReadFile(golden); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("terms changed (-want +got):\n%s", diff)
	}
}
