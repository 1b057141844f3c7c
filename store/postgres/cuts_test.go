package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// scene is a database that an operation is done to again and again, each time from the same state on, over a line that fails.
type scene struct {
	t      *testing.T
	proxy  *pgproxy.Proxy
	mem    *llmemory.Memory // over the line, on one connection
	direct *postgres.Store  // past the line
	still  *llmemory.Memory // likewise
	db     *pgxpool.Pool    // likewise
	saved  snapshot
}

func newScene(t *testing.T) *scene {
	t.Helper()
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	proxy, through, err := pgproxy.StartFor(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	open := func(url string, pool pgdbm.Config) (*postgres.Store, *llmemory.Memory) {
		store, mem, err := openVerses(t.Context(), url, pool)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store, mem
	}
	s := &scene{t: t, proxy: proxy}
	s.direct, s.still = open(url, pgdbm.Config{})
	_, s.mem = open(through, pgdbm.Config{MaxConns: 1})
	s.db = s.direct.DB().Pool().Pgx()
	return s
}

// exec runs statements past the line.
func (s *scene) exec(sql string) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		s.t.Fatal(err)
	}
}

// add stores documents past the line, in one transaction.
func (s *scene) add(owner string, docs ...llmemory.Document) {
	s.t.Helper()
	results, err := s.still.Owner(owner).AddMany(s.t.Context(), docs)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// untidied does something in a transaction of the host's, which leaves undone what maintenance would do afterwards.
func (s *scene) untidied(do func(context.Context, *llmemory.Memory) error) {
	s.t.Helper()
	err := pgx.BeginFunc(s.t.Context(), s.db, func(tx pgx.Tx) error {
		return do(s.t.Context(), s.still.On(s.direct.WithTx(tx)))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

var tables = []string{"documents", "document_chunks", "document_owners", "text_segments", "text_postings"}

// snapshot is a digest of the rows of every table. Times of documents written after the state was saved count as equal.
type snapshot [5]string

func (s *scene) snapshot() (out snapshot) {
	s.t.Helper()
	parts, dest := make([]string, len(tables)), make([]any, len(tables))
	for i, table := range tables {
		row := "r::text"
		if table == "documents" {
			row = `(to_jsonb(r) || jsonb_build_object('created_at', least(r.created_at, saved.at), 'updated_at', least(r.updated_at, saved.at)))::text`
		}
		parts[i] = fmt.Sprintf(`(SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(%s, 0)), 0) FROM %s r)`, row, table)
		dest[i] = &out[i]
	}
	if err := s.db.QueryRow(s.t.Context(), "SELECT "+strings.Join(parts, ", ")+" FROM saved.at AS saved").Scan(dest...); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// save makes the present state the one that restore goes back to.
func (s *scene) save() {
	s.t.Helper()
	sql := `CREATE SCHEMA saved; CREATE TABLE saved.at AS SELECT clock_timestamp() AS at;`
	for _, table := range tables {
		sql += fmt.Sprintf(`CREATE TABLE saved.%[1]s AS TABLE %[1]s;`, table)
	}
	s.exec(sql)
	s.saved = s.snapshot()
}

// restore puts the saved rows back into the tables that are not as they were.
func (s *scene) restore(from snapshot) {
	s.t.Helper()
	sql := ""
	for i, table := range tables {
		if from[i] != s.saved[i] {
			sql += fmt.Sprintf(`DELETE FROM %[1]s; INSERT INTO %[1]s TABLE saved.%[1]s;`, table)
		}
	}
	if sql != "" { // without foreign keys, as tables are put back one by one
		s.exec("SET session_replication_role = replica;" + sql + "SET session_replication_role = origin")
	}
}

// operation is a call that is cut at every message.
type operation struct {
	name string
	// arrange makes what the call finds.
	arrange func(s *scene)
	// act makes the call, and says what of its answer must be the same when it is repeated.
	act func(ctx context.Context, mem *llmemory.Memory) (answer string, err error)
	// A call may take two transactions, which leave a state in between. If the first only prepares, prepare does the same; if
	// the second only tidies up, and its failure is no failure of the call, tidies is set.
	prepare func(s *scene)
	tidies  bool
	// stale says that the index found is of another version of the analysis, with which it cannot be compared.
	stale bool
}

// wrote makes an act's answer of an Add's.
func wrote(a llmemory.Added, err error) (string, error) { return a.DocumentID, err }

// did drops the answer of a call that finds nothing left to do when it is repeated.
func did[T any](_ T, err error) (string, error) { return "", err }

func verse(n int, format string) string { return numbered(n, format) + "\n" }

var operations = []operation{
	{
		name: "Add of a first document",
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Content: "alpha one\nalpha two\nalpha three"}))
		},
	}, {
		name:    "Add of a new document",
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "old", Content: "alpha zero"}) },
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Language: "de", Content: "alpha eins\nalpha zwei\nalpha drei"}))
		},
	}, {
		name: "Add that keeps, moves, drops and adds chunks",
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two\nalpha three\nalpha four\nalpha five\n"},
				llmemory.Document{Key: "other", Content: "alpha of another"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "old", Content: "alpha one\nalpha new\n\nalpha three\nalpha five\nalpha newer"}))
		},
	}, {
		name:    "Add that changes the row alone",
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two"}) },
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "old", Content: "alpha one\nalpha two", Metadata: map[string]any{"alpha": 1}}))
		},
	}, {
		name: "Add that folds segments",
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "1", Language: "en", Content: verse(250, "alpha one%d")}, llmemory.Document{Key: "gone", Language: "en", Content: "alpha"})
			s.add("o", llmemory.Document{Key: "2", Language: "en", Content: verse(10, "alpha two%d")})
			s.untidied(func(ctx context.Context, mem *llmemory.Memory) error {
				_, err := mem.Owner("o").Delete(ctx, llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "gone"}))
				return err
			})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "3", Language: "en", Content: verse(260, "alpha three%d")}))
		},
	}, {
		name: "AddMany",
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "same", Content: "alpha same"}, llmemory.Document{Key: "old", Content: "alpha one\nalpha two"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			results, err := mem.Owner("o").AddMany(ctx, []llmemory.Document{
				{Key: "same", Content: "alpha same"}, {Key: "old", Content: "alpha one\nalpha three"}, {Key: "bad"}, {Key: "new", Content: "alpha new"},
				{OriginID: "elsewhere", Key: "new", Content: "alpha four\nalpha five"}})
			answer := ""
			for i, r := range results {
				answer += r.DocumentID + " "
				if bad := i == 2; bad != errors.Is(r.Err, llmemory.ErrInvalid) || !bad && err == nil && r.Err != nil {
					return "", fmt.Errorf("document %d: %w", i, r.Err)
				}
			}
			return answer, err
		},
	}, {
		name: "Delete",
		arrange: func(s *scene) {
			for _, key := range []string{"1", "2"} {
				s.add("o", llmemory.Document{OriginID: "a", Key: key, Content: "alpha one\nalpha two"}, llmemory.Document{OriginID: "b", Key: key, Content: "alpha three"})
			}
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Owner("o").Delete(ctx, llmemory.DocumentID("o", llmemory.Identity{OriginID: "a", Key: "1"}),
				llmemory.DocumentID("o", llmemory.Identity{OriginID: "a", Key: "2"}), llmemory.DocumentID("o", llmemory.Identity{OriginID: "b", Key: "2"}),
				llmemory.DocumentID("p", llmemory.Identity{OriginID: "default", Key: "1"})))
		},
	}, {
		name: "DeleteWhere",
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two", Metadata: map[string]any{"n": 1}},
				llmemory.Document{Key: "2", Content: "alpha three", Metadata: map[string]any{"n": 2}})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Owner("o").DeleteWhere(ctx, llmemory.Where{Metadata: llmemory.Meta("n").Lt(2)}))
		},
	}, {
		name: "DeleteAll",
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two"}, llmemory.Document{Key: "2", Content: "alpha three"})
			s.add("o", llmemory.Document{Key: "3", Content: "alpha four"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Owner("o").DeleteAll(ctx))
		},
	}, {
		name:    "Delete and a purge of the dead",
		arrange: halfToDie,
		tidies:  true,
		act:     deleteHalf,
	}, {
		name: "Maintain that purges the dead",
		arrange: func(s *scene) {
			halfToDie(s)
			s.untidied(func(ctx context.Context, mem *llmemory.Memory) error {
				_, err := deleteHalf(ctx, mem)
				return err
			})
		},
		act: maintain,
	}, {
		name: "Maintain that merges segments",
		arrange: func(s *scene) {
			for i := range 8 { // each as large as a folded segment
				s.add("o", llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: verse(512, fmt.Sprintf("alpha%d %%d", i%2))})
			}
		},
		act: maintain,
	}, {
		name:    "Maintain that indexes anew",
		arrange: outdate,
		stale:   true,
		act:     maintain,
	}, {
		name:    "Add to an index to be made anew",
		arrange: outdate,
		stale:   true,
		prepare: func(s *scene) {
			if _, err := maintain(s.t.Context(), s.still); err != nil {
				s.t.Fatal(err)
			}
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "2", Content: "alpha six"}))
		},
	},
}

