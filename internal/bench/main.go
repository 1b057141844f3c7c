// Command bench measures llmemory on a PostgreSQL server and prints the results as Markdown: text search beside an exhaustive
// scorer in memory and beside PostgreSQL's own full-text search, vector search beside the bare statements and another library,
// adding beside a raw COPY, size beside the raw text. All parts run in one process on one server, so ratios hold even where the machine
// is noisy. The embedded store is measured beside another embedded library, without a server, each in processes of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
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
	vectors := flag.String("vectors", "100000,200000", "vectors in the table, one run each")
	parts := flag.String("parts", strings.Join(allParts, ","), "what to measure")
	questions := flag.Int("questions", 300, "questions per owner")
	isChild := flag.Bool("child", false, "do with the embedded store what the JSON on standard input says; the benchmark calls itself so")
	out := flag.String("out", "", "file to write the Markdown to, beside standard output")
	flag.Parse()
	if *isChild {
		if err := child(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, *url, *out, *parts, *sizes, *vectors, *questions); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// allParts are what can be measured: in PostgreSQL adding, text and vectors; without a server embedding with a local model, the embedded
// store, and the command on a folder of files.
var allParts = []string{"add", "text", "vector", "embed", "embedded", "folder"}

func run(ctx context.Context, admin, out, parts, sizes, vectors string, questions int) error {
	served := slices.ContainsFunc(strings.Split(parts, ","), func(p string) bool { return slices.Index(allParts, p) < slices.Index(allParts, "embed") })
	if served && admin == "" {
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
	b := &bench{admin: admin, parts: strings.Split(parts, ","), questions: questions, out: w, log: os.Stderr, started: time.Now(), worst: map[int]time.Duration{}}
	for _, p := range b.parts {
		if !slices.Contains(allParts, p) {
			return fmt.Errorf("-parts: %q is none of %s", p, strings.Join(allParts, ", "))
		}
	}
	var err error
	if b.sizes, err = numbers("-sizes", sizes); err != nil {
		return err
	}
	if b.vectorSizes, err = numbers("-vectors", vectors); err != nil {
		return err
	}
	return b.run(ctx)
}

// numbers reads a list of sizes.
func numbers(name, list string) (out []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1000 {
			return nil, fmt.Errorf("%s: %q is no number of chunks from 1000 up", name, s)
		}
		out = append(out, n)
	}
	return out, nil
}

type bench struct {
	parts       []string
	admin       string
	sizes       []int
	vectorSizes []int
	questions   int
	out         io.Writer
	log         io.Writer
	started     time.Time
	disk        []string
	goals       []string
	vector      vectorGoals
	worst       map[int]time.Duration // p95 of a search of the slowest owner, by size
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
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"add", b.adding}, {"text", b.searching}, {"vector", b.nearest}, {"embed", b.embedding}, {"embedded", b.embedded}, {"folder", b.folder}} {
		if !slices.Contains(b.parts, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	for _, g := range []struct {
		size int
		most time.Duration
	}{{100_000, 15 * time.Millisecond}, {1_000_000, 60 * time.Millisecond}} {
		if p95, measured := b.worst[g.size]; measured {
			b.goal(fmt.Sprintf("text search in %d chunks, p95 of the slowest owner", g.size), fmt.Sprintf("at most %d ms", g.most.Milliseconds()),
				fmt.Sprintf("%.1f ms", float64(p95.Microseconds())/1000), p95 <= g.most)
		}
	}
	b.nearestGoals()
	fmt.Fprintf(b.out, "\n## Goals\n\n| what | goal | is | met |\n|---|---|---|---|\n%s\n", strings.Join(b.goals, "\n"))
	return nil
}

func (b *bench) header(ctx context.Context) error {
	if b.admin == "" { // no part needs a server
		fmt.Fprintf(b.out, "# Benchmarks\n\nMade by `make bench` on %s: %s, %d processors, %s. Times are milliseconds.\n",
			time.Now().UTC().Format("2006-01-02"), cpu(), runtime.NumCPU(), runtime.Version())
		return nil
	}
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

// opened is a memory in a database of its own.
type opened struct {
	mem   *llmemory.Memory
	store *postgres.Store
	pool  *pgdbm.Pool
	drop  func()
}

func (o *opened) close() {
	if o.store != nil {
		_ = o.store.Close()
	}
	if o.pool != nil {
		o.pool.Close()
	}
	o.drop()
}

// open makes an empty database and opens a memory in it. A tap, if not nil, is told what the pool's connections send.
func (b *bench) open(ctx context.Context, name string, config *llmemory.Config, t *tap) (o *opened, err error) {
	// The pool below takes over this one's settings: an index over a million texts takes longer than the usual limit.
	admin, err := pgdbm.Open(ctx, pgdbm.Config{URL: b.admin, MaxConns: 1, StatementTimeout: 3 * time.Hour})
	if err != nil {
		return nil, err
	}
	db := admin.Schema("public")
	o = &opened{drop: func() {
		_, _ = db.Exec(context.WithoutCancel(ctx), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
		admin.Close()
	}}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	for _, sql := range []string{`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`, `CREATE DATABASE ` + name} {
		if _, err := db.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	pool := admin.Pgx().Config().Copy()
	pool.ConnConfig.Database = name
	pool.MaxConns = 4
	if t != nil {
		pool.ConnConfig.DialFunc = t.dial(pool.ConnConfig.DialFunc)
	}
	if o.pool, err = pgdbm.Open(ctx, pgdbm.Config{Pgx: pool}); err != nil {
		return nil, err
	}
	if _, err := o.pool.Schema("public").Exec(ctx, `CREATE EXTENSION vector`); err != nil {
		return nil, err
	}
	if o.store, err = postgres.New(ctx, o.pool.Schema("public"), nil); err != nil {
		return nil, err
	}
	o.mem, err = llmemory.New(o.store, config)
	return o, err
}
