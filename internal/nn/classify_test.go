package nn

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestClassifier compares with the reference library (embedding/local/testdata/generate.py), one pair at a time and all at once.
func TestClassifier(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/cross.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text       string
		IDs, Types []int32
		Score      float64
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 15 {
		t.Fatalf("%d cases, want at least 15", len(cases))
	}
	each(t, func(t *testing.T, k *Kernel) {
		c, err := OpenClassifier("testdata/cross", k)
		if err != nil {
			t.Fatal(err)
		}
		if c.Labels() != 1 || c.Config().Hidden != 32 {
			t.Errorf("%d labels of %d dimensions", c.Labels(), c.Config().Hidden)
		}
		check := func(i int, got []float32) {
			if len(got) != 1 || !(math.Abs(float64(got[0])-cases[i].Score) < 1e-4) {
				t.Errorf("score of pair %d, %.30q, is %v, want %v", i, cases[i].Text, got, cases[i].Score)
			}
		}
		var all Batch
		for i, pair := range cases {
			got, err := c.Score(Batch{IDs: pair.IDs, Types: pair.Types, Lengths: []int{len(pair.IDs)}}, 2)
			if err != nil {
				t.Fatal(err)
			}
			check(i, got[0])
			all.IDs, all.Types = append(all.IDs, pair.IDs...), append(all.Types, pair.Types...)
			all.Lengths = append(all.Lengths, len(pair.IDs))
		}
		for _, threads := range []int{1, 2, 5} {
			got, err := c.Score(all, threads)
			if err != nil {
				t.Fatal(err)
			}
			for i := range cases {
				check(i, got[i])
			}
		}
	})
}

func TestBatchIsChecked(t *testing.T) {
	t.Parallel()
	c, err := OpenClassifier("testdata/cross", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]Batch{
		"empty text":     {IDs: []int32{1}, Lengths: []int{1, 0}},
		"long text":      {IDs: make([]int32, 65), Lengths: []int{65}},
		"too few tokens": {IDs: []int32{1}, Lengths: []int{2}},
		"too many":       {IDs: []int32{1, 2, 3}, Lengths: []int{2}},
		"unknown token":  {IDs: []int32{195}, Lengths: []int{1}},
		"negative token": {IDs: []int32{-1}, Lengths: []int{1}},
		"unknown type":   {IDs: []int32{1}, Types: []int32{2}, Lengths: []int{1}},
		"few types":      {IDs: []int32{1, 2}, Types: []int32{0}, Lengths: []int{2}},
	} {
		if got, err := c.Score(b, 1); err == nil {
			t.Errorf("%s: scored %v", name, got)
		}
	}
	if got, err := c.Score(Batch{}, 1); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}