func halfToDie(s *scene) {
	s.add("o", llmemory.Document{Key: "1", Language: "en", Content: verse(70, "alpha one%d")}, llmemory.Document{Key: "2", Language: "en", Content: verse(70, "alpha two%d")})
}

func deleteHalf(ctx context.Context, mem *llmemory.Memory) (string, error) {
	return did(mem.Owner("o").Delete(ctx, llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "1"})))
}

func maintain(ctx context.Context, mem *llmemory.Memory) (string, error) {
	return did(mem.Maintain(ctx))
}

// outdate makes an index look like that of an older analysis, with other terms and lengths.
func outdate(s *scene) {
	s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two\nalpha three"}, llmemory.Document{Key: "2", Content: "alpha four\nalpha five"})
	s.exec(`UPDATE document_chunks SET length = length + 1 WHERE level = 0 AND owner_id = 'o';
		UPDATE document_owners SET analysis = 0, length = length + 5 WHERE owner_id = 'o';
		UPDATE text_postings SET first_term = 'a' || first_term WHERE owner_id = 'o'`)
}

// cuts makes a call once for every point between two of its messages, and before the first and after the last, and cuts the
// connection there; before and after are called around the call. kinds are the messages of the call uncut.
//
// Between messages that travel together, before one is the same as after the one that precedes it, as the server has got and the
// caller has heard the same. So only where an answer comes in between there are two points; the long form of the test visits the
// others twice all the same.
func (s *scene) cuts(kinds string, before func(), call func() error, after func(point string, err error)) {
	s.t.Helper()
	for k := 1; ; k++ {
		answered := k == 1 || k > len(kinds) || kinds[k-2] == 'S'
		for _, side := range []string{"before", "after"} {
			switch {
			case side == "after":
				before()
				s.proxy.CutAfter(k)
			case answered || soak.On():
				before()
				s.proxy.CutBefore(k)
			default:
				continue
			}
			err := call()
			whole := s.proxy.Messages() < k
			s.proxy.Reset()
			after(fmt.Sprintf("cut %s message %d", side, k), err)
			if whole {
				return
			}
			if s.t.Failed() || k > 10_000 {
				s.t.Fatalf("stopped at message %d", k)
			}
		}
	}
}

