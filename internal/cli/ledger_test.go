package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

// places are a database in a file and one on a server.
func places(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"sqlite": filepath.Join(t.TempDir(), "memory.db"), "postgres": pgtest.URL(t)}
}

// tree makes a folder of files in folders.
func tree(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "docs")
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i%20))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("# Number %d\n\nWhat stands in file %d, and in no other.\n", i, i)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%04d.md", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents is a digest of all that a database holds, down to the versions of its rows.
func contents(t *testing.T, db string) string {
	t.Helper()
	if !strings.Contains(db, "://") {
		h := sha256.New()
		for _, name := range []string{db, db + "-wal"} {
			raw, err := os.ReadFile(name)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			h.Write(raw)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, table := range tables {
		var sum string // every write that was tried leaves a mark in xmin, xmax or the place of a row, and so do those taken back
		err := conn.QueryRow(ctx, `SELECT count(*) || ' ' || md5(coalesce(string_agg(x.ctid::text || x.xmin::text || x.xmax::text, ',' ORDER BY x.ctid), ''))
			FROM `+pgx.Identifier{"public", table}.Sanitize()+` x`).Scan(&sum)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, table, sum)
	}
	return out.String()
}

// A tree of files that did not change costs a look: nobody is asked for vectors, and nothing is written.
func TestUnchangedTree(t *testing.T) {
	t.Parallel()
	const files = 2000
	dir := tree(t, files)
	for name, db := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &paid{Embedder: embedtest.New(embedtest.Config{})}
			add := func(want string) {
				t.Helper()
				var stdout, stderr bytes.Buffer
				a := &app{stdin: strings.NewReader(""), stdout: &output{w: &stdout}, stderr: &stderr, env: env(db), extractor: all.Extractor{},
					findModel: modelfile.Find, model: e}
				if code := a.main(t.Context(), []string{"add", dir, "--prune"}); code != 0 || !strings.Contains(stderr.String(), want) {
					t.Fatalf("exit code %d, want %q in %s", code, want, stderr.String())
				}
			}
			add(fmt.Sprintf("%d created, 0 updated, 0 unchanged, 0 failed, 0 skipped", files))
			if n := e.passages.Load(); n != files {
				t.Errorf("%d passages were embedded", n)
			}
			before := contents(t, db)
			e.calls = 0
			add(fmt.Sprintf("0 created, 0 updated, %d unchanged, 0 failed, 0 skipped", files))
			if e.calls != 0 {
				t.Errorf("the embedder was asked %d times", -e.calls)
			}
			if after := contents(t, db); after != before {
				t.Errorf("something was written:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// patient reads images as soon as somebody lets it.
type patient struct{ wait func() }

func (p patient) Extract(context.Context, extract.Input) (extract.Text, error) {
	p.wait()
	return extract.Text{Content: "an image"}, nil
}

// A run that takes long over a file says all the time that it goes on.
func TestRunAlive(t *testing.T) {
	t.Parallel()
	for name, db := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, 2*batchDocuments)
			put(t, filepath.Join(dir, "99", "image.png"), "\x89PNG\r\n\x1a\n")
			o := openPlace(t, db)
			wait := func() {
				var first time.Time
				for {
					runs, err := o.Runs(t.Context(), nil)
					switch {
					case err != nil || len(runs) != 1 || runs[0].State != llmemory.RunRunning:
						t.Errorf("runs: %+v, %v", runs, err)
						return
					case first.IsZero():
						first = runs[0].UpdatedAt
					case runs[0].UpdatedAt.After(first):
						return
					}
				}
			}
			var stderr bytes.Buffer
			a := &app{stdin: strings.NewReader(""), stdout: &output{w: &bytes.Buffer{}}, stderr: &stderr, env: env(db), beat: time.Millisecond,
				extractor: all.Extractor{Custom: map[string]extract.Extractor{"image/png": patient{wait}}},
				findModel: modelfile.Find, model: embedtest.New(embedtest.Config{})}
			if code := a.main(t.Context(), []string{"add", dir}); code != 0 {
				t.Errorf("exit code %d: %s", code, stderr.String())
			}
			if runs, err := o.Runs(t.Context(), nil); err != nil || len(runs) != 1 || runs[0].State != llmemory.RunComplete || runs[0].Created != 2*batchDocuments+1 {
				t.Errorf("in the end: %+v, %v", runs, err)
			}
		})
	}
}

