package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// call is a call of the public interface. Its name is the method's, and what is special.
type call struct {
	name string
	run  func(ctx context.Context) error
}

// calls are calls of every method that talks to the database, failing ones among them, in an order in which each finds something
// to do. The schema is migrated by the first and is as it was at the end.
func calls(db *pgdbm.DB) []call {
	var (
		store *postgres.Store
		mem   *llmemory.Memory
		ws    *llmemory.Owner
		note  llmemory.Added
		view  llmemory.View
		edit  llmemory.Edit
		host  pgx.Tx

		generation int64
	)
	smart := sync.OnceValue(func() *llmemory.Memory { // made when the store is there
		m, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedtest.New(embedtest.Config{})})
		if err != nil {
			panic(err) // the configuration is right
		}
		return m
	})
	pool := db.Pool().Pgx()
	fails := func(err, want error) error {
		if !errors.Is(err, want) {
			return fmt.Errorf("got %v, want %v", err, want)
		}
		return nil
	}
	counts := func(what string, got, want int, err error) error {
		if err == nil && got != want {
			return fmt.Errorf("%d %s, want %d", got, what, want)
		}
		return err
	}
	add := func(ctx context.Context, name, text string) error {
		_, err := ws.Add(ctx, llmemory.Document{OriginID: "ann", Name: name, Content: text, Language: "en"})
		return err
	}
	search := func(query string, hits int, o llmemory.SearchOptions) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := ws.Search(ctx, query, &o)
			if err != nil {
				return err
			}
			return counts("hits", len(r.Hits), hits, nil)
		}
	}
	list := func(want int, o llmemory.ListOptions) func(context.Context) error {
		return func(ctx context.Context) error {
			page, err := ws.List(ctx, &o)
			if err != nil {
				return err
			}
			return counts("documents", page.Total, want, nil)
		}
	}
	migrator := func() *pgdbm.Migrator {
		m, err := postgres.Migrations(db)
		if err != nil {
			panic(err) // the files of the package itself
		}
		return m
	}
	where := func(f llmemory.Filter) llmemory.Where { return llmemory.Where{Metadata: f} }
	pages, state, tags := llmemory.Meta("pages"), llmemory.Meta("state"), llmemory.Meta("tags")
	date := time.Date(2024, 7, 1, 12, 0, 0, 0, time.UTC)

	out := []call{
		{"New with migrations pending, which it must not run", func(ctx context.Context) error {
			_, err := postgres.New(ctx, db, &postgres.Options{RequireMigrated: true})
			return fails(err, pgdbm.ErrPending)
		}},
		{"Verify of nothing", func(ctx context.Context) error { return fails(postgres.Verify(ctx, db), pgdbm.ErrPending) }},
		{"Migrator.Plan", func(ctx context.Context) error { _, err := migrator().Plan(ctx); return err }},
		{"New, migrating", func(ctx context.Context) (err error) { _, err = postgres.New(ctx, db, nil); return err }},
		{"New", func(ctx context.Context) (err error) {
			if store, err = postgres.New(ctx, db, &postgres.Options{IndexFrom: 40}); err != nil {
				return err
			}
			if mem, err = llmemory.New(store, &llmemory.Config{Chunker: lines, Logger: slog.New(slog.DiscardHandler)}); err == nil {
				ws = mem.Owner("o")
			}
			return err
		}},
		{"Migrate with nothing pending", func(ctx context.Context) error {
			done, err := postgres.Migrate(ctx, db)
			return counts("migrations", len(done), 0, err)
		}},
		{"Verify, Migrator.Verify", func(ctx context.Context) error { return postgres.Verify(ctx, db) }},
		{"Migrator.Status", func(ctx context.Context) error { _, err := migrator().Status(ctx); return err }},
		{"Migrator.Up, Migrator.UpTo with nothing pending", func(ctx context.Context) error {
			done, err := migrator().Up(ctx)
			return counts("migrations", len(done), 0, err)
		}},
		{"Migrator.Baseline with nothing pending", func(ctx context.Context) error {
			done, err := migrator().Baseline(ctx, 1)
			return counts("migrations", len(done), 0, err)
		}},

		{"Owner.Add", func(ctx context.Context) (err error) {
			note, err = ws.Add(ctx, llmemory.Document{OriginID: "ann", Name: "note", Type: llmemory.Report, Date: date, Language: "en",
				Metadata: map[string]any{"pages": 12, "state": "draft", "tags": []string{"river", "flood"}},
				Content:  "Water levels\nThe river rose by two metres."})
			return err
		}},
		{"Owner.Add, updating", func(ctx context.Context) (err error) {
			note, err = ws.Add(ctx, llmemory.Document{OriginID: "ann", Name: "note", Type: llmemory.Report, Date: date, Language: "en",
				Metadata: map[string]any{"pages": 12, "state": "draft", "tags": []string{"river", "flood"}},
				Content:  "Water levels\nThe river rose by three metres.\nThe bridge is closed."})
			return counts("chunks reused", note.ChunksReused, 1, err)
		}},
		{"Owner.Add, refused", func(ctx context.Context) error {
			_, err := ws.Add(ctx, llmemory.Document{OriginID: "ann", Name: "note", Content: "other", IfExists: llmemory.Refuse})
			return fails(err, llmemory.ErrConflict)
		}},
		{"Owner.Add, invalid", func(ctx context.Context) error { return fails(add(ctx, "empty", " "), llmemory.ErrInvalid) }},
		{"Owner.AddMany", func(ctx context.Context) error {
			results, err := ws.AddMany(ctx, []llmemory.Document{{Name: "a", Content: "alpha"}, {Name: "b"}, {Name: "c", Content: "gamma"}})
			if err := fails(results[1].Err, llmemory.ErrInvalid); err != nil {
				return err
			}
			return counts("results", len(results), 3, err)
		}},
		{"Owner.Add, folding", func(ctx context.Context) error {
			for i := range 40 {
				if err := add(ctx, fmt.Sprint("small ", i), fmt.Sprint("delta ", i)); err != nil {
					return err
				}
			}
			stats, err := ws.Stats(ctx)
			if err != nil {
				return err
			}
			if stats.Index.Segments > 32 {
				return fmt.Errorf("%d segments, so nothing was folded", stats.Index.Segments)
			}
			for i := range 8 {
				if err := add(ctx, fmt.Sprint("large ", i), numbered(520, fmt.Sprint("epsilon", i, "x%d"))); err != nil {
					return err
				}
			}
			return nil
		}},
		{"Memory.Maintain, merging", func(ctx context.Context) error {
			steps, err := mem.Maintain(ctx)
			if err == nil && steps == 0 {
				return errors.New("nothing was merged")
			}
			return err
		}},
		{"Memory.Maintain, rebuilding an index", func(ctx context.Context) error {
			if _, err := db.Exec(ctx, "UPDATE {{tables.document_owners}} SET analysis = analysis - 1"); err != nil {
				return err
			}
			if _, err := mem.Maintain(ctx); err != nil {
				return err
			}
			stats, err := ws.Stats(ctx)
			if err == nil && stats.Index.Stale {
				return errors.New("the index was not rebuilt")
			}
			return err
		}},
		{"Memory.Run", func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			before := pool.Stat().AcquireCount()
			go func() { // ends it when it has looked for work and waits
				for ctx.Err() == nil && (pool.Stat().AcquireCount() == before || pool.Stat().AcquiredConns() > 0) {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			return fails(mem.Run(ctx), context.Canceled)
		}},
		{"Memory.On, Store.WithTx", func(ctx context.Context) (err error) {
			if host, err = pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable}); err != nil {
				return err
			}
			defer host.Rollback(ctx)
			ws := mem.On(store.WithTx(host)).Owner("o")
			if _, err := ws.Add(ctx, llmemory.Document{Name: "in a transaction", Content: "zeta"}); err != nil {
				return err
			}
			r, err := ws.Search(ctx, "zeta", nil)
			if err != nil {
				return err
			}
			return counts("hits", len(r.Hits), 1, host.Commit(ctx))
		}},

		{"Owner.Search", search("river", 1, llmemory.SearchOptions{})},
		{"Owner.Search for nothing", search("unheard", 0, llmemory.SearchOptions{})},
		{"Owner.Search for many", search("delta", 10, llmemory.SearchOptions{Mode: llmemory.ByText, Explain: true})},
		{"Owner.Search for a phrase", search(`"rose by three"`, 1, llmemory.SearchOptions{})},
		{"Owner.Search without", search(`river -metres`, 0, llmemory.SearchOptions{})},
		{"Owner.Search with context", search("rose", 1, llmemory.SearchOptions{Parents: true, Neighbours: 2})},
		{"Owner.Search of an origin", search("delta", 0, llmemory.SearchOptions{Where: llmemory.Where{Origins: []string{"bob"}}})},
		{"Owner.Search, invalid", func(ctx context.Context) error {
			_, err := ws.Search(ctx, "", nil)
			return fails(err, llmemory.ErrInvalid)
		}},
	}
	for i, f := range []llmemory.Filter{
		pages.Eq(12), pages.Ne(13), pages.In(11, 12), pages.Nin(11), pages.Lt(13), pages.Lte(12), pages.Gt(11), pages.Gte(12),
		state.Exists(true), state.Lt("e"), state.Prefix("dr"), state.Contains("raf"), tags.Contains("flood"),
		llmemory.And(state.Eq("draft"), llmemory.Or(pages.Eq(1), llmemory.Not(pages.Eq(1)))),
	} {
		w := where(f)
		w.Origins, w.Types, w.From, w.To = []string{"ann", "bob"}, []llmemory.Type{llmemory.Report}, date, date
		out = append(out, call{fmt.Sprintf("Owner.Search, filter %d: %s", i, f), search("river", 1, llmemory.SearchOptions{Where: w})})
		out = append(out, call{fmt.Sprintf("Owner.List, filter %d: %s", i, f), list(1, llmemory.ListOptions{Where: w})})
	}
	out = append(out, []call{
		{"Owner.Get", func(ctx context.Context) error { _, err := ws.Get(ctx, note.DocumentID); return err }},
		{"Owner.Get of nothing", func(ctx context.Context) error {
			_, err := ws.Get(ctx, "00000000-0000-8000-8000-000000000000")
			return fails(err, llmemory.ErrNotFound)
		}},
		{"Owner.GetWithChunks", func(ctx context.Context) error {
			_, chunks, err := ws.GetWithChunks(ctx, note.DocumentID)
			return counts("chunks", len(chunks), 3, err)
		}},
		{"Owner.Text", func(ctx context.Context) error { _, err := ws.Text(ctx, note.DocumentID); return err }},
		{"Owner.Chunks", func(ctx context.Context) error {
			_, total, err := ws.Chunks(ctx, note.DocumentID, nil)
			return counts("chunks", total, 3, err)
		}},
		{"Owner.Snapshots, Owner.Restore of what is there", func(ctx context.Context) error {
			found, _, err := ws.Snapshots(ctx, []string{note.DocumentID}, []int64{generation})
			if err != nil {
				return err
			}
			restored, err := ws.Restore(ctx, found, nil)
			if err != nil || restored[0].Status != llmemory.Unchanged {
				return fmt.Errorf("%+v, %w", restored, err)
			}
			return nil
		}},
		{"Owner.Restore for another owner, Owner.DeleteAll of what was restored", func(ctx context.Context) error {
			found, _, err := ws.Snapshots(ctx, []string{note.DocumentID}, nil)
			if err != nil {
				return err
			}
			heir := mem.Owner("heir")
			if restored, err := heir.Restore(ctx, found, &llmemory.RestoreOptions{From: "o"}); err != nil || restored[0].Status != llmemory.Created {
				return fmt.Errorf("%+v, %w", restored, err)
			}
			deleted, err := heir.DeleteAll(ctx)
			return counts("documents", len(deleted.DocumentIDs), 1, err)
		}},
		{"Owner.List by date", list(52, llmemory.ListOptions{OrderBy: llmemory.ByDate, Offset: 10, Limit: 10})},
		{"Owner.Stats", func(ctx context.Context) error {
			stats, err := ws.Stats(ctx)
			if err != nil {
				return err
			}
			return counts("documents", int(stats.Documents), 52, nil)
		}},

		{"Owner.Preview", func(ctx context.Context) error {
			found, err := ws.Preview(ctx, []llmemory.Document{{Name: "previewed", Content: "eta"}})
			return counts("documents", len(found), 1, err)
		}},
		{"Owner.LogRun, Store.PutRun, Owner.Run, Owner.RunFiles, Owner.SourceFiles", func(ctx context.Context) error {
			log := ws.LogRun("ann", []string{"/a"})
			log.Note(llmemory.RunFile{Source: "/a", Path: "/a/b", DocumentID: note.DocumentID, Outcome: llmemory.Created}, 0)
			run, err := log.End(ctx, true)
			if err != nil {
				return err
			}
			if _, err := ws.Run(ctx, run.ID); err != nil {
				return err
			}
			if _, err := ws.RunFiles(ctx, run.ID, nil); err != nil {
				return err
			}
			found, err := ws.SourceFiles(ctx, "ann", "/a")
			return counts("files", len(found), 1, err)
		}},
		{"Owner.Runs, Store.Runs, Store.RunFiles, Store.SourceFiles, Store.Failures, Store.ForgetRuns", func(ctx context.Context) error {
			if _, err := ws.Runs(ctx, nil); err != nil {
				return err
			}
			if _, err := store.Runs(ctx, llmemory.RunsParams{Owner: "o", Limit: 10}); err != nil {
				return err
			}
			if _, err := store.RunFiles(ctx, llmemory.RunFilesParams{Owner: "o", Run: 1, Limit: 10}); err != nil {
				return err
			}
			if _, err := store.SourceFiles(ctx, llmemory.SourceFilesParams{Owner: "o", OriginID: "default", Source: "/a", Limit: 10}); err != nil {
				return err
			}
			if _, err := store.Failures(ctx, llmemory.FailuresParams{Owner: "o", SourceHashes: [][]byte{{1}}}); err != nil {
				return err
			}
			n, err := store.ForgetRuns(ctx, llmemory.ForgetRunsParams{Owner: "o"})
			return counts("runs", n, 1, err)
		}},

		{"Store.Lookup", func(ctx context.Context) error {
			identities := []llmemory.Identity{{OriginID: "ann", Key: "note"}, {OriginID: "ann", Key: "nothing"}}
			found, err := store.Lookup(ctx, llmemory.LookupParams{Owner: "o", Identities: identities})
			return counts("documents", len(found), 1, err)
		}},
		{"Store.Document, Store.Chunks, Store.List, Store.Stats of nobody", func(ctx context.Context) error {
			_, _, err := store.Document(ctx, llmemory.DocumentParams{Owner: "x", DocumentID: note.DocumentID})
			if err := fails(err, llmemory.ErrNotFound); err != nil {
				return err
			}
			_, _, err = store.Chunks(ctx, llmemory.ChunksParams{Owner: "x", DocumentID: note.DocumentID, Limit: 1})
			if err := fails(err, llmemory.ErrNotFound); err != nil {
				return err
			}
			if _, err := store.Stats(ctx, llmemory.StatsParams{Owner: "x"}); err != nil {
				return err
			}
			_, total, err := store.List(ctx, llmemory.ListParams{Owner: "x", OrderBy: llmemory.ByName, Limit: 1})
			return counts("documents", total, 0, err)
		}},
		{"Store.Backlog", func(ctx context.Context) error {
			owners, err := store.Backlog(ctx, llmemory.BacklogParams{Analysis: 1 << 20, Limit: 10})
			return counts("owners", len(owners), 1, err)
		}},
		{"Store.DocumentIDs", func(ctx context.Context) error {
			ids, err := store.DocumentIDs(ctx, llmemory.DocumentIDsParams{Owner: "o", Limit: 10})
			return counts("documents", len(ids), 10, err)
		}},
		{"Store.Owners", func(ctx context.Context) error {
			owners, err := store.Owners(ctx, llmemory.OwnersParams{Limit: 10})
			return counts("owners", len(owners), 1, err)
		}},
		{"Store.Info", func(ctx context.Context) error { _, err := store.Info(ctx); return err }},
		{"Store.View, View.Close, not asked", func(ctx context.Context) (err error) {
			if view, err = store.View(ctx, llmemory.ViewParams{Owner: "o"}); err != nil {
				return err
			}
			return view.Close(ctx)
		}},
		{"View.Postings, View.Match, closed early", func(ctx context.Context) (err error) {
			if view, err = store.View(ctx, llmemory.ViewParams{Owner: "o"}); err != nil {
				return err
			}
			_, err = view.Postings(ctx, llmemory.PostingsParams{Owner: "o", Terms: []string{"en:river"}})
			if err == nil {
				_, err = view.Match(ctx, llmemory.MatchParams{Owner: "o", Ordinals: []uint64{0, 1}, Stages: [3]int{1, 1, 0}, Limit: 2})
			}
			return errors.Join(err, view.Close(ctx))
		}},
		{"View.Hits", func(ctx context.Context) (err error) {
			if view, err = store.View(ctx, llmemory.ViewParams{Owner: "o"}); err != nil {
				return err
			}
			_, err = view.Hits(ctx, llmemory.HitsParams{Owner: "o", Ordinals: []uint64{0}, Groups: []int{0}, Limit: 1})
			return errors.Join(err, view.Close(ctx))
		}},
		{"Store.Edit, Edit.Load, Edit.Leaves, Edit.Put, Edit.Rollback", func(ctx context.Context) (err error) {
			if edit, err = store.Edit(ctx, llmemory.EditParams{Owner: "o", Where: &llmemory.Where{}}); err != nil {
				return err
			}
			_, err = edit.Leaves(ctx, llmemory.LeavesParams{Owner: "o", After: -1, Limit: 10})
			loaded, err2 := edit.Load(ctx, llmemory.LoadParams{Owner: "o", Segments: []int64{edit.Segments()[0].ID}})
			err3 := edit.Put(ctx, llmemory.PutParams{Owner: "o", Pages: []llmemory.IndexPage{{Segment: 1 << 40, First: "en:x", Postings: []byte{}, Positions: []byte{}}}})
			return errors.Join(err, counts("segments", len(loaded), 1, err2), err3, edit.Rollback(ctx))
		}},
		{"Edit.Commit", func(ctx context.Context) (err error) {
			if edit, err = store.Edit(ctx, llmemory.EditParams{Owner: "o"}); err != nil {
				return err
			}
			_, err = edit.Commit(ctx, llmemory.Changes{Owner: "o", State: edit.State()})
			return err
		}},
		{"Edit.Commit, refused by the server", func(ctx context.Context) (err error) {
			if edit, err = store.Edit(ctx, llmemory.EditParams{Owner: "o"}); err != nil {
				return err
			}
			s := edit.Segments()[0]
			_, err = edit.Commit(ctx, llmemory.Changes{Owner: "o", State: edit.State(), InsertSegments: []llmemory.LoadedSegment{{Segment: s}}})
			if !pgdbm.IsUniqueViolation(err) {
				return fmt.Errorf("got %v, want a unique violation", err)
			}
			return nil
		}},

		{"Memory.Generations, Memory.AddGeneration, Memory.Estimate, Memory.Progress, Store.Generations, Store.AddGeneration, Store.Inputs, " +
			"Store.Progress", func(ctx context.Context) error {
			if _, err := smart().AddGeneration(ctx, nil, ""); err != nil {
				return err
			}
			if _, err := smart().Estimate(ctx, nil); err != nil {
				return err
			}
			list, err := smart().Generations(ctx)
			if err := counts("generations", len(list), 1, err); err != nil {
				return err
			}
			generation = list[0].ID
			p, err := smart().Progress(ctx, generation)
			if err != nil {
				return err
			}
			return counts("vectors", int(p.Vectors), 0, nil)
		}},
		{"Memory.EmbedQueue, Store.Backfill, Store.Claim, Store.Complete, Store.Known", func(ctx context.Context) error {
			p, err := smart().EmbedQueue(ctx, nil)
			if err == nil && p.Embedded == 0 {
				err = errors.New("nothing was embedded")
			}
			return err
		}},
		{"Store.Embedded", func(ctx context.Context) error {
			found, err := store.Embedded(ctx, llmemory.EmbeddedParams{Owner: "o", Generation: generation, Ordinals: []uint64{1 << 40}})
			return counts("vectors", len(found), 0, err)
		}},
		{"Owner.Add with vectors, Edit.Generations", func(ctx context.Context) error {
			added, err := smart().Owner("o").Add(ctx, llmemory.Document{OriginID: "smart", Name: "smart", Content: "clever river"})
			if err := counts("embedded", added.Embedded, 1, err); err != nil {
				return err
			}
			added, err = smart().Owner("o").Add(ctx, llmemory.Document{OriginID: "smart", Name: "smart", Content: "clever house", Embed: llmemory.EmbedLater})
			return counts("pending", added.Pending, 1, err)
		}},
		{"EnableRowSecurity, RowSecurityOf, DisableRowSecurity", func(ctx context.Context) error {
			if err := postgres.EnableRowSecurity(ctx, db, ""); err != nil {
				return err
			}
			if s, err := postgres.RowSecurityOf(ctx, db); err != nil || !s.On {
				return fmt.Errorf("%+v: %w", s, err)
			}
			return postgres.DisableRowSecurity(ctx, db)
		}},
		{"Store.Extend, Store.Fail, Owner.Queue, Owner.RetryQueue, Store.Queue, Store.RetryQueue", func(ctx context.Context) error {
			const token = "00000000-0000-4000-8000-000000000001"
			jobs, err := store.Claim(ctx, llmemory.ClaimParams{Generation: generation, Token: token, Lease: time.Minute, Limit: 10})
			if err := counts("jobs", len(jobs), 1, err); err != nil {
				return err
			}
			n, err := store.Extend(ctx, llmemory.ExtendParams{Generation: generation, Token: token, Lease: time.Minute})
			if err := counts("jobs extended", n, 1, err); err != nil {
				return err
			}
			err = store.Fail(ctx, llmemory.FailParams{Generation: generation, Token: token, Items: []llmemory.FailItem{
				{Owner: "o", Ordinal: jobs[0].Ordinal, Reason: "refused", Tried: true, Dead: true}}})
			if err != nil {
				return err
			}
			q, err := ws.Queue(ctx, 0)
			if err != nil {
				return err
			}
			if err := counts("dead", int(q.Dead), 1, nil); err != nil {
				return err
			}
			n, err = ws.RetryQueue(ctx)
			return counts("retried", n, 1, err)
		}},
		{"Owner.Search by vector", func(ctx context.Context) error {
			r, err := smart().Owner("o").Search(ctx, "river", &llmemory.SearchOptions{Mode: llmemory.ByVector})
			if err != nil {
				return err
			}
			return counts("hits", len(r.Hits), 10, nil)
		}},
		{"Owner.Search by both, filtered", func(ctx context.Context) error {
			r, err := smart().Owner("o").Search(ctx, "river", &llmemory.SearchOptions{Where: where(pages.Eq(12))})
			if err != nil {
				return err
			}
			return counts("degraded", len(r.Degraded), 0, nil)
		}},
		{"Memory.TuneIndexes, Store.Tune", func(ctx context.Context) error {
			worked, err := smart().TuneIndexes(ctx)
			if err == nil && !worked {
				err = errors.New("no index was built")
			}
			return err
		}},
		{"Owner.Search by vector, with an index", func(ctx context.Context) error {
			for i := range 2 { // the first learns of the index
				r, err := smart().Owner("o").Search(ctx, "river", &llmemory.SearchOptions{Mode: llmemory.ByVector, Explain: true})
				if err == nil {
					err = counts("hits", len(r.Hits), 10, nil)
				}
				if err != nil {
					return err
				}
				if i > 0 && !strings.HasPrefix(r.Explanation.Plan, "index ") {
					return fmt.Errorf("the plan is %q", r.Explanation.Plan)
				}
			}
			return nil
		}},
		{"Store.Wake", func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			wake := store.Wake(ctx)
			cancel()
			for range wake {
			}
			return nil
		}},
		{"Memory.ActivateGeneration, Memory.RetireGeneration, Store.ActivateGeneration, Store.RetireGeneration", func(ctx context.Context) error {
			if _, err := smart().ActivateGeneration(ctx, generation, true); err != nil {
				return err
			}
			if err := smart().RetireGeneration(ctx, generation, true); err != nil {
				return err
			}
			deleted, err := ws.DeleteWhere(ctx, llmemory.Where{Origins: []string{"smart"}})
			return counts("documents", len(deleted.DocumentIDs), 1, err)
		}},

		{"Owner.Delete", func(ctx context.Context) error {
			deleted, err := ws.Delete(ctx, note.DocumentID, "00000000-0000-8000-8000-000000000000")
			return counts("documents", len(deleted.DocumentIDs), 1, err)
		}},
		{"Owner.DeleteWhere", func(ctx context.Context) error {
			deleted, err := ws.DeleteWhere(ctx, llmemory.Where{Origins: []string{"ann"}})
			return counts("documents", len(deleted.DocumentIDs), 48, err)
		}},
		{"Owner.DeleteAll", func(ctx context.Context) error {
			deleted, err := ws.DeleteAll(ctx)
			return counts("documents", len(deleted.DocumentIDs), 3, err)
		}},
		{"Migrator.Down", func(ctx context.Context) error {
			done, err := migrator().Down(ctx, 0)
			return counts("migrations", len(done), files, err)
		}},
		{"Migrate", func(ctx context.Context) error {
			done, err := postgres.Migrate(ctx, db)
			return counts("migrations", len(done), files, err)
		}},
		{"Store.Close", func(context.Context) error { return store.Close() }},
		{"Owner.Add after the end", func(ctx context.Context) error { return fails(add(ctx, "late", "late"), llmemory.ErrClosed) }},
	}...)
	return out
}

