package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// The files of a collection of excerpts.
const (
	excerptsFile = "gold_spans.jsonl"
	excerptsDocs = "docs"
)

// Excerpts is a collection of whole documents, and of questions with the very sentences that answer them: it tells how well documents
// are cut into passages, which a [Collection] cannot, as its documents are passages already.
type Excerpts struct {
	// Documents by name, without the extension of their file.
	Documents map[string]Source
	// Questions in the order of their file.
	Questions []ExcerptQuestion
}

// Source is a document of a collection of excerpts.
type Source struct {
	File string // the name of its file, such as "report.md"
	Text string
}

// ExcerptQuestion is a question and where its answer stands.
type ExcerptQuestion struct {
	ID, Text string
	// Document is the one that the answer stands in.
	Document string
	// Excerpts are the parts of the document that answer the question.
	Excerpts []Range
}

// Range is a part of a document, in bytes: from Start to before End.
type Range struct{ Start, End int }

// Passage is a part of a document that a search found.
type Passage struct {
	Document string
	Range
}

// OpenExcerpts reads the collection in fsys: documents in the folder docs, and gold_spans.jsonl, one JSON object a line with the
// strings "_id", "doc" (the document's name) and "question", the list "spans" of [start, end] in characters (Unicode code points), and
// the list "text" of what stands there. Whatever does not fit together is a [*LineError].
func OpenExcerpts(fsys fs.FS) (*Excerpts, error) {
	files, err := fs.ReadDir(fsys, excerptsDocs)
	if err != nil {
		return nil, fmt.Errorf("open collection: %w", err)
	}
	e := &Excerpts{Documents: map[string]Source{}}
	for _, f := range files {
		raw, err := fs.ReadFile(fsys, path.Join(excerptsDocs, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("open collection: %w", err)
		}
		name := strings.TrimSuffix(f.Name(), path.Ext(f.Name()))
		if !utf8.Valid(raw) {
			return nil, fmt.Errorf("%s/%s: is not valid UTF-8", excerptsDocs, f.Name())
		}
		if other, twice := e.Documents[name]; twice {
			return nil, fmt.Errorf("%s: %s and %s have the same name", excerptsDocs, other.File, f.Name())
		}
		e.Documents[name] = Source{File: f.Name(), Text: string(raw)}
	}
	seen := map[string]bool{}
	offsets := map[string][]int{} // document → the byte at which every character begins
	for ln, err := range lines(fsys, excerptsFile, maxLine) {
		if err != nil {
			return nil, err
		}
		q, err := e.question(ln.text, offsets)
		if err == nil && seen[q.ID] {
			err = fmt.Errorf("id %q was used before", q.ID)
		}
		if err != nil {
			return nil, &LineError{File: excerptsFile, Line: ln.number, Err: err}
		}
		seen[q.ID] = true
		e.Questions = append(e.Questions, q)
	}
	if len(e.Questions) == 0 {
		return nil, fmt.Errorf("%s: %w", excerptsFile, ErrNothingRelevant)
	}
	return e, nil
}

func (e *Excerpts) question(line []byte, offsets map[string][]int) (ExcerptQuestion, error) {
	var raw struct {
		ID       string   `json:"_id"`
		Doc      string   `json:"doc"`
		Question string   `json:"question"`
		Spans    [][2]int `json:"spans"`
		Text     []string `json:"text"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return ExcerptQuestion{}, fmt.Errorf("is not a question with spans: %w", err)
	}
	source, known := e.Documents[raw.Doc]
	switch {
	case raw.ID == "":
		return ExcerptQuestion{}, errors.New(`"_id" is missing or empty`)
	case strings.TrimSpace(raw.Question) == "":
		return ExcerptQuestion{}, errors.New(`"question" is missing or blank`)
	case !known:
		return ExcerptQuestion{}, fmt.Errorf("document %q is not in %s", raw.Doc, excerptsDocs)
	case len(raw.Spans) == 0 || len(raw.Spans) != len(raw.Text):
		return ExcerptQuestion{}, fmt.Errorf("has %d spans and %d texts", len(raw.Spans), len(raw.Text))
	}
	at := offsets[raw.Doc]
	if at == nil {
		for i := range source.Text {
			at = append(at, i)
		}
		at = append(at, len(source.Text))
		offsets[raw.Doc] = at
	}
	q := ExcerptQuestion{ID: raw.ID, Text: raw.Question, Document: raw.Doc}
	for i, s := range raw.Spans {
		if s[0] < 0 || s[0] >= s[1] || s[1] >= len(at) {
			return q, fmt.Errorf("span [%d, %d] is none of the %d characters of %q", s[0], s[1], len(at)-1, raw.Doc)
		}
		r := Range{at[s[0]], at[s[1]]}
		if source.Text[r.Start:r.End] != raw.Text[i] {
			return q, fmt.Errorf("at span [%d, %d] of %q stands %.60q", s[0], s[1], raw.Doc, source.Text[r.Start:r.End])
		}
		q.Excerpts = append(q.Excerpts, r)
	}
	return q, nil
}

// ExcerptScores says how much of what answers a question was found, and how much else.
type ExcerptScores struct {
	// Recall is the share of the excerpts that lies in the passages found.
	Recall float64 `json:"recall"`
	// Precision is the share of the passages found that is excerpts.
	Precision float64 `json:"precision"`
	// IoU is what both have in common, as a share of both together (intersection over union, Jaccard's index).
	IoU float64 `json:"iou"`
}

// Score compares what was found for each question, by its id, with its excerpts, and averages over all questions of the collection.
//
// The measures are those of Smith and Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma 2024, as their program computes
// them: lengths are counted in characters; text that is found twice counts twice as found, but once as a hit; a passage of another
// document counts as found.
func (e *Excerpts) Score(found map[string][]Passage) ExcerptScores {
	var mean ExcerptScores
	for _, q := range e.Questions {
		s := e.score(q, found[q.ID])
		mean.Recall += s.Recall
		mean.Precision += s.Precision
		mean.IoU += s.IoU
	}
	n := float64(max(1, len(e.Questions)))
	return ExcerptScores{mean.Recall / n, mean.Precision / n, mean.IoU / n}
}

func (e *Excerpts) score(q ExcerptQuestion, found []Passage) ExcerptScores {
	length := func(document string, ranges ...Range) (n int) {
		for _, r := range ranges {
			n += utf8.RuneCountInString(e.Documents[document].Text[r.Start:r.End])
		}
		return n
	}
	var hits []Range
	all := 0
	for _, p := range found {
		all += length(p.Document, p.Range)
		if p.Document != q.Document {
			continue
		}
		for _, x := range q.Excerpts {
			if r := (Range{max(p.Start, x.Start), min(p.End, x.End)}); r.Start < r.End {
				hits = append(hits, r)
			}
		}
	}
	wanted, hit := length(q.Document, q.Excerpts...), length(q.Document, union(hits)...)
	if hit == 0 {
		return ExcerptScores{}
	}
	missed := length(q.Document, union(q.Excerpts)...) - hit
	return ExcerptScores{
		Recall:    float64(hit) / float64(wanted),
		Precision: float64(hit) / float64(all),
		IoU:       float64(hit) / float64(all+missed),
	}
}

// union returns ranges that hold the same, in order and apart.
func union(ranges []Range) []Range {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b Range) int { return a.Start - b.Start })
	var out []Range
	for _, r := range sorted {
		if n := len(out); n > 0 && r.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, r.End)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// ChunkingReport is the outcome of measuring ways to cut documents. Its JSON form is what "llmemory eval --chunking --json" prints.
type ChunkingReport struct {
	Dataset    string             `json:"dataset"`
	Documents  int                `json:"documents"`
	Questions  int                `json:"questions"`
	Embedder   string             `json:"embedder"`
	Top        int                `json:"top"` // passages that were found for each question
	Strategies []ChunkingStrategy `json:"strategies"`
}

// ChunkingStrategy is what was measured of one way to cut.
type ChunkingStrategy struct {
	Name      string `json:"name"`
	Signature string `json:"signature"`
	Chunks    int    `json:"chunks"`
	Tokens    int    `json:"tokens"` // of a passage, on average, what it repeats included
	ExcerptScores
	// BudgetRecall is the recall of the best passages that have [ChunkingBudget] tokens together, however many they are: what is found
	// in as much text.
	BudgetRecall float64 `json:"recall_1000"`
}

// ChunkingBudget is how many tokens the passages have that make BudgetRecall.
const ChunkingBudget = 1000

// WriteText writes the report as a table for people.
func (r *ChunkingReport) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d documents, %d questions, best %d passages by %s\n\n", r.Dataset, r.Documents, r.Questions, r.Top, r.Embedder)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "passages\ttokens\trecall\tprecision\tIoU\trecall in %d tokens\t  strategy\n", ChunkingBudget)
	for _, s := range r.Strategies {
		fmt.Fprintf(t, "%d\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t  %s\n", s.Chunks, s.Tokens, s.Recall, s.Precision, s.IoU, s.BudgetRecall, s.Name)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
