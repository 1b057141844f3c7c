package eval_test

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory/eval"
)

// What trec_eval says about the run in testdata/trec (made by make.py there).
func trecCase(t *testing.T) (eval.Qrels, eval.Run, map[string]map[string]float64) {
	t.Helper()
	qrels, run := eval.Qrels{}, eval.Run{}
	for _, f := range trecFields(t, "testdata/trec/qrels.txt", 4) {
		grade, err := strconv.Atoi(f[3])
		if err != nil {
			t.Fatal(err)
		}
		if qrels[f[0]] == nil {
			qrels[f[0]] = map[string]int{}
		}
		qrels[f[0]][f[2]] = grade
	}
	for _, f := range trecFields(t, "testdata/trec/run.txt", 6) {
		score, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		run[f[0]] = append(run[f[0]], eval.Result{ID: f[2], Score: score})
	}
	raw, err := os.ReadFile("testdata/trec/want.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string]float64
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	return qrels, run, want
}

func trecFields(t *testing.T, file string, n int) [][]string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for ln := range strings.Lines(string(raw)) {
		f := strings.Fields(ln)
		if len(f) != n {
			t.Fatalf("%s: %q has %d fields, want %d", file, ln, len(f), n)
		}
		rows = append(rows, f)
	}
	return rows
}

var within = cmpopts.EquateApprox(0, 1e-9)

func TestMetricsAgreeWithTrecEval(t *testing.T) {
	t.Parallel()
	qrels, run, want := trecCase(t)
	got := map[string]map[string]float64{}
	for query, grades := range qrels {
		ranking := eval.Rank(run[query])
		got[query] = map[string]float64{
			"ndcg@3":     eval.NDCG(ranking, grades, 3),
			"ndcg@10":    eval.NDCG(ranking, grades, 10),
			"recall@10":  eval.Recall(ranking, grades, 10),
			"recall@100": eval.Recall(ranking, grades, 100),
			"map":        eval.AveragePrecision(ranking, grades),
			"mrr@10":     eval.ReciprocalRank(ranking, grades, 10),
			"mrr":        eval.ReciprocalRank(ranking, grades, math.MaxInt),
			"success@1":  eval.Success(ranking, grades, 1),
			"success@5":  eval.Success(ranking, grades, 5),
		}
	}
	if diff := cmp.Diff(want, got, within); diff != "" {
		t.Errorf("metrics differ from trec_eval (-want +got):\n%s", diff)
	}
}

// The means are over trec_eval's own values, with an unanswered query as 0.
func TestEvaluateAgreesWithTrecEval(t *testing.T) {
	t.Parallel()
	qrels, run, trec := trecCase(t)
	delete(trec, "nothing_relevant") // is not averaged over
	var wantMean eval.Metrics
	wantRows := map[string]eval.Metrics{}
	n := float64(len(trec))
	for query, m := range trec {
		wantRows[query] = eval.Metrics{
			NDCG10: m["ndcg@10"], Recall100: m["recall@100"], MAP: m["map"], MRR10: m["mrr@10"], Success5: m["success@5"],
		}
		wantMean.NDCG10 += m["ndcg@10"] / n
		wantMean.Recall100 += m["recall@100"] / n
		wantMean.MAP += m["map"] / n
		wantMean.MRR10 += m["mrr@10"] / n
		wantMean.Success5 += m["success@5"] / n
	}

	got, err := eval.Evaluate(qrels, run)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantMean, got.Mean, within); diff != "" {
		t.Errorf("mean (-want +got):\n%s", diff)
	}
	gotRows, last := map[string]eval.Metrics{}, ""
	for _, row := range got.PerQuery {
		if row.Query <= last {
			t.Errorf("query %q comes after %q", row.Query, last)
		}
		gotRows[row.Query], last = row.Metrics, row.Query
	}
	if diff := cmp.Diff(wantRows, gotRows, within); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