// TestCuts cuts the connection before and after every message of every operation that writes. What is stored is then what was there
// before, or all that the operation is to write; the error says which as far as can be known; and the same call again makes it so.
func TestCuts(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.add("p", llmemory.Document{Key: "1", Content: "alpha of a bystander"})
			if op.arrange != nil {
				op.arrange(s)
			}
			s.save()
			states, done, answer, kinds := s.course(op)
			now := states[len(states)-1].stored
			cuts, unknown := 0, 0
			call := func() error {
				_, err := op.act(t.Context(), s.mem)
				return err
			}
			s.cuts(kinds, func() { s.restore(now) }, call, func(point string, err error) {
				at := states.find(t, s)
				if err := judge(err, at < done, at >= done); err != nil {
					t.Errorf("%s: %v", point, err)
				}
				if at == done && errors.Is(err, llmemory.ErrCommitUnknown) {
					unknown++
				}
				if found := s.searches(); !slices.Equal(found, states[at].found) {
					t.Errorf("%s: found %q, want %q", point, found, states[at].found)
				}
				again, err := op.act(t.Context(), s.mem)
				end := states.find(t, s)
				if err != nil || again != answer || end < done || end < at {
					t.Errorf("%s, the same call again: %q, %v, from state %d to %d; want %q and state %d", point, again, err, at, end, answer, done)
				}
				now = states[end].stored
				cuts++
			})
			if unknown == 0 {
				t.Error("no cut fell between a COMMIT and its answer")
			}
			t.Logf("%d messages, %d cuts, %d of them between a COMMIT and its answer", len(kinds), cuts, unknown)
		})
	}
}

