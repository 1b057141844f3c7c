package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// model is an owner's memory in the simplest form that answers the same questions: documents in a map, and a search that reads
// them all. It knows nothing of transactions, ordinals or segments.
type model struct {
	owner    string
	analyzer *analysis.Analyzer
	docs     map[llmemory.Identity]*modelDocument
}

type modelDocument struct {
	stored  llmemory.StoredDocument // without its times
	text    string
	given   string // the language as given
	leaves  []modelLeaf
	parents int
}

type modelLeaf struct {
	id     string
	piece  chunk.Piece
	text   string
	input  string // all that decides what is indexed
	tokens []postings.Token
	length int
}

func newModel(owner string) *model {
	return &model{owner: owner, analyzer: analysis.New(), docs: map[llmemory.Identity]*modelDocument{}}
}

// add returns what Add must return, for documents whose key or name is set.
func (m *model) add(doc llmemory.Document) (llmemory.Added, error) {
	identity := llmemory.Identity{OriginID: cmp.Or(doc.OriginID, "default"), Key: cmp.Or(doc.Key, doc.Name)}
	next := &modelDocument{text: doc.Content, given: doc.Language, stored: llmemory.StoredDocument{
		ID: llmemory.DocumentID(m.owner, identity), OriginID: identity.OriginID, Key: identity.Key, Name: doc.Name,
		Type: cmp.Or(doc.Type, llmemory.Unknown), Date: doc.Date, Metadata: plainJSON(doc.Metadata), Bytes: len(doc.Content), Version: 1,
		Language: doc.Language,
	}}
	if doc.Language == "" {
		next.stored.Language = m.analyzer.Detect(doc.Content)
	}
	m.cut(next)
	result := llmemory.Added{DocumentID: next.stored.ID, Status: llmemory.Created, Chunks: len(next.leaves)}
	old := m.docs[identity]
	if old != nil {
		if doc.IfExists == llmemory.Refuse {
			return llmemory.Added{Status: llmemory.Failed, DocumentID: result.DocumentID}, llmemory.ErrConflict
		}
		sameText := old.text == next.text && old.stored.Name == next.stored.Name && old.given == next.given
		sameRow := old.stored.Type == next.stored.Type && old.stored.Date.Equal(next.stored.Date) &&
			fmt.Sprint(old.stored.Metadata) == fmt.Sprint(next.stored.Metadata)
		if doc.IfExists == llmemory.Skip || sameText && sameRow {
			return llmemory.Added{DocumentID: result.DocumentID, Status: llmemory.Unchanged, Chunks: len(old.leaves), ChunksReused: len(old.leaves)}, nil
		}
		result.Status = llmemory.Updated
		next.stored.Version = old.stored.Version + 1
		for _, l := range next.leaves {
			if slices.ContainsFunc(old.leaves, func(o modelLeaf) bool { return o.id == l.id && o.input == l.input }) {
				result.ChunksReused++
			}
		}
	}
	m.docs[identity] = next
	return result, nil
}

func (m *model) cut(d *modelDocument) {
	pieces, _ := paragraphs().Chunk(context.Background(), chunk.Text{Content: d.text})
	seen := map[string]int{}
	for _, p := range pieces {
		if p.Level > 0 {
			d.parents++
			continue
		}
		l := modelLeaf{piece: p, text: d.text[p.Start:p.End]}
		heading := strings.Join(p.Heading, " > ")
		l.input = fmt.Sprintf("%q", []string{d.stored.Language, d.stored.Name, heading, l.text})
		l.tokens, l.length = m.analyse(d.stored.Language, d.stored.Name, heading, l.text)
		sum := sha256.Sum256([]byte(l.text))
		id := d.stored.ID // which the ids of its chunks begin with
		l.id = id[:14] + uuid8("llmemory chunk", id, "0", string(sum[:]), fmt.Sprint(seen[l.text]))[14:]
		seen[l.text]++
		d.stored.Tokens += p.Tokens
		d.leaves = append(d.leaves, l)
	}
	d.stored.ChunkCount = len(d.leaves)
}

// uuid8 says again how ids are made: a SHA-256 over the parts, each with its length before it, in the form of RFC 9562 version 8.
func uuid8(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p))) // a hash takes everything
		h.Write([]byte(p))
	}
	sum := h.Sum(nil)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	s := hex.EncodeToString(sum[:16])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// analyse gives the terms of a leaf: those of name, heading and text, a phrase's length apart.
