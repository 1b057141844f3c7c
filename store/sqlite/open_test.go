package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/migrate"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/store/sqlite"
	"github.com/llmemory/llmemory/store/storetest"
)

func newPath(tb testing.TB) string { return filepath.Join(tb.TempDir(), "memory.db") }

// fill makes a file with some documents of two owners, closed, and returns its path.
func fill(tb testing.TB, path string, lines int) {
	tb.Helper()
	store, err := sqlite.Open(tb.Context(), path, nil)
	must(tb, err)
	mem := memory(tb, store)
	for i := range lines {
		text := strings.Repeat(fmt.Sprintf("line %d of a text that is to fill a page or two\n", i), 10)
		_, err := mem.Owner(fmt.Sprint("owner ", i%2)).Add(tb.Context(), llmemory.Document{Key: fmt.Sprint(i), Content: text, Metadata: map[string]any{"i": i}})
		must(tb, err)
	}
	must(tb, store.Close())
}

// TestOpenMakesFile looks at a new file and those beside it.
func TestOpenMakesFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"memory.db", "with blank", "50%25#?&+=é.db"} {
		path := filepath.Join(t.TempDir(), name)
		store, err := sqlite.Open(t.Context(), path, nil)
		must(t, err)
		_, err = memory(t, store).Owner("o").Add(t.Context(), llmemory.Document{Key: "k", Content: "text"})
		must(t, err)
		if runtime.GOOS != "windows" {
			for _, beside := range []string{"", "-wal"} {
				info, err := os.Stat(path + beside)
				must(t, err)
				if got := info.Mode().Perm(); got != 0o600 {
					t.Errorf("%s%s: mode %o, want 600", name, beside, got)
				}
			}
		}
		must(t, store.Close())
		header, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(header[68:72], []byte("LLME")) || header[20] != 8 || binary.BigEndian.Uint16(header[16:]) != 8192 || header[18] != 2 {
			t.Errorf("%s: header % x: want application id LLME, 8 reserved bytes, pages of 8 KiB, a log", name, header[:72])
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		must(t, err)
		if len(left) != 1 {
			t.Errorf("%s: after Close there are %q", name, left)
		}
		if info, err := store.Info(t.Context()); !errors.Is(err, llmemory.ErrClosed) {
			t.Errorf("Info after Close: %v, %v", info, err)
		}
	}
}

// TestReopen opens a file again: everything is there, and nothing is written.
func TestReopen(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fill(t, path, 6)
	before, err := os.ReadFile(path)
	must(t, err)
	for _, require := range []bool{false, true} {
		store, err := sqlite.Open(t.Context(), path, &sqlite.Options{RequireMigrated: require})
		must(t, err)
		found, err := memory(t, store).Owner("owner 1").Search(t.Context(), "text", &llmemory.SearchOptions{Mode: llmemory.ByText, Limit: 100})
		must(t, err)
		if len(found.Hits) != 30 {
			t.Errorf("%d hits, want the 30 lines of the owner", len(found.Hits))
		}
		info, err := store.Info(t.Context())
		must(t, err)
		if info.Engine != "sqlite" || info.Place != path || sqlite.CheckVersion(info.Version) != nil {
			t.Errorf("info %+v", info)
		}
		must(t, store.Close())
		after, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(before, after) {
			t.Error("opening and searching changed the file")
		}
	}
}

