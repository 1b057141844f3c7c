// Command bench measures llmemory on a PostgreSQL server and prints the results as Markdown: text search beside an exhaustive
// scorer in memory and beside PostgreSQL's own full-text search, adding beside a raw COPY, size beside the raw text. All parts
// run in one process on one server, so ratios hold even where the machine is noisy.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	url := flag.String("db", "", "administrator's URL of a server; by default a private one with durable settings is started")
	sizes := flag.String("sizes", "10000,100000,1000000", "chunks in the table, one run each")
	questions := flag.Int("questions", 300, "questions per owner")
	out := flag.String("out", "", "file to write the Markdown to, beside standard output")
	flag.Parse()
	if err := run(ctx, *url, *sizes, *questions, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, admin, sizes string, questions int, out string) error {
	if admin == "" {
		server, err := pgtest.Start(ctx, pgtest.Options{Durable: true, Settings: map[string]string{
			"shared_buffers": "2GB", "max_wal_size": "8GB", "maintenance_work_mem": "2GB",
		}})
		if err != nil {
			return err
		}
		defer server.Close()
		admin = server.URL()
	}
	var w io.Writer = os.Stdout
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(os.Stdout, f)
	}
	b := &bench{admin: admin, questions: questions, out: w, log: os.Stderr, started: time.Now(), worst: map[int]time.Duration{}}
	for s := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1000 {
			return fmt.Errorf("-sizes: %q is no number of chunks from 1000 up", s)
		}
		b.sizes = append(b.sizes, n)
	}
	return b.run(ctx)
}

type bench struct {
	admin     string
	sizes     []int
	questions int
	out       io.Writer
	log       io.Writer
	started   time.Time
	disk      []string
	goals     []string
	worst     map[int]time.Duration // p95 of a search of the slowest owner, by size
}

// A goal is a figure that is to be reached, such as "at most 15 ms".
func (b *bench) goal(what, bar, is string, met bool) {
	mark := "yes"
	if !met {
		mark = "**no**"
	}
	b.goals = append(b.goals, fmt.Sprintf("| %s | %s | %s | %s |", what, bar, is, mark))
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.log, "%6.1fs  %s\n", time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) run(ctx context.Context) error {
	if err := b.header(ctx); err != nil {
		return err
	}
	if err := b.adding(ctx); err != nil {
		return fmt.Errorf("adding: %w", err)
	}
	if err := b.searching(ctx); err != nil {
		return fmt.Errorf("searching: %w", err)
	}
	fmt.Fprintf(b.out, "\n## Size on disk\n\nMegabytes, indexes included, before any VACUUM.\n\n"+
		"| chunks | raw text | documents and chunks | text index | all, to the raw text |\n|---|---|---|---|---|\n%s\n", strings.Join(b.disk, "\n"))
	for _, g := range []struct {
		size int
		most time.Duration
	}{{100_000, 15 * time.Millisecond}, {1_000_000, 60 * time.Millisecond}} {
		if p95, measured := b.worst[g.size]; measured {
			b.goal(fmt.Sprintf("text search in %d chunks, p95 of the slowest owner", g.size), fmt.Sprintf("at most %d ms", g.most.Milliseconds()),
				fmt.Sprintf("%.1f ms", float64(p95.Microseconds())/1000), p95 <= g.most)
		}
	}
	fmt.Fprintf(b.out, "\n## Goals\n\n| what | goal | is | met |\n|---|---|---|---|\n%s\n", strings.Join(b.goals, "\n"))
	return nil
}

func (b *bench) header(ctx context.Context) error {
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: b.admin})
	if err != nil {
		return err
	}
	defer pool.Close()
	var version, fsync, commit, buffers string
	row := pool.Schema("public").QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('shared_buffers')`)
	if err := row.Scan(&version, &fsync, &commit, &buffers); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "# Benchmarks\n\nMade by `make bench` on %s: %s, %d processors, %s, PostgreSQL %s on the same machine over a Unix socket\n"+
		"(fsync %s, synchronous_commit %s, shared_buffers %s). Times are milliseconds. Compare columns of one row: they were measured in\n"+
		"one run; absolute numbers differ between machines.\n\nThe text is generated: words of a Zipf-Mandelbrot distribution over 200,000 "+
		"(p(r) ∝ (r+10)^-1.3), 60 to 150 words a chunk; questions have\n8 to 16 words drawn from one chunk, common words included. "+
		"A fixed seed makes every run the same.\n",
		time.Now().UTC().Format("2006-01-02"), cpu(), runtime.NumCPU(), runtime.Version(), version, fsync, commit, buffers)
	return nil
}

func cpu() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// paragraphs is the benchmark's chunker: one leaf a paragraph, so that the number of chunks is exactly what a row says.
var paragraphs = chunk.Func{Name: "paragraphs-1", Cut: func(_ context.Context, t chunk.Text) ([]chunk.Piece, error) {
	var out []chunk.Piece
	at := 0
	for p := range strings.SplitSeq(t.Content, "\n\n") {
		out = append(out, chunk.Piece{Start: at, End: at + len(p), Parent: -1, Tokens: len(p) / 5})
		at += len(p) + 2
	}
	return out, nil
}}

// database makes an empty database and opens a memory in it.
func (b *bench) database(ctx context.Context, name string, chunker chunk.Chunker) (*llmemory.Memory, *postgres.Store, func(), error) {
	// The pool below takes over this one's settings: an index over a million texts takes longer than the usual limit.
	admin, err := pgdbm.Open(ctx, pgdbm.Config{URL: b.admin, MaxConns: 1, StatementTimeout: 3 * time.Hour})
	if err != nil {
		return nil, nil, nil, err
	}
	db := admin.Schema("public")
	drop := func() {
		_, _ = db.Exec(context.WithoutCancel(ctx), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
		admin.Close()
	}
	if _, err := db.Exec(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
		drop()
		return nil, nil, nil, err
	}
	if _, err := db.Exec(ctx, `CREATE DATABASE `+name); err != nil {
		drop()
		return nil, nil, nil, err
	}
	config := admin.Pgx().Config().Copy()
	config.ConnConfig.Database = name
	config.MaxConns = 4
	pool, err := pgdbm.Open(ctx, pgdbm.Config{Pgx: config})
	if err != nil {
		drop()
		return nil, nil, nil, err
	}
	store, err := postgres.New(ctx, pool.Schema("public"), nil)
	if err != nil {
		pool.Close()
		drop()
		return nil, nil, nil, err
	}
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: chunker})
	if err != nil {
		pool.Close()
		drop()
		return nil, nil, nil, err
	}
	return mem, store, func() {
		_ = store.Close()
		pool.Close()
		drop()
	}, nil
}
