package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
)

const searchHelp = `
Finds the passages that answer QUERY best. Words are optional and ranked,
"quoted phrases" must occur, -word and -"phrase" must not. Several arguments are
one query; what begins with a minus is taken for a flag unless "--" comes before:

  llmemory search when is the lease up
  llmemory search '"sourdough starter" -rye'
  llmemory search -- bread -rye

Finding nothing is no error.

With --json:
  {"query","mode","degraded","took_ms","hits":[{"chunk_id","document_id","origin_id","name","type","score",
   "scores":{"text","vector","fused","rerank"},"text","start","end","heading","page","metadata"}]}
"degraded" lists what is missing from the answer and why; scores of stages that
did not see a hit are null, and so is the page of a document without pages; a
chunker that makes them adds "context" and "summary". --context adds "before" and "after" to each hit,
--parents adds "parent", and --explain adds "explanation".`

func (a *app) searchCommand() *cobra.Command {
	return a.command("search QUERY", "Find passages", searchHelp, atLeastOne("word to search for"), a.search)
}

type searchJSON struct {
	Query       string           `json:"query"`
	Entity      string           `json:"entity,omitempty"`
	Mode        llmemory.Mode    `json:"mode"`
	Degraded    []string         `json:"degraded"`
	TookMS      float64          `json:"took_ms"`
	Hits        []hitJSON        `json:"hits"`
	Explanation *explanationJSON `json:"explanation,omitempty"`
}

type hitJSON struct {
	ChunkID    string         `json:"chunk_id"`
	DocumentID string         `json:"document_id"`
	OriginID   string         `json:"origin_id"`
	Name       string         `json:"name"`
	Type       llmemory.Type  `json:"type"`
	Score      float64        `json:"score"`
	Scores     scoresJSON     `json:"scores"`
	Text       string         `json:"text"`
	Start      int            `json:"start"`
	End        int            `json:"end"`
	Heading    string         `json:"heading"`
	Page       *int           `json:"page"`
	Context    string         `json:"context,omitempty"`
	Summary    string         `json:"summary,omitempty"`
	Metadata   map[string]any `json:"metadata"`
	// ArchivePath is there if an archive is searched.
	ArchivePath string       `json:"archive_path,omitempty"`
	Parent      *chunkJSON   `json:"parent,omitempty"`
	Before      *[]chunkJSON `json:"before,omitempty"`
	After       *[]chunkJSON `json:"after,omitempty"`
}

type scoresJSON struct {
	Text   *float64 `json:"text"`
	Vector *float64 `json:"vector"`
	Fused  *float64 `json:"fused"`
	Rerank *float64 `json:"rerank"`
}

type explanationJSON struct {
	Languages  []string    `json:"languages"`
	Terms      []string    `json:"terms"`
	Candidates int         `json:"candidates"`
	Filter     string      `json:"filter"`
	Generation int64       `json:"generation"`
	Model      string      `json:"model"`
	Plan       string      `json:"plan"`
	Nearest    int         `json:"nearest"`
	Fusion     string      `json:"fusion"`
	TextWeight float64     `json:"text_weight"`
	Stages     []stageJSON `json:"stages"`
}

type stageJSON struct {
	Name   string  `json:"name"`
	TookMS float64 `json:"took_ms"`
}

func (a *app) search(ctx context.Context, args []string) error {
	where, err := a.where()
	if err != nil {
		return err
	}
	return a.find(ctx, strings.Join(args, " "), where)
}

// find searches as the flags say, and prints what is found.
func (a *app) find(ctx context.Context, query string, where llmemory.Where) error {
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	if n := a.opts.neighbours; n < 0 || n > 10 {
		return usagef("--context must be 0 to 10, is %d", n)
	}
	options, err := a.searchOptions()
	if err != nil {
		return err
	}
	options.Where, options.Limit, options.Parents = where, a.opts.limit, a.opts.parents
	options.Neighbours, options.Explain = a.opts.neighbours, a.opts.explain
	owner, closer, err := a.owner(ctx, options.Mode != llmemory.ByText)
	if err != nil {
		return err
	}
	defer closer()
	result, err := owner.Search(ctx, query, &options)
	if err != nil {
		return err
	}
	for _, d := range result.Degraded {
		a.note("degraded: %s", a.explained(d))
	}
	if a.opts.json {
		out := newSearchJSON(result, a.opts.neighbours > 0)
		if out.Entity = a.opts.entity; out.Entity != "" {
			for i := range out.Hits {
				out.Hits[i].ArchivePath = archivePath(&result.Hits[i].Document)
			}
		}
		return a.printJSON(out)
	}
	if len(result.Hits) == 0 {
		a.note("nothing found")
	}
	for i := range result.Hits {
		a.printHit(i+1, &result.Hits[i])
	}
	if result.Explanation != nil {
		a.printExplanation(result)
	}
	return nil
}

// searchOptions are the settings that search and eval share.
func (a *app) searchOptions() (llmemory.SearchOptions, error) {
	o := llmemory.SearchOptions{
		Mode: llmemory.Mode(a.opts.mode), Candidates: a.opts.candidates, Fusion: llmemory.Fusion(a.opts.fusion),
	}
	if a.opts.textWeight != "" {
		w, err := strconv.ParseFloat(a.opts.textWeight, 64)
		if err != nil || !(w > 0 && w < 1) {
			return o, usagef("--text-weight %q: must be above 0 and below 1", a.opts.textWeight)
		}
		o.TextWeight = w
	}
	return o, nil
}