// TestForeign opens what is not ours: a typed error, and not a byte is changed.
func TestForeign(t *testing.T) {
	t.Parallel()
	database := func(sql string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			c, err := sqlite.RawOpen(path)
			must(t, err)
			must(t, c.Exec(sql))
			must(t, c.Close())
		}
	}
	content := func(s string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(s), 0o600)) }
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
	}{
		"a picture":              {content("\xff\xd8\xff\xe0\x00\x10JFIF" + strings.Repeat("\x00picture", 5000)), llmemory.ErrCorrupt},
		"a text":                 {content("hello"), llmemory.ErrCorrupt},
		"zeros":                  {content(strings.Repeat("\x00", 8192)), llmemory.ErrCorrupt},
		"half a header":          {content("SQLite format 3\x00\x20\x00\x02\x02"), llmemory.ErrCorrupt},
		"a header and nothing":   {content("SQLite format 3\x00" + strings.Repeat("x", 200)), llmemory.ErrInvalid},
		"another database":       {database("CREATE TABLE documents (id)"), llmemory.ErrInvalid},
		"another program's":      {database("PRAGMA application_id = 42; CREATE TABLE t (id)"), llmemory.ErrInvalid},
		"another one with a log": {database("PRAGMA journal_mode = WAL; CREATE TABLE schema_migrations (version)"), llmemory.ErrInvalid},
		"a folder":               {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, llmemory.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			c.make(t, path)
			before := contents(t, path)
			for range 2 {
				store, err := sqlite.Open(t.Context(), path, nil)
				if err == nil {
					must(t, store.Close())
				}
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v, want %v and the path", err, c.want)
				}
			}
			if after := contents(t, path); !slices.Equal(before, after) {
				t.Errorf("before %.100q, after %.100q", before, after)
			}
		})
	}
	for name, path := range map[string]string{"no path": "", "memory": ":memory:", "no folder": filepath.Join(t.TempDir(), "no", "memory.db")} {
		if _, err := sqlite.Open(t.Context(), path, nil); !errors.Is(err, llmemory.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	path := newPath(t)
	if _, err := sqlite.Open(t.Context(), path, &sqlite.Options{RequireMigrated: true}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("no file where there must be one: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	if _, err := sqlite.Open(t.Context(), path, &sqlite.Options{Synchronous: "SOMETIMES"}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("an unknown setting: %v", err)
	}
	// An empty file is as good as none.
	must(t, os.WriteFile(path, nil, 0o600))
	fill(t, path, 1)
}

// TestFormat opens files that are as good as empty, or ours without its log: they get one.
func TestFormat(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, path string){
		"no tables": func(t *testing.T, path string) { alter(t, path, "PRAGMA user_version = 1") },
		"its log taken away": func(t *testing.T, path string) {
			fill(t, path, 2)
			alter(t, path, "PRAGMA journal_mode = DELETE")
		},
		"killed while it was made": func(t *testing.T, path string) {
			// What a journal says of a file that was empty: cut it to nothing.
			c, err := sqlite.RawOpen(path)
			must(t, err)
			must(t, c.Exec("PRAGMA synchronous = OFF; BEGIN; CREATE TABLE t (id); PRAGMA cache_spill = 1; PRAGMA cache_size = 1"))
			for range 50 { // until some of it is in the file
				must(t, c.Exec("INSERT INTO t VALUES (randomblob(3000))"))
			}
			half := contents(t, path)
			must(t, c.Close())
			if len(half) != 4 || half[2] != filepath.Base(path)+"-journal" || len(half[1]) == 0 || len(half[3]) == 0 {
				t.Fatalf("no journal: %.50q", half)
			}
			must(t, os.WriteFile(path, []byte(half[1]), 0o600))
			must(t, os.WriteFile(path+"-journal", []byte(half[3]), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			prepare(t, path)
			store := openAt(t, path, sqlite.Off)
			_, err := memory(t, store).Owner("o").Add(t.Context(), llmemory.Document{Key: "k", Content: "text"})
			must(t, err)
			must(t, checkStored(t.Context(), store))
			mode, err := sqlite.Mode(t.Context(), store)
			must(t, err)
			if mode != "wal" {
				t.Errorf("its mode is %q", mode)
			}
		})
	}
}

// alter does something to a file as another program.
func alter(t *testing.T, path, sql string) {
	t.Helper()
	c, err := sqlite.RawOpen(path)
	must(t, err)
	must(t, c.Exec(sql))
	must(t, c.Close())
}

// contents returns what lies in the folder of a path: names and bytes.
func contents(tb testing.TB, path string) (out []string) {
	tb.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(tb, err)
	for _, e := range entries {
		out = append(out, e.Name())
		if !e.IsDir() {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
			must(tb, err)
			out = append(out, string(raw))
		}
	}
	return out
}

// TestDamaged cuts and spoils a file in many places. Who opens it and reads everything is told, or gets what was stored; the file stays
// as it is.
func TestDamaged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fill(t, path, 12)
	sound, err := os.ReadFile(path)
	must(t, err)
	want := everything(t, path)
	type damage struct {
		name  string
		bytes []byte
	}
	var list []damage
	for _, size := range []int{1, 99, 100, 101, 4096, 8191, 8192, 8193, len(sound) / 2, len(sound) - 8192, len(sound) - 1} {
		list = append(list, damage{fmt.Sprint("cut at ", size), sound[:size]})
	}
	for page := range len(sound) / 8192 {
		places := []int{0, 20, 100, 4000, 8187, 8191}
		if page > 0 && soak.Pick(true, false) {
			places = places[page%len(places):][:1]
		}
		for _, at := range places {
			spoilt := bytes.Clone(sound)
			spoilt[page*8192+at] ^= 1 << (page % 8)
			list = append(list, damage{fmt.Sprintf("bit %d of byte %d of page %d", page%8, at, page+1), spoilt})
		}
	}
	noticed := 0
	for _, d := range list {
		path := newPath(t)
		must(t, os.WriteFile(path, d.bytes, 0o600))
		got, err := readAll(t.Context(), path)
		switch {
		case errors.Is(err, llmemory.ErrCorrupt), errors.Is(err, llmemory.ErrInvalid) && strings.HasSuffix(d.name, "of page 1"):
			noticed++
		case err != nil:
			t.Errorf("%s: %v, want ErrCorrupt", d.name, err)
		case got != want:
			t.Errorf("%s: not noticed: %.200s", d.name, got)
		}
		after, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(after, d.bytes) {
			t.Errorf("%s: the file was changed", d.name)
		}
	}
	if noticed < len(list)/2 { // pages that hold nothing may be damaged
		t.Errorf("%d of %d noticed", noticed, len(list))
	}
}

// everything is readAll of a sound file.
func everything(tb testing.TB, path string) string {
	tb.Helper()
	all, err := readAll(tb.Context(), path)
	must(tb, err)
	return all
}

// readAll opens a file and reads everything that users can read.
func readAll(ctx context.Context, path string) (_ string, err error) {
	store, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses})
	if err != nil {
		return "", err
	}
	owners, err := store.Owners(ctx, llmemory.OwnersParams{Limit: 100})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, owner := range owners {
		o := mem.Owner(owner)
		page, err := o.List(ctx, &llmemory.ListOptions{Limit: 100, OrderBy: llmemory.ByName})
		if err != nil {
			return "", err
		}
		for _, d := range page.Documents {
			text, err := o.Text(ctx, d.ID)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&out, owner, d, text)
		}
		found, err := o.Search(ctx, "text page", &llmemory.SearchOptions{Mode: llmemory.ByText, Limit: 100, Parents: true})
		if err != nil {
			return "", err
		}
		for _, h := range found.Hits {
			fmt.Fprintln(&out, h.ID, h.Score, h.Text)
		}
	}
	return out.String(), nil
}

