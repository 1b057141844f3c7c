package storetest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/analysis"
)

func (s *suite) tenancyCases() []testCase {
	return []testCase{
		{name: "Probes", run: s.testProbes},
		{name: "Canary", run: s.testCanary},
	}
}

// tenants are an owner that has documents, and a stranger who asks for them by their ids, ordinals and segments.
type tenants struct {
	store           llmemory.Store
	generation      int64
	owner, stranger string
	identity        llmemory.Identity
	document        *llmemory.DocumentRecord
	chunks          []llmemory.ChunkRecord
	ordinals        []uint64
	segments        []int64
}

func (s *suite) tenants(t *testing.T, stranger string) *tenants {
	o, _ := s.vectors(t)
	for i := range 3 {
		add(t, o, llmemory.Document{OriginID: "o", Key: fmt.Sprint(i), Name: "secret", Language: "en", Content: join("secret alpha", "secret beta")})
	}
	add(t, o, llmemory.Document{OriginID: "o", Key: "later", Name: "secret", Language: "en", Content: "secret gamma", Embed: llmemory.EmbedLater})
	x := &tenants{store: s.shared, owner: o.ID(), stranger: stranger, identity: llmemory.Identity{OriginID: "o", Key: "1"}}
	var err error
	x.document, x.chunks, err = s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: o.ID(), Leaves: true, Parents: true,
		DocumentID: llmemory.DocumentID(o.ID(), x.identity)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range x.chunks {
		if c.Level == 0 {
			x.ordinals = append(x.ordinals, c.Ordinal)
		}
	}
	r := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})
	x.generation = r.Active
	for _, seg := range r.Segments {
		x.segments = append(x.segments, seg.ID)
	}
	return x
}

func (x *tenants) view(t *testing.T) llmemory.View { return openView(t, x.store, x.stranger) }

// question asks for the vectors nearest to what the owner has.
func (x *tenants) question(among []uint64) *llmemory.VectorParams {
	return &llmemory.VectorParams{Generation: x.generation, Query: embedtest.Vector("shared", "secret alpha", 16), Limit: 10, Rows: 8, Among: among}
}

func (x *tenants) edit(t *testing.T) llmemory.Edit {
	return openEdit(t, x.store, llmemory.EditParams{Owner: x.stranger})
}