// openPlace opens the store of a database.
func openPlace(t *testing.T, db string) *llmemory.Owner {
	t.Helper()
	var store llmemory.Store
	var err error
	if strings.Contains(db, "://") {
		store, err = postgres.Open(t.Context(), db, nil)
	} else {
		store, err = sqlite.Open(t.Context(), db, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	mem, err := llmemory.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mem.Owner("default")
}

// However often it is killed, what the ledger says is true, nothing is there twice, and the same command adds the rest.
func TestAddKilled(t *testing.T) {
	t.Parallel()
	files, kills := soak.Pick(1000, 2000), soak.Pick(5, 50)
	dir := tree(t, files)
	for name, db := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(files), uint64(len(name))))
			if code, _, stderr := run(t, db, "migrate", "up"); code != 0 {
				t.Fatal(stderr)
			}
			o := openPlace(t, db)
			add := func(killed time.Duration) {
				t.Helper()
				cmd := exec.Command(os.Args[0], "add", dir, "--json")
				cmd.Env = append(os.Environ(), asProgram+"=1", "LLMEMORY_DB="+db, "LLMEMORY_EMBEDDER=none")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if killed > 0 {
					timer := time.AfterFunc(killed, func() { _ = cmd.Process.Kill() })
					defer timer.Stop()
				}
				_ = cmd.Wait() // it ends well unless it is killed
			}
			began := time.Now()
			add(0)
			whole := time.Since(began)
			cut := 0
			for kill := range kills {
				if checkLedger(t, o, fmt.Sprintf("kill %d", kill)) == files { // there is nothing more to add: from the beginning
					if _, err := o.DeleteAll(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				add(time.Duration(1 + random.Int64N(int64(whole))))
				runs, err := o.Runs(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(runs) > 0 && runs[0].State == llmemory.RunRunning {
					cut++
				}
			}
			t.Logf("%d of %d runs were cut while they stored documents", cut, kills)
			checkLedger(t, o, "after the last kill")
			code, _, stderr := run(t, db, "add", dir, "--embedder", "none")
			if code != 0 || !strings.Contains(stderr, " 0 updated, ") || !strings.Contains(stderr, " 0 failed, 0 skipped") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			runs, err := o.Runs(t.Context(), nil)
			if err != nil || runs[0].State != llmemory.RunComplete || runs[0].Created+runs[0].Unchanged != int64(files) {
				t.Errorf("the last run: %+v, %v", runs[0], err)
			}
			if n := checkLedger(t, o, "in the end"); n != files {
				t.Errorf("%d documents, want %d", n, files)
			}
			if known, err := o.SourceFiles(t.Context(), "default", dir); err != nil || len(known) != files {
				t.Errorf("the ledger knows %d files, %v", len(known), err)
			}
		})
	}
}

// checkLedger holds every outcome of every run against the documents, of which it returns the number.
func checkLedger(t *testing.T, o *llmemory.Owner, when string) int {
	t.Helper()
	ctx := t.Context()
	stored := map[string]bool{}
	for offset := 0; ; offset += 1000 {
		page, err := o.List(ctx, &llmemory.ListOptions{Offset: offset, Limit: 1000, OrderBy: llmemory.ByName})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Documents {
			if stored[d.ID] = true; d.Version != 1 || d.ChunkCount != 1 {
				t.Errorf("%s: %s is of version %d, with %d chunks", when, d.Key, d.Version, d.ChunkCount)
			}
		}
		if offset+1000 >= page.Total {
			break
		}
	}
	runs, err := o.Runs(ctx, &llmemory.RunsOptions{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		created, total := int64(0), int64(0)
		for after := int64(0); ; {
			page, err := o.RunFiles(ctx, r.ID, &llmemory.RunFilesOptions{After: after, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page {
				if !stored[f.DocumentID] {
					t.Errorf("%s: run %d says that %s is %s, but it is not there", when, r.ID, f.Path, f.Outcome)
				}
				if total++; f.Outcome == llmemory.Created {
					created++
				}
				after = f.Number
			}
			if len(page) < 1000 {
				break
			}
		}
		if created != r.Created || total != r.Created+r.Unchanged {
			t.Errorf("%s: run %+v has %d files, %d of them created", when, r, total, created)
		}
	}
	return len(stored)
}
