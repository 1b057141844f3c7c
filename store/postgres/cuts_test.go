package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/pgproxy"
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
		store, err := postgres.Open(t.Context(), url, &postgres.Options{Pool: pool, RequireMigrated: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
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
			states, done, answer := s.course(op)
			now := states[len(states)-1].stored
			cuts, unknown := 0, 0
			for k, whole := 1, false; !whole; k++ {
				for _, side := range []struct {
					name string
					cut  func(int)
				}{{"before", s.proxy.CutBefore}, {"after", s.proxy.CutAfter}} {
					s.restore(now)
					side.cut(k)
					_, err := op.act(t.Context(), s.mem)
					whole = s.proxy.Messages() < k
					s.proxy.Reset()
					at := states.find(t, s)
					if committed := s.judge(at, done, err); committed {
						unknown++
					}
					s.search(states[at].found)
					again, err := op.act(t.Context(), s.mem)
					if err != nil || again != answer {
						t.Errorf("the same call again: %q, %v; want %q", again, err, answer)
					}
					end := states.find(t, s)
					now = states[end].stored
					if end < done || end < at {
						t.Errorf("the same call again leaves state %d after state %d, want %d", end, at, done)
					}
					if t.Failed() {
						t.Fatalf("cut %s message %d, in state %d of %d: %v", side.name, k, at, len(states), err)
					}
					cuts++
				}
			}
			if unknown == 0 {
				t.Error("no cut fell between a COMMIT and its answer")
			}
			t.Logf("%d cuts, %d of them between a COMMIT and its answer", cuts, unknown)
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
		want, err := op.act(t.Context(), ws)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for k, whole := 1, false; !whole; k++ {
			for _, cut := range []func(int){s.proxy.CutBefore, s.proxy.CutAfter} {
				cut(k)
				got, err := op.act(t.Context(), ws)
				whole = s.proxy.Messages() < k
				s.proxy.Reset()
				switch {
				case err == nil:
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s, cut at message %d (-want +got):\n%s", op.name, k, diff)
					}
				case op.trips == 1 || !errors.Is(err, llmemory.ErrUnavailable):
					t.Errorf("%s, cut at message %d: %v", op.name, k, err)
				default:
					failed++
				}
				if got, err = op.act(t.Context(), ws); err != nil || !cmp.Equal(want, got) {
					t.Errorf("%s, again after a cut at message %d: %v, %v", op.name, k, got, err)
				}
			}
			if k > 1000 {
				t.Fatalf("%s: no end of messages", op.name)
			}
		}
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
func (s *scene) course(op operation) (states course, done int, answer string) {
	s.t.Helper()
	note := func(check bool) {
		s.t.Helper()
		states = append(states, course{{s.snapshot(), s.searches(s.still)}}...)
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
	answer, err := op.act(s.t.Context(), s.mem)
	if err != nil {
		s.t.Fatal(err)
	}
	note(true)
	for i := range states[1:] {
		if states[i].stored == states[i+1].stored {
			s.t.Fatalf("states %d and %d do not differ", i, i+1)
		}
	}
	return states, done, answer
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

// judge checks what a cut call reported against the state it left, and says whether it was cut between COMMIT and answer.
func (s *scene) judge(at, done int, err error) (committed bool) {
	s.t.Helper()
	unavailable, unknown := errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCommitUnknown)
	switch {
	case err == nil && at < done:
		s.t.Errorf("reported as done, but state %d is stored", at)
	case err == nil:
	case unavailable == unknown:
		s.t.Errorf("error %v, want one of ErrUnavailable and ErrCommitUnknown", err)
	case unavailable && at >= done:
		s.t.Errorf("reported as unavailable, but it is done: %v", err)
	}
	return unknown && at == done
}

// searches returns the answers to a few questions, as the state they are asked in gives them.
func (s *scene) searches(mem *llmemory.Memory) []string {
	s.t.Helper()
	var out []string
	for _, query := range []string{"alpha", `"alpha three" -two`} {
		r, err := mem.Owner("o").Search(s.t.Context(), query, &llmemory.SearchOptions{Limit: 5, Parents: true, Neighbours: 1, Snippet: -1})
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

// search asks the questions over the line.
func (s *scene) search(want []string) {
	s.t.Helper()
	if got := s.searches(s.mem); !slices.Equal(got, want) {
		s.t.Errorf("found %q, want %q", got, want)
	}
}
