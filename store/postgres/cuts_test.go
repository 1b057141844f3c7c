package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
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
	line   *postgres.Store // over the line, on one connection
	direct *postgres.Store // past the line
	db     *pgxpool.Pool   // likewise
	embeds bool            // memories have an embedder
	asked  func() error    // called, if not nil, when the embedder of a memory over the line is asked
	saved  snapshot
	at     time.Time // of saving
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
	open := func(url string, pool pgdbm.Config) *postgres.Store {
		store, _, err := openVerses(t.Context(), url, pool, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	s := &scene{t: t, proxy: proxy}
	s.direct = open(url, pgdbm.Config{})
	s.line = open(through, pgdbm.Config{MaxConns: 1})
	s.db = s.direct.DB().Pool().Pgx()
	return s
}

// mem returns a memory over the line that has learned nothing yet.
func (s *scene) mem() *llmemory.Memory {
	return s.memory(s.line, func(context.Context, embedtest.Call) error {
		if s.asked == nil {
			return nil
		}
		return s.asked()
	})
}

// still returns a memory past the line that has learned nothing yet.
func (s *scene) still() *llmemory.Memory { return s.memory(s.direct, nil) }

// further is the model of the second embedder.
const further = "further"

func (s *scene) memory(store llmemory.Store, fail func(context.Context, embedtest.Call) error) *llmemory.Memory {
	s.t.Helper()
	config := versesConfig(nil)
	if s.embeds {
		config.Embedder = embedtest.New(embedtest.Config{Fail: fail})
		config.Embedders = []embedding.Embedder{embedtest.New(embedtest.Config{Model: further, Dimensions: 32, Fail: fail})}
	}
	mem, err := llmemory.New(store, config)
	if err != nil {
		s.t.Fatal(err)
	}
	return mem
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
	results, err := s.still().Owner(owner).AddMany(s.t.Context(), docs)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// addPlain is add without an embedder.
func (s *scene) addPlain(owner string, docs ...llmemory.Document) {
	s.t.Helper()
	defer func(embeds bool) { s.embeds = embeds }(s.embeds)
	s.embeds = false
	s.add(owner, docs...)
}

// untidied does something in a transaction of the host's, which leaves undone what maintenance would do afterwards.
func (s *scene) untidied(do func(context.Context, *llmemory.Memory) error) {
	s.t.Helper()
	err := pgx.BeginFunc(s.t.Context(), s.db, func(tx pgx.Tx) error {
		return do(s.t.Context(), s.still().On(s.direct.WithTx(tx)))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// tables are those of every store. The vectors of all generations count as one more.
var tables = []string{"documents", "document_chunks", "document_owners", "text_segments", "text_postings", "embedding_generations", "embedding_queue"}

// snapshot is a digest of the rows of every table, and of all vectors. Times of documents written after the state was saved count as
// equal, and of a job's only counts whether it is hours ahead; leases are equal whoever holds them, and generations whatever their
// number.
type snapshot [8]string

func (s *scene) snapshot() snapshot {
	s.t.Helper()
	out, err := s.digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *scene) digest() (out snapshot, err error) {
	sets, err := s.sets("public")
	if err != nil {
		return out, err
	}
	rows := map[string]string{
		"documents": `to_jsonb(r) || jsonb_build_object('created_at', least(r.created_at, $1), 'updated_at', least(r.updated_at, $1))`,
		"embedding_generations": `to_jsonb(r) - '{generation,created_at,activated_at,backfill_after}'::text[]
			|| jsonb_build_object('activated', r.activated_at IS NOT NULL)`,
		"embedding_queue": `to_jsonb(r) - '{generation,due_at,queued_at,lease_token}'::text[] || jsonb_build_object(
			'generation', (SELECT identity FROM embedding_generations g WHERE g.generation = r.generation),
			'leased', r.lease_token IS NOT NULL, 'later', r.due_at > $1 + interval '1 hour')`,
	}
	parts, dest := make([]string, len(out)), make([]any, len(out))
	for i := range out {
		dest[i] = &out[i]
		row, from := "r", ""
		if i < len(tables) {
			from = tables[i]
			if special := rows[from]; special != "" {
				row = "(" + special + ")"
			}
		} else {
			from = "(SELECT '' WHERE false"
			for _, set := range sets {
				from += fmt.Sprintf(` UNION ALL SELECT (SELECT identity FROM embedding_generations WHERE generation = %s) || v::text FROM %s v`,
					strings.TrimPrefix(set, "embeddings_"), set)
			}
			from += ")"
		}
		parts[i] = fmt.Sprintf(`(SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(%s::text, 0)), 0) FROM %s r)`, row, from)
	}
	err = s.db.QueryRow(s.t.Context(), "SELECT "+strings.Join(parts, ", ")+" WHERE $1::timestamptz IS NOT NULL", s.at).Scan(dest...)
	return out, err
}

// sets are the tables of vectors in a schema.
func (s *scene) sets(schema string) ([]string, error) {
	rows, err := s.db.Query(s.t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename ~ '^embeddings_[0-9]+$' ORDER BY 1`, schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// save makes the present state the one that restore goes back to.
func (s *scene) save() {
	s.t.Helper()
	must(s.t, s.db.QueryRow(s.t.Context(), `SELECT clock_timestamp()`).Scan(&s.at))
	sql := `CREATE SCHEMA saved;`
	for _, table := range tables {
		sql += fmt.Sprintf(`CREATE TABLE saved.%[1]s AS TABLE %[1]s;`, table)
	}
	sets, err := s.sets("public")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, set := range sets {
		sql += fmt.Sprintf(`CREATE TABLE saved.%[1]s (LIKE %[1]s INCLUDING ALL); INSERT INTO saved.%[1]s TABLE %[1]s;`, set)
	}
	s.exec(sql)
	s.saved = s.snapshot()
}

// restore puts the saved rows back into the tables that are not as they were, and into those of whose rows a snapshot does not tell all.
func (s *scene) restore(from snapshot) {
	s.t.Helper()
	sql := ""
	for i, table := range tables {
		if from[i] != s.saved[i] || s.embeds && strings.HasPrefix(table, "embedding") {
			sql += fmt.Sprintf(`DELETE FROM %[1]s; INSERT INTO %[1]s OVERRIDING SYSTEM VALUE TABLE saved.%[1]s;`, table)
		}
	}
	if last := len(from) - 1; from[last] != s.saved[last] || s.embeds {
		now, err := s.sets("public")
		if err != nil {
			s.t.Fatal(err)
		}
		kept, err := s.sets("saved")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, set := range now {
			if !slices.Contains(kept, set) {
				sql += fmt.Sprintf(`DROP TABLE %s;`, set)
			}
		}
		for _, set := range kept {
			if slices.Contains(now, set) {
				sql += fmt.Sprintf(`DELETE FROM %s;`, set)
			} else {
				sql += fmt.Sprintf(`CREATE TABLE %[1]s (LIKE saved.%[1]s INCLUDING ALL);`, set)
			}
			sql += fmt.Sprintf(`INSERT INTO %[1]s TABLE saved.%[1]s;`, set)
		}
	}
	if sql != "" { // without foreign keys, as tables are put back one by one
		s.exec("SET session_replication_role = replica;" + sql + "SET session_replication_role = origin")
	}
}

// settle lets some time pass, in which leases end and what failed becomes due, and then has done what is queued.
func (s *scene) settle() snapshot {
	s.t.Helper()
	s.pass()
	if _, err := s.still().EmbedQueue(s.t.Context(), nil); err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(checkStored(s.t.Context(), s.direct), checkAllVectors(s.t.Context(), s.direct)); err != nil {
		s.t.Fatalf("after all is embedded: %v", err)
	}
	return s.snapshot()
}

// pass lets some time pass.
func (s *scene) pass() {
	s.t.Helper()
	_, err := s.db.Exec(s.t.Context(), `UPDATE embedding_queue SET due_at = clock_timestamp() - interval '1 second'
		WHERE NOT dead AND due_at < $1::timestamptz + interval '1 hour'`, s.at)
	must(s.t, err)
}

// operation is a call that is cut at every message.
type operation struct {
	name   string
	embeds bool // with an embedder
	// arrange makes what the call finds.
	arrange func(s *scene)
	// act makes the call, and says what of its answer must be the same when it is repeated.
	act func(ctx context.Context, mem *llmemory.Memory) (answer string, err error)
	// between are the states that a call of several transactions may leave behind, each made from the one that arrange made. The state
	// in which an embedder is asked comes behind them by itself.
	between []func(s *scene)
	// done is the first state that has what the call promises, by default the last: with it a failure is no failure of the call, or
	// else its outcome is said to be unknown. Beyond it, the call embeds or tidies up.
	done int
	// steps says that each step stays, whatever becomes of the next: an error says only that the call did not come to its end.
	steps bool
	// fault is what the embedder fails with.
	fault error
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
		between: []func(*scene){func(s *scene) {
			s.untidied(func(ctx context.Context, mem *llmemory.Memory) error {
				_, err := deleteHalf(ctx, mem)
				return err
			})
		}},
		done: 1,
		act:  deleteHalf,
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
		between: []func(*scene){func(s *scene) {
			if _, err := maintain(s.t.Context(), s.still()); err != nil {
				s.t.Fatal(err)
			}
		}},
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
// others twice all the same. With an embedder the short form also leaves out the points behind messages that have nothing done.
func (s *scene) cuts(kinds string, before func(), call func() error, after func(point string, err error)) {
	s.t.Helper()
	for k := 1; ; k++ {
		answered := k == 1 || k > len(kinds) || kinds[k-2] == 'S'
		for _, side := range []string{"before", "after"} {
			idle := k <= len(kinds) && !strings.ContainsRune("ESQ", rune(kinds[k-1]))
			switch {
			case side == "after" && idle && s.embeds && !soak.On():
				continue
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
	for _, op := range append(operations, embeddings...) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.embeds = op.embeds
			s.addPlain("p", llmemory.Document{Key: "1", Content: "alpha of a bystander"})
			if op.arrange != nil {
				op.arrange(s)
			}
			s.save()
			course := s.course(op)
			states, done, last := course.states, course.done, len(course.states)-1
			now := states[last].stored
			cuts, unknown := 0, 0
			call := func() error {
				s.asked = func() error { return op.fault }
				_, err := op.act(t.Context(), s.mem())
				return err
			}
			settled := map[int]bool{last: true}
			s.cuts(course.kinds, func() { s.restore(now) }, call, func(point string, err error) {
				at := course.find(t, s)
				wrong := judge(err, at < done, at >= done)
				if op.steps {
					wrong = judge(err, true, at == last)
				}
				if wrong != nil {
					t.Errorf("%s, state %d: %v", point, at, wrong)
				}
				if at > 0 && errors.Is(err, llmemory.ErrCommitUnknown) {
					unknown++
				}
				if found := s.searches(); !slices.Equal(found, states[at].found) {
					t.Errorf("%s: found %q, want %q", point, found, states[at].found)
				}
				if op.embeds {
					s.pass()
				}
				again, err := op.act(t.Context(), s.mem())
				end := course.find(t, s)
				if err != nil || again != course.answer || end < done || end < at {
					t.Errorf("%s, the same call again: %q, %v, from state %d to %d; want %q and state %d", point, again, err, at, end, course.answer, done)
				}
				now = states[end].stored
				if op.embeds && (!settled[end] || soak.On()) {
					settled[end] = true
					if now = s.settle(); now != course.settled {
						t.Errorf("%s: once all is embedded the state is another", point)
					}
				}
				cuts++
			})
			if unknown == 0 {
				t.Error("no cut fell between a COMMIT and its answer")
			}
			t.Logf("%d messages, %d cuts, %d of them between a COMMIT and its answer, %d states", len(course.kinds), cuts, unknown, last+1)
		})
	}
}

// TestCutReads cuts the connection before and after every message of everything that reads: the answer is the same, or else the
// error says that the database was unavailable. What takes a single round trip always succeeds at its second attempt.
func TestCutReads(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"text", "vectors"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.embeds = name == "vectors"
			cutReads(t, s)
		})
	}
}

func cutReads(t *testing.T, s *scene) {
	s.add("o", llmemory.Document{Key: "1", Language: "en", Content: "alpha one\nalpha two\nalpha three"},
		llmemory.Document{OriginID: "b", Key: "2", Language: "en", Content: "alpha four\nbeta"})
	s.add("o", llmemory.Document{OriginID: "c", Key: "3", Language: "en", Content: "gamma", Embed: llmemory.EmbedLater})
	mem := s.mem()
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
		{"Search by text", 2, search(llmemory.SearchOptions{Mode: llmemory.ByText})},
		{"Queue", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return o.Queue(ctx, 0) }},
		{"Generations", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) { return mem.Generations(ctx) }},
		{"Progress", 1, func(ctx context.Context, o *llmemory.Owner) (any, error) {
			if !s.embeds {
				return nil, nil
			}
			return mem.Progress(ctx, 1)
		}},
	} {
		ws := mem.Owner("o")
		if _, err := op.act(t.Context(), ws); err != nil { // learns what is learned once
			t.Fatal(err)
		}
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
type course struct {
	states  []courseState
	done    int // the first state that has what the call promises
	answer  string
	kinds   string   // messages
	settled snapshot // once all is embedded
}

type courseState struct {
	stored snapshot
	found  []string
}

// course runs an operation uncut.
func (s *scene) course(op operation) *course {
	s.t.Helper()
	c := &course{}
	note := func() error {
		stored, err := s.digest()
		if err != nil || slices.ContainsFunc(c.states, func(known courseState) bool { return known.stored == stored }) {
			return err
		}
		found, err := s.ask()
		if err == nil && (len(c.states) > 0 || !op.stale) {
			err = checkStored(s.t.Context(), s.direct)
		}
		if err != nil {
			return fmt.Errorf("state %d: %w", len(c.states), err)
		}
		c.states = append(c.states, courseState{stored, found})
		return nil
	}
	must(s.t, note())
	for _, between := range op.between {
		between(s)
		must(s.t, note())
		s.restore(c.states[len(c.states)-1].stored)
	}
	s.asked = func() error { return errors.Join(note(), op.fault) }
	_, err := s.line.Generations(s.t.Context(), llmemory.GenerationsParams{}) // which a store remembers
	must(s.t, err)
	s.proxy.Arm()
	c.answer, err = op.act(s.t.Context(), s.mem())
	must(s.t, err)
	c.kinds = s.proxy.Kinds()
	must(s.t, note())
	if len(c.states) < 2+len(op.between) {
		s.t.Fatalf("%d states, want those before, between and after to differ", len(c.states))
	}
	if c.done = op.done; c.done == 0 {
		c.done = len(c.states) - 1
	}
	if op.embeds {
		c.settled = s.settle()
		s.restore(c.settled)
	}
	return c
}

// find says which state is stored now.
func (c *course) find(t *testing.T, s *scene) int {
	t.Helper()
	now := s.snapshot()
	for i := range c.states {
		if c.states[i].stored == now {
			return i
		}
	}
	for i := range c.states {
		for j, table := range append(slices.Clone(tables), "vectors") {
			if c.states[i].stored[j] != now[j] {
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
	out, err := s.ask()
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *scene) ask() (out []string, err error) {
	for _, query := range []string{"alpha", `"alpha three" -two`} {
		r, err := s.still().Owner("o").Search(s.t.Context(), query, &llmemory.SearchOptions{Limit: 5, Parents: true, Neighbours: 1, Snippet: -1})
		if err != nil {
			return nil, fmt.Errorf("%q: %w", query, err)
		}
		answer := query
		for _, h := range r.Hits {
			answer += fmt.Sprintf(" %s:%.9f:%d:%v", h.ID, h.Score, h.Document.Version, h.Parent)
		}
		out = append(out, fmt.Sprint(answer, r.Degraded))
	}
	return out, nil
}
