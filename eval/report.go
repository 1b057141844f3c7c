package eval

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Latency holds percentiles in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Latencies summarises how long searches took. All is zero if there were none.
func Latencies(took []time.Duration) Latency {
	sorted := slices.Sorted(slices.Values(took))
	ms := func(percent int) float64 {
		return float64(percentile(sorted, percent)) / float64(time.Millisecond)
	}
	return Latency{P50: ms(50), P95: ms(95), P99: ms(99)}
}

// percentile is the nearest-rank percentile: the smallest of the values, given in
// ascending order, that at least percent (1 to 100) of them do not exceed. It is
// always a time that was really measured, and never flattered by interpolation.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (percent*len(sorted) + 99) / 100 // rounded up; counted from 1
	return sorted[rank-1]
}

// Report is the outcome of one evaluation. Its JSON form is what
// "llmemory eval --json" prints.
type Report struct {
	Dataset   string  `json:"dataset"`
	Documents int     `json:"documents"` // stored and searched
	Skipped   int     `json:"-"`         // wholly empty, hence not stored
	Queries   int     `json:"queries"`   // averaged over: those with a relevant document
	Mode      string  `json:"mode"`
	Embedder  string  `json:"embedder"` // "none" if there was none
	Metrics   Metrics `json:"metrics"`
	// LatencyMS is how long single searches took.
	LatencyMS Latency `json:"latency_ms"`
	// IngestSeconds is how long storing, and embedding, all documents took.
	IngestSeconds float64 `json:"ingest_seconds"`
}

// WriteText writes the report as a table for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}

	documents := fmt.Sprintf("%d", r.Documents)
	if r.Skipped > 0 {
		documents += fmt.Sprintf(" (%d empty, skipped)", r.Skipped)
	}
	ingest := fmt.Sprintf("%.1f s", r.IngestSeconds)
	if r.IngestSeconds > 0 {
		ingest += fmt.Sprintf(" (%.1f documents/s)", float64(r.Documents)/r.IngestSeconds)
	}
	row("dataset", "%s", r.Dataset)
	row("documents", "%s", documents)
	row("queries", "%d", r.Queries)
	row("mode", "%s", r.Mode)
	row("embedder", "%s", r.Embedder)
	row("ingest", "%s", ingest)
	row("latency", "p50 %.1f ms, p95 %.1f ms, p99 %.1f ms", r.LatencyMS.P50, r.LatencyMS.P95, r.LatencyMS.P99)
	row("nDCG@10", "%.4f", r.Metrics.NDCG10)
	row("Recall@100", "%.4f", r.Metrics.Recall100)
	row("MAP", "%.4f", r.Metrics.MAP)
	row("MRR@10", "%.4f", r.Metrics.MRR10)
	row("Success@5", "%.4f", r.Metrics.Success5)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