// probes has, for every method that takes parameters with an owner, a stranger's question for another owner's things. It returns
// what the stranger must not get: anything at all.
func probes() map[string]func(t *testing.T, x *tenants) (any, error) {
	nobody := llmemory.Where{}
	return map[string]func(t *testing.T, x *tenants) (any, error){
		"Store.Lookup": func(t *testing.T, x *tenants) (any, error) {
			return x.store.Lookup(t.Context(), llmemory.LookupParams{Owner: x.stranger, Identities: []llmemory.Identity{x.identity}})
		},
		"Store.Document": func(t *testing.T, x *tenants) (any, error) {
			d, chunks, err := x.store.Document(t.Context(), llmemory.DocumentParams{Owner: x.stranger, DocumentID: x.document.ID, Leaves: true, Parents: true})
			if !errors.Is(err, llmemory.ErrNotFound) {
				return []any{d, chunks}, fmt.Errorf("%v, want ErrNotFound", err)
			}
			return chunks, nil
		},
		"Store.Chunks": func(t *testing.T, x *tenants) (any, error) {
			chunks, total, err := x.store.Chunks(t.Context(), llmemory.ChunksParams{Owner: x.stranger, DocumentID: x.document.ID, Limit: 10})
			if !errors.Is(err, llmemory.ErrNotFound) || total != 0 {
				return chunks, fmt.Errorf("%v, total %d; want ErrNotFound", err, total)
			}
			return chunks, nil
		},
		"Store.List": func(t *testing.T, x *tenants) (any, error) {
			docs, total, err := x.store.List(t.Context(), llmemory.ListParams{Owner: x.stranger, Where: llmemory.Where{Origins: []string{"o"}},
				OrderBy: llmemory.ByName, Limit: 10})
			if total != 0 {
				return docs, fmt.Errorf("total %d", total)
			}
			return docs, err
		},
		"Store.DocumentIDs": func(t *testing.T, x *tenants) (any, error) {
			return x.store.DocumentIDs(t.Context(), llmemory.DocumentIDsParams{Owner: x.stranger, Limit: 10})
		},
		"Store.Embedded": func(t *testing.T, x *tenants) (any, error) {
			return x.store.Embedded(t.Context(), llmemory.EmbeddedParams{Owner: x.stranger, Generation: x.generation, Ordinals: x.ordinals})
		},
		"Store.Stats": func(t *testing.T, x *tenants) (any, error) {
			stats, err := x.store.Stats(t.Context(), llmemory.StatsParams{Owner: x.stranger})
			if !cmp.Equal(stats, &llmemory.StatsRecord{}, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(llmemory.StatsRecord{}, "Analysis")) {
				return stats, err
			}
			return nil, err
		},
		"Store.View": func(t *testing.T, x *tenants) (any, error) {
			r, err := x.view(t).Postings(t.Context(), llmemory.PostingsParams{Owner: x.stranger, Terms: []string{"en:secret"}})
			return r.Segments, err
		},
		"Store.Edit": func(t *testing.T, x *tenants) (any, error) {
			for _, p := range []llmemory.EditParams{{Identities: []llmemory.Identity{x.identity}}, {DocumentIDs: []string{x.document.ID}}, {Where: &nobody}} {
				p.Owner = x.stranger
				edit := openEdit(t, x.store, p)
				if len(edit.Documents()) > 0 || len(edit.Segments()) > 0 || edit.State().Documents != 0 {
					return edit.Documents(), fmt.Errorf("segments %v, state %+v", edit.Segments(), edit.State())
				}
				if err := edit.Rollback(t.Context()); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		"View.Postings": func(t *testing.T, x *tenants) (any, error) {
			view := x.view(t)
			r, err := view.Postings(t.Context(), llmemory.PostingsParams{Owner: x.stranger, Terms: []string{"en:secret"}, Positions: true,
				Where: llmemory.Where{Origins: []string{"o"}}, SelectLimit: 100})
			if err != nil || r.Broad || len(r.Segments)+len(r.Selected) > 0 || r.State.Leaves > 0 {
				return r, err
			}
			r, err = view.Postings(t.Context(), llmemory.PostingsParams{Owner: x.stranger, Vector: x.question(nil)})
			if err != nil || len(r.Vector.Found) > 0 {
				return r, err
			}
			return nil, nil
		},
		"View.Match": func(t *testing.T, x *tenants) (any, error) {
			for _, among := range [][]uint64{nil, x.ordinals} {
				view := x.view(t)
				r, err := view.Match(t.Context(), llmemory.MatchParams{Owner: x.stranger, Ordinals: x.ordinals, Stages: [3]int{1, 1, 0}, Limit: 10,
					Vector: x.question(among)})
				if err != nil || len(r.Ordinals)+len(r.Vector.Found) > 0 {
					return r, err
				}
				if err := view.Close(t.Context()); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		"Store.Queue": func(t *testing.T, x *tenants) (any, error) {
			r, err := x.store.Queue(t.Context(), llmemory.QueueParams{Owner: x.stranger, Limit: 10})
			if !cmp.Equal(r, &llmemory.QueueRecord{}, cmpopts.EquateEmpty()) {
				return r, err
			}
			return nil, err
		},
		"Store.RetryQueue": func(t *testing.T, x *tenants) (any, error) {
			n, err := x.store.RetryQueue(t.Context(), llmemory.RetryQueueParams{Owner: x.stranger})
			if n != 0 {
				return n, err
			}
			return nil, err
		},
		"Store.PutRun": func(t *testing.T, x *tenants) (any, error) {
			_, err := x.store.PutRun(t.Context(), llmemory.PutRunParams{Owner: x.stranger, Run: llmemory.Run{ID: x.run(t), StartedAt: time.Unix(1, 0)}})
			if !errors.Is(err, llmemory.ErrNotFound) {
				return "another owner's run was written", err
			}
			return nil, nil
		},
		"Store.Runs": func(t *testing.T, x *tenants) (any, error) {
			return x.store.Runs(t.Context(), llmemory.RunsParams{Owner: x.stranger, ID: x.run(t), Limit: 10})
		},
		"Store.RunFiles": func(t *testing.T, x *tenants) (any, error) {
			return x.store.RunFiles(t.Context(), llmemory.RunFilesParams{Owner: x.stranger, Run: x.run(t), Limit: 10})
		},
		"Store.SourceFiles": func(t *testing.T, x *tenants) (any, error) {
			x.run(t)
			return x.store.SourceFiles(t.Context(), llmemory.SourceFilesParams{Owner: x.stranger, OriginID: "o", Source: "/s", Limit: 10})
		},
		"Store.Failures": func(t *testing.T, x *tenants) (any, error) {
			x.run(t)
			return x.store.Failures(t.Context(), llmemory.FailuresParams{Owner: x.stranger, SourceHashes: [][]byte{[]byte("failed")}})
		},
		"Store.ForgetRuns": func(t *testing.T, x *tenants) (any, error) {
			n, err := x.store.ForgetRuns(t.Context(), llmemory.ForgetRunsParams{Owner: x.stranger, Runs: []int64{x.run(t)}})
			if n > 0 {
				return n, err
			}
			return nil, err
		},
		"Store.Known": func(t *testing.T, x *tenants) (any, error) {
			var p llmemory.KnownParams
			p.Generation = x.generation
			for _, text := range []string{"secret\nsecret alpha", "secret\nsecret beta"} {
				sum := sha256.Sum256([]byte(text))
				p.Inputs = append(p.Inputs, llmemory.OwnedInput{Owner: x.stranger, Hash: sum[:]})
			}
			return x.store.Known(t.Context(), p)
		},
		"Store.Complete": func(t *testing.T, x *tenants) (any, error) {
			r, err := x.store.Complete(t.Context(), llmemory.CompleteParams{Generation: x.generation, Token: unknownID, Items: []llmemory.CompleteItem{
				{Owner: x.stranger, Ordinal: x.ordinals[0], Hash: []byte{1}, Vector: embedtest.Vector("shared", "planted", 16)}}})
			if r.Stored != 0 || len(r.Busy) != 0 {
				return r, err
			}
			return nil, err
		},
		"Store.Extend": func(t *testing.T, x *tenants) (any, error) {
			n, err := x.store.Extend(t.Context(), llmemory.ExtendParams{Owner: x.stranger, Generation: x.generation, Token: unknownID, Lease: time.Minute})
			if err != nil || n > 0 {
				return n, err
			}
			return nil, nil
		},
		"Store.Fail": func(t *testing.T, x *tenants) (any, error) {
			return nil, x.store.Fail(t.Context(), llmemory.FailParams{Generation: x.generation, Token: unknownID, Items: []llmemory.FailItem{
				{Owner: x.stranger, Ordinal: x.ordinals[0], Reason: "planted", Tried: true, Dead: true}}})
		},
		"View.Hits": func(t *testing.T, x *tenants) (any, error) {
			return x.view(t).Hits(t.Context(), llmemory.HitsParams{Owner: x.stranger, Ordinals: x.ordinals, Groups: []int{0, 1}, Limit: 10,
				Parents: true, Neighbours: 3})
		},
		"Edit.Load": func(t *testing.T, x *tenants) (any, error) {
			return x.edit(t).Load(t.Context(), llmemory.LoadParams{Owner: x.stranger, Segments: x.segments})
		},
		"Edit.Leaves": func(t *testing.T, x *tenants) (any, error) {
			return x.edit(t).Leaves(t.Context(), llmemory.LeavesParams{Owner: x.stranger, After: -1, Limit: 100})
		},
		"Edit.Put": func(t *testing.T, x *tenants) (any, error) {
			edit := x.edit(t)
			p := llmemory.PutParams{Owner: x.stranger, Rows: x.meddling(), Pages: []llmemory.IndexPage{{Segment: x.segments[0], First: "en:a", Postings: []byte{1}, Positions: []byte{1}}}}
			if err := edit.Put(t.Context(), p); err != nil {
				return nil, err
			}
			_, err := edit.Commit(t.Context(), llmemory.Changes{Owner: x.stranger, State: llmemory.OwnerState{Analysis: analysis.Version}})
			return nil, err
		},
		"Edit.Commit": func(t *testing.T, x *tenants) (any, error) {
			c := llmemory.Changes{Owner: x.stranger, Rows: x.meddling(), DeleteSegments: x.segments[1:],
				DeadSegments: []llmemory.Segment{{ID: x.segments[0], Dead: []byte{1}, DeadCount: 1}}, State: llmemory.OwnerState{Analysis: analysis.Version}}
			c.Gone = x.ordinals
			for _, ordinal := range x.ordinals {
				c.Vectors = append(c.Vectors, llmemory.LeafVector{Generation: x.generation, Ordinal: ordinal, Hash: []byte{1},
					Vector: embedtest.Vector("shared", "planted", 16)})
			}
			if _, err := x.edit(t).Commit(t.Context(), c); err != nil {
				return nil, err
			}
			// A chunk cannot hang off another owner's document.
			planted := x.chunks[0]
			planted.ID, planted.ParentID, planted.Ordinal = unknownID, "", 1000
			edit := x.edit(t)
			if _, err := edit.Commit(t.Context(), llmemory.Changes{Owner: x.stranger, Rows: llmemory.Rows{InsertChunks: []llmemory.ChunkRecord{planted}}, State: c.State}); err == nil {
				return planted, errors.New("a chunk was put into another owner's document")
			}
			return nil, edit.Rollback(t.Context())
		},
	}
}

// meddling are changes of rows that are another owner's.
func (x *tenants) meddling() llmemory.Rows {
	moved := x.chunks[0]
	moved.Heading, moved.Position = "stolen", 77
	return llmemory.Rows{
		DeleteDocuments: []string{x.document.ID}, UpdateChunks: []llmemory.ChunkRecord{moved}, DeleteChunks: []string{x.chunks[1].ID},
		SetLengths: []llmemory.LeafLength{{Ordinal: x.ordinals[0], Length: 99}},
	}
}

// crossing are the parameters of methods that cross owners by nature: what looks after indexes, generations and the queue as a
// whole. Those of the second kind name the owner with each item, and have probes.
var crossing = map[reflect.Type]bool{
	reflect.TypeFor[llmemory.BacklogParams]():            false,
	reflect.TypeFor[llmemory.OwnersParams]():             false,
	reflect.TypeFor[llmemory.GenerationsParams]():        false,
	reflect.TypeFor[llmemory.AddGenerationParams]():      false,
	reflect.TypeFor[llmemory.ActivateGenerationParams](): false,
	reflect.TypeFor[llmemory.RetireGenerationParams]():   false,
	reflect.TypeFor[llmemory.ProgressParams]():           false,
	reflect.TypeFor[llmemory.InputsParams]():             false,
	reflect.TypeFor[llmemory.BackfillParams]():           false,
	reflect.TypeFor[llmemory.ClaimParams]():              false,
	reflect.TypeFor[llmemory.TuneParams]():               false,
	reflect.TypeFor[llmemory.KnownParams]():              true,
	reflect.TypeFor[llmemory.CompleteParams]():           true,
	reflect.TypeFor[llmemory.FailParams]():               true,
}

// testProbes probes every method of the contract. A new method without a probe fails it.
func (s *suite) testProbes(t *testing.T) {
	all := probes()
	for _, contract := range []reflect.Type{reflect.TypeFor[llmemory.Store](), reflect.TypeFor[llmemory.View](), reflect.TypeFor[llmemory.Edit]()} {
		for i := range contract.NumMethod() {
			method := contract.Method(i)
			for j := range method.Type.NumIn() {
				p := method.Type.In(j)
				if p.Kind() != reflect.Struct {
					continue
				}
				name := contract.Name() + "." + method.Name
				probed, crosses := crossing[p]
				if crosses {
					if probed && all[name] == nil {
						t.Errorf("%s has no probe", name)
					}
					continue
				}
				if f, ok := p.FieldByName("Owner"); !ok || f.Type.Kind() != reflect.String {
					t.Errorf("%s takes %s, which has no owner", name, p)
				}
				if all[name] == nil {
					t.Errorf("%s has no probe", name)
				}
			}
		}
	}
	for name, probe := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := s.tenants(t, t.Name()+" stranger")
			before := fingerprint(t, embeddingMemory(t, x.store, s.embedder()).Owner(x.owner))
			t.Run("Ask", func(t *testing.T) { // its views and edits end with it
				got, err := probe(t, x)
				if err != nil {
					t.Error(err)
				}
				if v := reflect.ValueOf(got); got != nil && !(v.Kind() == reflect.Slice && v.Len() == 0) {
					t.Errorf("a stranger gets %+v", got)
				}
			})
			if diff := cmp.Diff(before, fingerprint(t, embeddingMemory(t, x.store, s.embedder()).Owner(x.owner))); diff != "" {
				t.Errorf("a stranger changed the owner (-before +after):\n%s", diff)
			}
		})
	}
}

// fingerprint is everything an owner can see, as text.
func fingerprint(t *testing.T, o *llmemory.Owner) []string {
	t.Helper()
	var out []string
	note := func(v ...any) {
		for i := range v {
			if err, ok := v[i].(error); ok {
				v[i] = err.Error()
			}
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(line))
	}
	page := must(o.List(t.Context(), &llmemory.ListOptions{Limit: 1000}))(t)
	note(page, must(o.Stats(t.Context()))(t))
	queue := must(o.Queue(t.Context(), 0))(t)
	queue.Oldest = time.Time{}
	note(queue)
	for _, d := range page.Documents {
		stored, chunks, err := o.GetWithChunks(t.Context(), d.ID)
		note(stored, chunks, err)
	}
	for _, query := range []string{"secret common", `"secret alpha"`, "word1 word2", "canaryA", "canaryB"} {
		for _, where := range []llmemory.Where{{}, {Metadata: llmemory.Meta("n").Gte(2)}} {
			r, err := o.Search(t.Context(), query, &llmemory.SearchOptions{Where: where, Limit: 100, Parents: true, Neighbours: 1, Explain: true})
			if err != nil {
				note(err)
				continue
			}
			note(r.Explanation.Candidates, r.Explanation.Filter)
			for _, h := range r.Hits {
				note(h.Score, h.Chunk, h.Document, h.Snippet, h.Highlights, h.Parent, h.Before, h.After)
			}
		}
	}
	return out
}

// testCanary has two owners store the same under the same names, each with a word of its own in every text, and act in turns: what
// one does, the other must not notice in any answer, count, score or error.
func (s *suite) testCanary(t *testing.T) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	store := s.open(t)
	m := embeddingMemory(t, store, s.embedder())
	owners := []*llmemory.Owner{m.Owner("A"), m.Owner("B")}
	canary := []string{"canaryA", "canaryB"}
	act := func(i, step int) string {
		o := owners[i]
		doc := func() llmemory.Document {
			n := random.IntN(6)
			parts := make([]string, 1+random.IntN(4))
			for j := range parts {
				parts[j] = fmt.Sprintf("common secret alpha word%d %s", random.IntN(5), canary[i])
			}
			return llmemory.Document{OriginID: "o", Key: fmt.Sprint(n), Name: fmt.Sprint("name ", n), Language: "en",
				Content: join(parts...), Metadata: map[string]any{"n": random.IntN(4), "by": canary[i]}}
		}
		var id string
		if page := must(owners[random.IntN(2)].List(t.Context(), nil))(t); len(page.Documents) > 0 { // one's own or the other's
			id = page.Documents[random.IntN(len(page.Documents))].ID
		} else {
			id = unknownID
		}
		switch random.IntN(9) {
		case 0, 1, 2:
			added, err := o.Add(t.Context(), doc())
			return fmt.Sprintf("Add %+v %v", added, err)
		case 3:
			added, err := o.AddMany(t.Context(), []llmemory.Document{doc(), {Content: ""}, doc()})
			return fmt.Sprintf("AddMany %+v %v", added, err)
		case 4:
			added, err := o.Add(t.Context(), llmemory.Document{OriginID: "o", Key: "1", Content: "common", IfExists: llmemory.Refuse})
			return fmt.Sprintf("Add %+v %v", added, err)
		case 5:
			deleted, err := o.Delete(t.Context(), id)
			return fmt.Sprintf("Delete %+v %v", deleted, err)
		case 6:
			deleted, err := o.DeleteWhere(t.Context(), llmemory.Where{Metadata: llmemory.Meta("n").Eq(random.IntN(4))})
			return fmt.Sprintf("DeleteWhere %+v %v", deleted, err)
		case 7:
			_, err := o.Text(t.Context(), id)
			d, err2 := o.Get(t.Context(), id)
			chunks, total, err3 := o.Chunks(t.Context(), id, nil)
			return fmt.Sprintf("%v %+v %v %+v %d %v", err, d, err2, chunks, total, err3)
		}
		n, err := m.Maintain(t.Context())
		return fmt.Sprint("Maintain ", n, err)
	}
	seen := [][]string{fingerprint(t, owners[0]), fingerprint(t, owners[1])}
	var log []string
	for step := range s.scale(30, 10) {
		i := random.IntN(2)
		other := 1 - i
		answer := act(i, step)
		log = append(log, owners[i].ID()+": "+answer)
		if strings.Contains(answer, canary[other]) {
			t.Errorf("%s is told of %s", owners[i].ID(), canary[other])
		}
		for j := range owners {
			now := fingerprint(t, owners[j])
			if slices.ContainsFunc(now, func(line string) bool {
				return strings.Contains(line, canary[1-j])
			}) {
				t.Errorf("%s sees %s", owners[j].ID(), canary[1-j])
			}
			if diff := cmp.Diff(seen[j], now); j == other && diff != "" {
				t.Errorf("%s acted and %s sees a difference:\n%s", owners[i].ID(), owners[j].ID(), diff)
			}
			seen[j] = now
		}
		if t.Failed() {
			t.Fatalf("after %d steps, the last of them:\n%s", step+1, strings.Join(log[max(0, len(log)-5):], "\n"))
		}
	}
}

// run stores a run of the owner's, and returns its id.
func (x *tenants) run(t *testing.T) int64 {
	t.Helper()
	return must(x.store.PutRun(t.Context(), llmemory.PutRunParams{Owner: x.owner, Run: llmemory.Run{OriginID: "o", StartedAt: time.Unix(1, 0)},
		Files: []llmemory.RunFile{
			{Number: 1, Source: "/s", Path: "/s/secret", DocumentID: x.document.ID, Outcome: llmemory.Created},
			{Number: 2, Source: "/s", Path: "/s/bad", Outcome: llmemory.Failed, Reason: "damaged", SourceHash: []byte("failed")},
		}}))(t)
}