// migrations returns the store's own files and others with them.
func migrations(tb testing.TB, more map[string]string) fs.FS {
	tb.Helper()
	files := fstest.MapFS{}
	for _, name := range []string{"001_documents.sql", "001_documents.down.sql", "002_sources.sql", "002_sources.down.sql", "003_failures.sql", "003_failures.down.sql",
		"004_parts.sql", "004_parts.down.sql"} {
		raw, err := os.ReadFile(filepath.Join("migrations", name))
		must(tb, err)
		files[name] = &fstest.MapFile{Data: raw}
	}
	for name, sql := range more {
		files[name] = &fstest.MapFile{Data: []byte(sql)}
	}
	return files
}

// TestMigrations opens files that an older and a newer program made.
func TestMigrations(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), newPath(t)
	fill(t, path, 4)
	want := everything(t, path)
	next := migrations(t, map[string]string{"005_notes.sql": "CREATE TABLE {{tables.notes}} (owner_id TEXT PRIMARY KEY, note TEXT);\nINSERT INTO notes VALUES ('o', 'n');"})
	broken := migrations(t, map[string]string{"005_notes.sql": "CREATE TABLE {{tables.notes}} (owner_id TEXT);\nINSERT INTO\n  notes VALUE (1);"})

	if _, err := sqlite.OpenWith(ctx, path, &sqlite.Options{RequireMigrated: true}, next); !errors.Is(err, migrate.ErrPending) {
		t.Errorf("pending where it must not be: %v", err)
	}
	var place *migrate.Error
	if _, err := sqlite.OpenWith(ctx, path, nil, broken); !errors.As(err, &place) || place.File != "005_notes.sql" || place.Line != 3 {
		t.Errorf("a broken file: %v, want its name and line 3", err)
	}
	if got := everything(t, path); got != want {
		t.Error("a migration that failed left something behind")
	}
	store, err := sqlite.OpenWith(ctx, path, nil, next)
	must(t, err)
	rows, err := sqlite.Rows(ctx, store, "SELECT note FROM notes")
	must(t, err)
	if len(rows) != 1 || rows[0][0] != "n" {
		t.Errorf("notes %q", rows)
	}
	must(t, store.Close())
	before := contents(t, path)
	if _, err := sqlite.Open(ctx, path, nil); !errors.Is(err, migrate.ErrNewer) {
		t.Errorf("a file of a newer program: %v, want ErrNewer", err)
	}
	if !slices.Equal(before, contents(t, path)) {
		t.Error("it was changed")
	}
	store, err = sqlite.OpenWith(ctx, path, nil, next)
	must(t, err)
	_, err = sqlite.Rows(ctx, store, "DROP TABLE text_postings")
	must(t, err)
	must(t, store.Close())
	if _, err := sqlite.OpenWith(ctx, path, nil, next); !errors.Is(err, llmemory.ErrCorrupt) || !strings.Contains(err.Error(), "text_postings") {
		t.Errorf("a table is gone: %v, want ErrCorrupt and its name", err)
	}
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{"3.51.3": true, "3.54.1": true, "4.0.0": true, "3.51.2": false, "3.7.0": false, "": false, "x": false} {
		if err := sqlite.CheckVersion(version); (err == nil) != ok || err != nil && !errors.Is(err, llmemory.ErrUnavailable) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// TestInterrupt ends statements that would go on for ever: by their context, and by closing the store.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	store := openAt(t, newPath(t), sqlite.Off)
	for _, write := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := sqlite.Slow(ctx, store, write); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("write %t: %v, want context.DeadlineExceeded", write, err)
		}
		cancel()
	}
	o := memory(t, store).Owner("o")
	_, err := o.Add(t.Context(), llmemory.Document{Key: "k", Content: "text"})
	must(t, err)
	if got := sqlite.Idle(store); got != 1 {
		t.Errorf("%d idle readers, want the one that was interrupted", got)
	}
	view, err := store.View(t.Context(), llmemory.ViewParams{Owner: "o"})
	must(t, err)
	_, err = view.Postings(t.Context(), llmemory.PostingsParams{Owner: "o"})
	must(t, err)
	edit, err := store.Edit(t.Context(), llmemory.EditParams{Owner: "o", Analysis: 1})
	must(t, err)
	ended := make(chan error, 2)
	go func() { ended <- sqlite.Slow(t.Context(), store, false) }()
	go func() { ended <- sqlite.Slow(t.Context(), store, true) }() // waits for the edit
	for sqlite.Idle(store) > 0 {                                   // until the first one is at it
		runtime.Gosched()
	}
	must(t, store.Close())
	for range 2 {
		if err := <-ended; !errors.Is(err, llmemory.ErrClosed) {
			t.Errorf("a call during Close: %v, want ErrClosed", err)
		}
	}
	if _, err := view.Postings(t.Context(), llmemory.PostingsParams{Owner: "o"}); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("a view after Close: %v, want ErrClosed", err)
	}
	if _, err := edit.Commit(t.Context(), llmemory.Changes{Owner: "o"}); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("an edit after Close: %v, want ErrClosed", err)
	}
	must(t, view.Close(t.Context()))
	must(t, edit.Rollback(t.Context()))
}