func (m *model) analyse(language string, parts ...string) (tokens []postings.Token, length int) {
	next := 0
	for _, part := range parts {
		list, _ := m.analyzer.Analyze(language, part, nil)
		last := next
		for _, t := range list {
			tokens = append(tokens, postings.Token{Term: t.Term, Position: next + t.Position})
			last = max(last, next+t.Position)
		}
		length += analysis.Length(list)
		next = last + 100
	}
	return tokens, length
}

// remove forgets documents and says how many leaves they had.
func (m *model) remove(selected func(*llmemory.StoredDocument) bool) (ids []string, leaves int) {
	for identity, d := range m.docs {
		if selected(&d.stored) {
			ids = append(ids, d.stored.ID)
			leaves += len(d.leaves)
			delete(m.docs, identity)
		}
	}
	slices.Sort(ids)
	return ids, leaves
}

func (m *model) languages() map[string]int {
	out := map[string]int{}
	for _, d := range m.docs {
		out[d.stored.Language] += len(d.leaves)
	}
	return out
}

type modelHit struct {
	id, text string
	score    float64
}

// search returns every hit, best first, ties by chunk id.
func (m *model) search(query string, where llmemory.Where) []modelHit {
	var docs []postings.Doc
	var leaves []modelLeaf
	allowed := postings.NewSet()
	for _, d := range m.docs {
		passes := where.Matches(&d.stored)
		for _, l := range d.leaves {
			ordinal := uint64(len(docs))
			docs = append(docs, postings.Doc{Ordinal: ordinal, Tokens: l.tokens, Length: l.length})
			leaves = append(leaves, l)
			if passes {
				allowed.Add(ordinal)
			}
		}
	}
	var owned []string
	for language := range m.languages() {
		owned = append(owned, language)
	}
	slices.Sort(owned)
	q := postings.Build(func(language, text string) (out []postings.Token) {
		list, _ := m.analyzer.AnalyzeQuery(language, text, nil)
		for _, t := range list {
			out = append(out, postings.Token{Term: t.Term, Position: t.Position})
		}
		return out
	}, analysis.QueryLanguages(query, owned), query)
	found := postings.Exhaustive(q, docs, postings.Options{Allowed: allowed})
	if len(found) == 0 { // nothing holds the phrases: their words are searched
		q.Phrases = nil
		found = postings.Exhaustive(q, docs, postings.Options{Allowed: allowed})
	}
	var hits []modelHit
	for _, h := range found {
		hits = append(hits, modelHit{leaves[h.Ordinal].id, leaves[h.Ordinal].text, h.Score})
	}
	slices.SortFunc(hits, func(a, b modelHit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.id, b.id))
	})
	return hits
}

// compare checks a search against the model: scores to 1e-9, and the order wherever scores differ by more.
func (m *model) compare(t *testing.T, o *llmemory.Owner, query string, opts llmemory.SearchOptions) {
	t.Helper()
	got := search(t, o, query, opts)
	want := m.search(query, opts.Where)
	scores := map[string]float64{}
	for _, h := range want {
		scores[h.id] = h.score
	}
	want = want[:min(len(want), cmp.Or(opts.Limit, 10))]
	if len(got) != len(want) {
		t.Errorf("%q %+v: %d hits, want %d", query, opts.Where, len(got), len(want))
		return
	}
	const tolerance = 1e-9
	for i, h := range got {
		score, ok := scores[h.ID]
		swapped := h.ID != want[i].id && (score == want[i].score || math.Abs(score-want[i].score) > tolerance)
		if !ok || swapped || math.Abs(h.Score-want[i].score) > tolerance {
			t.Errorf("%q %+v: hit %d is %.40q (%.12f), want %.40q (%.12f)", query, opts.Where, i, h.Text, h.Score, want[i].text, want[i].score)
			return
		}
	}
}

// plainJSON returns metadata in the form they come back in.
func plainJSON(m map[string]any) map[string]any {
	out := map[string]any{}
	if raw, err := json.Marshal(m); err == nil && m != nil {
		_ = json.Unmarshal(raw, &out) // what was marshalled decodes
	}
	return out
}

// withoutTimes returns a stored document as the model has it.
func withoutTimes(d llmemory.StoredDocument) llmemory.StoredDocument {
	d.CreatedAt, d.UpdatedAt = time.Time{}, time.Time{}
	return d
}