// TestCutReads cuts the connection before and after every message of everything that reads: the answer is the same, or else the
// error says that the database was unavailable. What takes a single round trip always succeeds at its second attempt.
func TestCutReads(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.add("o", llmemory.Document{Key: "1", Language: "en", Content: "alpha one\nalpha two\nalpha three"},
		llmemory.Document{OriginID: "b", Key: "2", Language: "en", Content: "alpha four\nbeta"})
	id := llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "1"})
	search := func(options llmemory.SearchOptions) func(context.Context, *llmemory.Owner) (any, error) {
		return func(ctx context.Context, o *llmemory.Owner) (any, error) {
			r, err := o.Search(ctx, "alpha", &options)
			if err != nil {
				return nil, err
			}
			return r.Hits, nil
		}
	}
	for _, op := range []struct {
		name  string
		trips int
		act   func(context.Context, *llmemory.Owner) (any, error)
	}{
		{"Get", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return o.Get(ctx, id) }},
		{"GetWithChunks", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) {
			d, chunks, err := o.GetWithChunks(ctx, id)
			return []any{d, chunks}, err
		}},
		{"Text", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return o.Text(ctx, id) }},
		{"Chunks", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) {
			chunks, total, err := o.Chunks(ctx, id, nil)
			return []any{chunks, total}, err
		}},
		{"List", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return o.List(ctx, nil) }},
		{"Stats", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return o.Stats(ctx) }},
		{"Search", 2, search(llmemory.SearchOptions{})},
		{"Search with context and filter", 2, search(llmemory.SearchOptions{Parents: true, Neighbours: 1, Where: llmemory.Where{Origins: []string{"default"}}})},
	} {
		ws := s.mem.Owner("o")
		s.proxy.Arm()
		want, err := op.act(t.Context(), ws)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		var got any
		call := func() (err error) {
			got, err = op.act(t.Context(), ws)
			return err
		}
		s.cuts(s.proxy.Kinds(), func() {}, call, func(point string, err error) {
			switch {
			case err == nil:
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", op.name, point, diff)
				}
			case op.trips == 1 || !errors.Is(err, llmemory.ErrUnavailable):
				t.Errorf("%s, %s: %v", op.name, point, err)
			default:
				failed++
			}
			if err := call(); err != nil || !cmp.Equal(want, got) {
				t.Errorf("%s, again after it was %s: %v, %v", op.name, point, got, err)
			}
		})
		if op.trips > 1 && failed == 0 {
			t.Errorf("%s: no cut hit the second round trip", op.name)
		}
	}
	if err := checkStored(t.Context(), s.direct); err != nil {
		t.Error(err)
	}
}

// course is what an operation makes of the saved state, step by step.
type course []struct {
	stored snapshot
	found  []string
}

// course runs an operation uncut. Its effect is there from state done on.
func (s *scene) course(op operation) (states course, done int, answer, kinds string) {
	s.t.Helper()
	note := func(check bool) {
		s.t.Helper()
		states = append(states, course{{s.snapshot(), s.searches()}}...)
		if check {
			if err := checkStored(s.t.Context(), s.direct); err != nil {
				s.t.Fatalf("state %d: %v", len(states)-1, err)
			}
		}
	}
	note(!op.stale)
	done = 1
	switch {
	case op.prepare != nil:
		op.prepare(s)
		note(true)
		s.restore(states[1].stored)
		done = 2
	case op.tidies:
		s.untidied(func(ctx context.Context, mem *llmemory.Memory) error {
			_, err := op.act(ctx, mem)
			return err
		})
		note(true)
		s.restore(states[1].stored)
	}
	s.proxy.Arm()
	answer, err := op.act(s.t.Context(), s.mem)
	if err != nil {
		s.t.Fatal(err)
	}
	kinds = s.proxy.Kinds()
	note(true)
	for i := range states[1:] {
		if states[i].stored == states[i+1].stored {
			s.t.Fatalf("states %d and %d do not differ", i, i+1)
		}
	}
	return states, done, answer, kinds
}

// find says which state is stored now.
func (c course) find(t *testing.T, s *scene) int {
	t.Helper()
	now := s.snapshot()
	for i := range c {
		if c[i].stored == now {
			return i
		}
	}
	for i := range c {
		for j, table := range tables {
			if c[i].stored[j] != now[j] {
				t.Errorf("%s is not as in state %d", table, i)
			}
		}
	}
	t.Fatalf("half of something is stored: %v", checkStored(t.Context(), s.direct))
	return 0
}

// searches returns the answers to a few questions, as the state they are asked in gives them.
func (s *scene) searches() []string {
	s.t.Helper()
	var out []string
	for _, query := range []string{"alpha", `"alpha three" -two`} {
		r, err := s.still.Owner("o").Search(s.t.Context(), query, &llmemory.SearchOptions{Limit: 5, Parents: true, Neighbours: 1, Snippet: -1})
		if err != nil {
			s.t.Fatalf("%q: %v", query, err)
		}
		answer := query
		for _, h := range r.Hits {
			answer += fmt.Sprintf(" %s:%.9f:%d:%v", h.ID, h.Score, h.Document.Version, h.Parent)
		}
		out = append(out, answer)
	}
	return out
}