// The calls leave out no method.
func TestCallsAreComplete(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range calls(pgdbm.Wrap(nil, nil).Schema("none")) {
		names = append(names, regexp.MustCompile(`\w+\.\w+`).FindAllString(c.name, -1)...)
	}
	silent := []string{ // these do not talk to the database
		"Owner.ID", "Memory.Owner", "Memory.Store", "Store.DB", "Store.Joined", "Edit.State", "Edit.Documents", "Edit.Segments",
		"Owner.Fresh", "Store.Primary", "Store.Replicas",
	}
	for name, typ := range map[string]reflect.Type{
		"Owner": reflect.TypeFor[*llmemory.Owner](), "Memory": reflect.TypeFor[*llmemory.Memory](),
		"Store": reflect.TypeFor[*postgres.Store](), "View": reflect.TypeFor[llmemory.View](), "Edit": reflect.TypeFor[llmemory.Edit](),
		"Migrator": reflect.TypeFor[*pgdbm.Migrator](),
	} {
		for i := range typ.NumMethod() {
			if method := name + "." + typ.Method(i).Name; !slices.Contains(names, method) && !slices.Contains(silent, method) {
				t.Errorf("no call of %s", method)
			}
		}
	}
}

// hostState is what a host might have set up on each of its connections. It is to stay, and nothing is to join it.
const hostState = `
	LOAD 'vector';
	LOAD 'plpgsql';
	SET search_path = nowhere;
	SET work_mem = '5MB';
	SET TimeZone = 'Asia/Kathmandu';
	SET DateStyle = 'German';
	SET IntervalStyle = 'sql_standard';
	SET bytea_output = 'escape';
	SET lock_timeout = '50ms';
	CREATE TEMPORARY TABLE documents (locked boolean);
	CREATE TEMPORARY TABLE schema_migrations (version bigint, dirty boolean);
	PREPARE mine AS SELECT 1;
	DECLARE mine CURSOR WITH HOLD FOR SELECT 1;
	LISTEN mine;
	SELECT pg_advisory_lock(42)`