func newSearchJSON(r *llmemory.Result, neighbours bool) searchJSON {
	out := searchJSON{
		Query: r.Query, Mode: r.Mode, Degraded: list(r.Degraded), TookMS: milliseconds(r.Took), Hits: make([]hitJSON, len(r.Hits)),
	}
	for i := range r.Hits {
		h := &r.Hits[i]
		out.Hits[i] = hitJSON{
			ChunkID: h.ID, DocumentID: h.DocumentID, OriginID: h.Document.OriginID, Name: h.Document.Name, Type: h.Document.Type,
			Score: h.Score, Scores: scoresJSON(h.Scores), Text: h.Text, Start: h.Start, End: h.End, Heading: h.Heading,
			Page: pageOrNull(h.Page), Context: h.Context, Summary: h.Summary,
			Metadata: object(h.Document.Metadata),
		}
		if h.Parent != nil {
			parent := newChunkJSON(h.Parent)
			out.Hits[i].Parent = &parent
		}
		if neighbours {
			before, after := newChunksJSON(h.Before), newChunksJSON(h.After)
			out.Hits[i].Before, out.Hits[i].After = &before, &after
		}
	}
	if e := r.Explanation; e != nil {
		x := &explanationJSON{Languages: list(e.Languages), Terms: list(e.Terms), Candidates: e.Candidates, Filter: e.Filter,
			Generation: e.Generation, Model: e.Model, Plan: e.Plan, Nearest: e.Nearest, Fusion: string(e.Fusion), TextWeight: e.TextWeight,
			Stages: make([]stageJSON, len(e.Stages))}
		for i, s := range e.Stages {
			x.Stages[i] = stageJSON{s.Name, milliseconds(s.Took)}
		}
		out.Explanation = x
	}
	return out
}

// printHit writes a hit for people: what it is, where it stands, and what it says.
func (a *app) printHit(rank int, h *llmemory.Hit) {
	name := h.Document.Name
	if name == "" {
		name = h.Document.Key
	}
	if a.opts.entity != "" {
		name = cmp.Or(archivePath(&h.Document), name)
	}
	a.printf("%d  %.4f  %s", rank, h.Score, plain(name))
	if h.Heading != "" {
		a.printf("  %s", plain(h.Heading))
	}
	if h.Page > 0 {
		a.printf("  %s", pages(&h.Chunk))
	}
	a.printf("\n   document %s, bytes %d to %d\n", h.DocumentID, h.Start, h.End)
	a.printPassages("before", h.Before)
	a.printf("   %s\n", a.snippet(h))
	a.printPassages("after", h.After)
	if h.Parent != nil {
		a.printPassages("section", []llmemory.Chunk{*h.Parent})
	}
	a.printf("\n")
}

func (a *app) printPassages(what string, chunks []llmemory.Chunk) {
	for _, c := range chunks {
		a.printf("   [%s] %s\n", what, plain(c.Text))
	}
}

// snippet returns a hit's snippet, with the question's words in bold if a terminal shows it.
func (a *app) snippet(h *llmemory.Hit) string {
	if isTerminal(a.stdout.w) {
		return highlighted(h)
	}
	return plain(h.Snippet)
}

// highlighted is a hit's snippet with the question's words in bold.
func highlighted(h *llmemory.Hit) string {
	at := strings.Index(h.Text, h.Snippet) // if it occurs twice, it has the same words twice
	if at < 0 {
		return plain(h.Snippet)
	}
	const bold, normal = "\x1b[1m", "\x1b[0m"
	// The marks are put in last: they would not survive plain. Spaces between parts are kept by hand.
	var b strings.Builder
	from := at
	end := at + len(h.Snippet)
	for _, s := range h.Highlights {
		start, stop := max(s.Start, from), min(s.End, end)
		if start >= stop {
			continue
		}
		b.WriteString(spaced(h.Text[from:start]))
		b.WriteString(bold + plain(h.Text[start:stop]) + normal)
		from = stop
	}
	b.WriteString(spaced(h.Text[from:end]))
	return b.String()
}

// spaced is plain, but keeps a space at either end where there was white space.
func spaced(s string) string {
	out := plain(s)
	if out == "" {
		if s != "" {
			return " "
		}
		return ""
	}
	if strings.TrimLeft(s[:1], " \t\r\n") == "" {
		out = " " + out
	}
	if strings.TrimRight(s[len(s)-1:], " \t\r\n") == "" {
		out += " "
	}
	return out
}

func (a *app) printExplanation(r *llmemory.Result) {
	e := r.Explanation
	a.printf("took %.1f ms, mode %s, filter %s, %s\n", milliseconds(r.Took), r.Mode, e.Filter, plural(e.Candidates, "candidate"))
	a.printf("languages: %s\n", strings.Join(e.Languages, ", "))
	terms := slices.Clone(e.Terms)
	for i, t := range terms {
		terms[i] = plain(t)
	}
	a.printf("terms: %s\n", strings.Join(terms, ", "))
	if e.Generation != 0 {
		a.printf("vectors: generation %d (%s), %s, %s\n", e.Generation, e.Model, e.Plan, plural(e.Nearest, "candidate"))
	}
	if e.Fusion != "" {
		a.printf("fusion: %s, text weight %g\n", e.Fusion, e.TextWeight)
	}
	for _, s := range e.Stages {
		a.printf("%10.3f ms  %s\n", milliseconds(s.Took), s.Name)
	}
}