// TestUpgrade takes a file back to the tables of the first version and forward again: what documents had then stays as it was.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), newPath(t)
	fill(t, path, 6)
	want := everything(t, path)
	m, err := sqlite.OpenMigrator(ctx, path, false, nil)
	must(t, err)
	down, err := m.Down(ctx, 1)
	must(t, errors.Join(err, m.Close()))
	if len(down) != 3 {
		t.Fatalf("undone: %v", down)
	}
	if got := everything(t, path); got != want {
		t.Errorf("after the upgrade:\n%s\nbefore:\n%s", got, want)
	}
	store, err := sqlite.Open(ctx, path, nil)
	must(t, err)
	defer store.Close()
	text := strings.Repeat("line 0 of a text that is to fill a page or two\n", 10)
	again, err := memory(t, store).Owner("owner 0").Add(ctx, llmemory.Document{Key: "0", Content: text, Metadata: map[string]any{"i": 0}})
	must(t, err)
	if again.Status != llmemory.Unchanged {
		t.Errorf("added again after the upgrade: %s", again.Status)
	}
}

// TestUpgradeVectors checks that an owner who has vectors of several parts loses all vectors on the way back.
func TestUpgradeVectors(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), newPath(t)
	storetest.UpgradeVectors(t, func() llmemory.Store {
		store, err := sqlite.Open(ctx, path, nil)
		must(t, err)
		return store
	}, func() {
		m, err := sqlite.OpenMigrator(ctx, path, false, nil)
		must(t, err)
		_, err = m.Down(ctx, 3)
		must(t, errors.Join(err, m.Close()))
	})
}