// sessionState is everything that could stay behind on a connection. It is read in the simple protocol, which leaves nothing itself.
func sessionState(t *testing.T, pool *pgxpool.Pool) (state []string, pid uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatalf("the connection was not given back: %v", err)
	}
	defer conn.Release()
	if status := conn.Conn().PgConn().TxStatus(); status != 'I' {
		state = append(state, "transaction "+string(status))
	}
	rows, err := conn.Query(t.Context(), `
SELECT 'setting ' || name || '=' || setting || ' by ' || source FROM pg_settings
	WHERE NOT (name LIKE '%.%' AND source = 'default') -- of a library that was loaded
UNION ALL SELECT 'statement ' || name FROM pg_prepared_statements
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
UNION ALL SELECT 'listen ' || c FROM pg_listening_channels() c
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
UNION ALL SELECT concat_ws(' ', 'lock', locktype, mode, classid, objid) FROM pg_locks
	WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid'
	AND (relation IS NULL OR relation NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace))
ORDER BY 1`, pgx.QueryExecModeSimpleProtocol)
	must(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return append(state, found...), conn.Conn().PgConn().PID()
}

// After every single call a borrowed connection is what it was, and still the same one; and the pool stays the host's to close.
func TestBorrowedConnectionsStayClean(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool := pgxPool(t, url, func(c *pgxpool.Config) {
		c.MaxConns = 1
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.PgConn().Exec(ctx, hostState).ReadAll()
			return err
		}
	})
	before, pid := sessionState(t, pool)
	for _, s := range []string{"cursor mine", "listen mine", "statement mine", "temporary documents", "lock advisory ExclusiveLock 0 42"} {
		if !slices.Contains(before, s) {
			t.Fatalf("the host's %s is not seen: %q", s, before)
		}
	}
	run(t, observer(t, url), "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
	db := pgdbm.Wrap(pool, nil).Schema(`Select "x"`)
	for _, c := range calls(db) {
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		after, again := sessionState(t, pool)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s left something on the connection (-before +after):\n%s", c.name, diff)
		}
		if again != pid {
			t.Errorf("%s threw the connection away", c.name)
			pid = again
		}
	}

	// A call that waits for a lock, and gives up by the host's time limit or by its own context.
	store, err := postgres.New(t.Context(), db, nil)
	must(t, err)
	ws := memory(t, store).Owner("o")
	_, err = ws.Add(t.Context(), llmemory.Document{Name: "first", Content: "one"})
	must(t, err)
	other := observer(t, url)
	run(t, other, `BEGIN; SELECT FROM "Select ""x""".document_owners FOR UPDATE`)
	_, err = ws.Add(t.Context(), llmemory.Document{Name: "second", Content: "two"})
	if !errors.Is(err, llmemory.ErrUnavailable) || pgdbm.SQLState(err) != "55P03" {
		t.Errorf("add behind a lock: %v", err)
	}
	after, again := sessionState(t, pool)
	if diff := cmp.Diff(before, after); diff != "" || again != pid {
		t.Errorf("add behind a lock, other connection %t, left something on it (-before +after):\n%s", again != pid, diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = ws.Add(ctx, llmemory.Document{Name: "third", Content: "three"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("add behind a lock with a deadline: %v", err)
	}
	if after, _ = sessionState(t, pool); !cmp.Equal(before, after) {
		t.Errorf("add with a deadline left something (-before +after):\n%s", cmp.Diff(before, after))
	}
	run(t, other, "ROLLBACK")
	must(t, store.Close())
	db.Pool().Close()
	must(t, pool.Ping(t.Context()))
}

// hostilePublic fills the schema public, which search_path names, with whatever could be taken for something else: tables of our
// names, with a column named locked and a trigger that fails, and for every function and operator that our SQL uses one of the same
// name for exactly one type, which PostgreSQL prefers to its own for any type. Each fails when it is called.
func hostilePublic(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("sql/*.sql")
	must(t, err)
	functions := map[string]bool{}
	for _, file := range append(files, "filter.go", "migrate.go", "store.go", "../../pgdbm/driver.go") {
		content, err := os.ReadFile(file)
		must(t, err)
		for _, name := range regexp.MustCompile(`\b([a-z_]+)\(`).FindAllStringSubmatch(string(content), -1) {
			functions["'"+name[1]+"'"] = true
		}
	}
	var b strings.Builder
	b.WriteString("SET search_path = pg_catalog;\n")
	b.WriteString(`CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''hostile trigger''; END';` + "\n")
	for _, table := range []string{"document_chunks", "document_owners", "documents", "embedding_generations", "embedding_indexes",
		"embedding_queue", "ingest_files", "ingest_runs", "text_postings", "text_segments"} {
		fmt.Fprintf(&b, "CREATE TABLE public.%s (owner_id integer, locked boolean);\n", table)
		fmt.Fprintf(&b, "INSERT INTO public.%s VALUES (1, true);\n", table)
		fmt.Fprintf(&b, "CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON public.%s EXECUTE FUNCTION public.fail();\n", table)
	}
	b.WriteString("CREATE TABLE public.schema_migrations (version bigint PRIMARY KEY, dirty boolean);\n")
	b.WriteString("INSERT INTO public.schema_migrations VALUES (20240701, false);\n")
	fmt.Fprintf(&b, `DO $do$
DECLARE
	types text[] := '{text,name,bigint,integer,smallint,boolean,uuid,bytea,jsonb,timestamptz,text[],bigint[],uuid[]}';
	pairs text[] := '{text,name,bigint,integer,uuid,jsonb,timestamptz}';
	body  text := $$ BEGIN RAISE 'hostile %%s'; END $$;
	f record; l text; r text; op text;
BEGIN
	FOR f IN SELECT DISTINCT proname, pronargs FROM pg_proc
		WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs IN (1, 2) AND proname = ANY (ARRAY[%s])
	LOOP
		FOREACH l IN ARRAY types LOOP
			IF f.pronargs = 1 THEN
				EXECUTE format('CREATE FUNCTION public.%%I(%%s) RETURNS text LANGUAGE plpgsql AS %%L',
					f.proname, l, format(body, f.proname));
			ELSIF l = ANY (pairs) THEN
				FOREACH r IN ARRAY pairs LOOP
					EXECUTE format('CREATE FUNCTION public.%%I(%%s, %%s) RETURNS text LANGUAGE plpgsql AS %%L',
						f.proname, l, r, format(body, f.proname));
				END LOOP;
			END IF;
		END LOOP;
	END LOOP;
	FOREACH l IN ARRAY pairs LOOP
		FOREACH r IN ARRAY pairs LOOP
			EXECUTE format('CREATE FUNCTION public.fail(%%s, %%s) RETURNS boolean LANGUAGE plpgsql AS %%L', l, r, format(body, 'operator'));
			FOREACH op IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '||', '->', '#>>', '@>', '+', '-', '~~'] LOOP
				IF NOT EXISTS (SELECT FROM pg_operator WHERE oprname = op AND oprleft = l::regtype AND oprright = r::regtype) THEN
					EXECUTE format('CREATE OPERATOR public.%%s (FUNCTION = public.fail, LEFTARG = %%s, RIGHTARG = %%s)', op, l, r);
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $do$;
RESET search_path`, strings.Join(slices.Sorted(maps.Keys(functions)), ", "))
	return b.String()
}

// Whatever is done, nothing outside the store's schema is made, altered or dropped, and nothing there is used by mistake.
func TestOutsideStaysAsItWas(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	conn := observer(t, url)
	run(t, conn, "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
	run(t, conn, hostilePublic(t))
	pool := openPool(t, url)
	for _, sql := range []string{"SELECT unnest('{a}'::text[])", "SELECT '{}'::jsonb #>> '{}'"} {
		if _, err := pool.Schema("public").Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "hostile") {
			t.Fatalf("%s gives %v, so public is not hostile", sql, err)
		}
	}
	settings := `SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
		WHERE datname = current_database()`
	outside := func() []string {
		return slices.DeleteFunc(catalogue(t, conn), func(s string) bool { return strings.HasPrefix(s, "llmemory ") })
	}
	dump, before, rows := pgtest.Dump(t, url), outside(), contents(t, conn, "public")
	compared := map[string]bool{
		"New, migrating": true, "Owner.Add": true, "Owner.Add, folding": true, "Memory.Maintain, merging": true, "Owner.Search": true,
		"Owner.DeleteAll": true, "Migrator.Down": true, "Store.Close": true,
	}
	for _, c := range calls(pool.Schema("llmemory")) {
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !compared[c.name] {
			continue
		}
		delete(compared, c.name)
		if diff := cmp.Diff(before, outside()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(rows, contents(t, conn, "public")); diff != "" {
			t.Errorf("%s, rows (-before +after):\n%s", c.name, diff)
		}
		if got := list(t, conn, settings); len(got) > 0 {
			t.Errorf("%s set %v for the database", c.name, got)
		}
	}
	if len(compared) > 0 {
		t.Errorf("not compared: %v", compared)
	}
	if diff := cmp.Diff(dump, pgtest.Dump(t, url, "--exclude-schema=llmemory")); diff != "" {
		t.Errorf("after all (-before +after):\n%s", diff)
	}
	// All that there is of it is in its schema.
	run(t, conn, "DROP SCHEMA llmemory CASCADE")
	if diff := cmp.Diff(dump, pgtest.Dump(t, url)); diff != "" {
		t.Errorf("without the schema (-before +after):\n%s", diff)
	}
}
