package eval_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
)

func report() *eval.Report {
	return &eval.Report{
		Dataset: "small", Documents: 43, Skipped: 2, Queries: 45, Mode: "hybrid", Embedder: "none",
		Metrics:   eval.Metrics{NDCG10: 0.875, Recall100: 1, MAP: 0.84375, MRR10: 0.90625, Success5: 0.96875},
		LatencyMS: eval.Latency{P50: 1.25, P95: 3.5, P99: 4}, IngestSeconds: 2.5,
	}
}

// Other people's programs read this: the names and their order are a promise.
func TestReportJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(report())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"dataset":"small","documents":43,"queries":45,"mode":"hybrid","embedder":"none",` +
		`"metrics":{"ndcg@10":0.875,"recall@100":1,"map":0.84375,"mrr@10":0.90625,"success@5":0.96875},` +
		`"latency_ms":{"p50":1.25,"p95":3.5,"p99":4},"ingest_seconds":2.5}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReportText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := report().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `dataset     small
documents   43 (2 empty, skipped)
queries     45
mode        hybrid
embedder    none
ingest      2.5 s (17.2 documents/s)
latency     p50 1.2 ms, p95 3.5 ms, p99 4.0 ms
nDCG@10     0.8750
Recall@100  1.0000
MAP         0.8438
MRR@10      0.9062
Success@5   0.9688
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fs.ErrClosed }

func TestReportTextError(t *testing.T) {
	t.Parallel()
	if err := report().WriteText(brokenWriter{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("error %v, want the writer's", err)
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	upTo := func(n int) []time.Duration { // n ms, n-1 ms, … 1 ms
		var d []time.Duration
		for i := n; i > 0; i-- {
			d = append(d, time.Duration(i)*time.Millisecond)
		}
		return d
	}
	for _, c := range []struct {
		took []time.Duration
		want eval.Latency
	}{
		{nil, eval.Latency{}},
		{upTo(1), eval.Latency{P50: 1, P95: 1, P99: 1}},
		{upTo(2), eval.Latency{P50: 1, P95: 2, P99: 2}},
		{upTo(13), eval.Latency{P50: 7, P95: 13, P99: 13}},
		{upTo(20), eval.Latency{P50: 10, P95: 19, P99: 20}},
		{upTo(21), eval.Latency{P50: 11, P95: 20, P99: 21}},
		{upTo(1000), eval.Latency{P50: 500, P95: 950, P99: 990}},
		{[]time.Duration{1500 * time.Microsecond}, eval.Latency{P50: 1.5, P95: 1.5, P99: 1.5}},
	} {
		if diff := cmp.Diff(c.want, eval.Latencies(c.took)); diff != "" {
			t.Errorf("%d times (-want +got):\n%s", len(c.took), diff)
		}
	}
}
