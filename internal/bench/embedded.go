package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vecset"
	"github.com/llmemory/llmemory/store/sqlite"
)

const (
	embeddedOwner     = "bench"
	embeddedQuestions = 200
	embeddedAdded     = 10_000 // documents whose adding is timed
	embeddedCall      = 10_000 // documents in a call of AddMany
)

// embeddedSizes are the numbers of documents that are searched.
var embeddedSizes = []int{1000, 10_000, 100_000}

// order tells a process of its own what to do: to add documents if there are texts, to search if there are queries. See
// internal/bench/chromem, which does the same.
type order struct {
	Place      string // file or folder; "" for memory
	Texts      string // file with a text on each line
	Vectors    string // file with their vectors, little-endian float32
	Queries    string // file with the vectors of questions
	Documents  int
	Dimensions int
	Limit      int
}

// outcome is what came of an order.
type outcome struct {
	Added  time.Duration   // all documents
	First  time.Duration   // from opening to the first answer
	Took   []time.Duration // the answers
	Scores [][]float64     // cosines of the passages found
	Memory int64           // the most the process had, in bytes
}

// embedded compares the embedded store with chromem-go, each in processes of its own.
func (b *bench) embedded(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "llmemory-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	chromem := filepath.Join(dir, "chromem.bin")
	build := exec.CommandContext(ctx, "go", "build", "-C", "internal/bench/chromem", "-o", chromem, ".")
	build.Stderr = b.log
	if err := build.Run(); err != nil {
		return fmt.Errorf("build internal/bench/chromem: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run := func(o order, program string, args ...string) (*outcome, error) {
		o.Dimensions, o.Limit = vectorDimensions, vectorLimit
		in, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), b.log
		raw, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
		}
		var out outcome
		return &out, json.Unmarshal(raw, &out)
	}
	fmt.Fprintf(b.out, "\n## Embedded, beside chromem-go\n\nDocuments of one passage (60 to 150 words) with vectors of %d dimensions by `internal/vecset`, one owner or collection, the same\n"+
		"for both; an embedder that knows the vectors takes no time. Every figure is of a process of its own. The ten best for %d questions:\n"+
		"*first* is from opening the file or folder to the first answer, *p50* and *p95* of the others, *recall* the share of the ten truly\n"+
		"nearest, *memory* the most the process had. llmemory answers from its file, text of the hits included; chromem-go from memory,\n"+
		"where it has everything.\n\n"+
		"| documents | llmemory first | p50 | p95 | recall | memory MB | chromem-go first | p50 | p95 | recall | memory MB | times as fast, p50 |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n", vectorDimensions, embeddedQuestions)
	data, err := drawEmbedded(dir, embeddedSizes[len(embeddedSizes)-1])
	if err != nil {
		return err
	}
	var added []string
	for _, size := range embeddedSizes {
		ours, theirs := filepath.Join(dir, fmt.Sprint("ours-", size, ".db")), filepath.Join(dir, fmt.Sprint("chromem-", size))
		fill := func(place, texts string) order {
			return order{Place: place, Texts: texts, Vectors: data.vectors, Documents: size}
		}
		oursAdded, err := run(fill(ours, data.texts), self, "-child")
		if err != nil {
			return err
		}
		theirsAdded, err := run(fill(theirs, data.texts), chromem)
		if err != nil {
			return err
		}
		if size == embeddedAdded {
			note := func(how string, a *outcome) {
				added = append(added, fmt.Sprintf("| %s | %.2f | %.0f | %.0f |", how, a.Added.Seconds(), float64(size)/a.Added.Seconds(), float64(a.Memory)/1e6))
			}
			compare := func(what string, ours, theirs *outcome) {
				note(what+": llmemory", ours)
				note(what+": chromem-go, a file a document", theirs)
				b.goal(fmt.Sprintf("adding %d %s with given vectors, beside chromem-go on disk", size, what), "at least as fast",
					fmt.Sprintf("%.2f times as fast", float64(theirs.Added)/float64(ours.Added)), ours.Added <= theirs.Added)
			}
			compare("passages", oursAdded, theirsAdded)
			inMemory, err := run(fill("", data.texts), chromem)
			if err != nil {
				return err
			}
			note("passages: chromem-go, in memory, nothing kept", inMemory)
			oursShort, err := run(fill(ours+".short", data.short), self, "-child")
			if err != nil {
				return err
			}
			theirsShort, err := run(fill(theirs+".short", data.short), chromem)
			if err != nil {
				return err
			}
			compare("sentences", oursShort, theirsShort)
		}
		ask := func(place string) order { return order{Place: place, Queries: data.queries} }
		oursAsked, err := run(ask(ours), self, "-child")
		if err != nil {
			return err
		}
		theirsAsked, err := run(ask(theirs), chromem)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("| %d |", size)
		recalls := make([]float64, 2)
		for i, x := range []*outcome{oursAsked, theirsAsked} {
			recalls[i] = data.recall(x, size)
			row += fmt.Sprintf(" %.1f | %s | %s | %.3f | %.0f |", float64(x.First.Microseconds())/1000, ms(x.Took[1:], 50), ms(x.Took[1:], 95),
				recalls[i], float64(x.Memory)/1e6)
		}
		faster := float64(percentile(theirsAsked.Took[1:], 50)) / float64(percentile(oursAsked.Took[1:], 50))
		row += fmt.Sprintf(" %.1f |", faster)
		fmt.Fprintln(b.out, row)
		b.progress("embedded: %s", row)
		if size == embeddedSizes[len(embeddedSizes)-1] {
			b.goal(fmt.Sprintf("embedded vector search in %d documents, beside chromem-go", size), "at least 4 times as fast", fmt.Sprintf("%.1f times", faster), faster >= 4)
			b.goal("its recall@10", "at least 0.99", fmt.Sprintf("%.3f", recalls[0]), recalls[0] >= .99)
		}
		for _, place := range []string{ours, ours + "-wal", ours + "-shm", theirs} {
			if err := os.RemoveAll(place); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(b.out, "\nAdding %d documents: passages as above, and sentences of 12 words. llmemory cuts and analyses the texts, indexes their words and\n"+
		"waits for the disk with every transaction; the folder of chromem-go is written without waiting for the disk.\n\n| how | seconds | documents/s | memory MB |\n|---|---|---|---|\n%s\n", embeddedAdded, strings.Join(added, "\n"))
	return nil
}

// embeddedData are documents and questions, in files for other processes.
type embeddedData struct {
	texts, short, vectors, queries string
	truth                          *vectorOwner
}

func drawEmbedded(dir string, documents int) (*embeddedData, error) {
	d := &embeddedData{
		texts: filepath.Join(dir, "texts"), short: filepath.Join(dir, "short"), vectors: filepath.Join(dir, "vectors"),
		queries: filepath.Join(dir, "queries"), truth: &vectorOwner{},
	}
	set, words, r := vecset.New(vectorDimensions, vectorSeed), newVocabulary(), rand.New(rand.NewPCG(9, 9))
	for i := range documents {
		d.truth.vectors = append(d.truth.vectors, set.Vector(embeddedOwner, i))
	}
	for i := range embeddedQuestions + 1 {
		d.truth.queries = append(d.truth.queries, set.Query(embeddedOwner, i))
	}
	write := func(name string, each func(w *bufio.Writer) error) error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		return errors.Join(each(w), w.Flush(), f.Close())
	}
	vectors := func(list [][]float32) func(w *bufio.Writer) error {
		return func(w *bufio.Writer) error {
			for _, v := range list {
				if err := binary.Write(w, binary.LittleEndian, v); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return d, errors.Join(
		write(d.texts, func(w *bufio.Writer) error {
			for range documents {
				if _, err := fmt.Fprintln(w, words.paragraph(r)); err != nil {
					return err
				}
			}
			return nil
		}),
		write(d.short, func(w *bufio.Writer) error {
			for range documents {
				sentence, _, _ := strings.Cut(words.paragraph(r), ".")
				if _, err := fmt.Fprintln(w, sentence+"."); err != nil {
					return err
				}
			}
			return nil
		}),
		write(d.vectors, vectors(d.truth.vectors)),
		write(d.queries, vectors(d.truth.queries)),
	)
}

// recall returns the share of the truly nearest of the first so many documents that were found.
func (d *embeddedData) recall(x *outcome, documents int) float64 {
	among := &vectorOwner{vectors: d.truth.vectors[:documents], queries: d.truth.queries}
	found := 0
	for i, cosines := range x.Scores {
		found += among.truth(i, cosines)
	}
	return float64(found) / float64(len(x.Scores)*vectorLimit)
}

// child does what an order says with the embedded store, and writes what came of it.
func child(ctx context.Context, in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	embedder := newDrawn()
	var documents []llmemory.Document
	var queries []string
	if o.Texts != "" {
		list, err := readVectors(o.Vectors, o.Dimensions, o.Documents)
		if err != nil {
			return err
		}
		f, err := os.Open(o.Texts)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() && len(documents) < o.Documents {
			documents = append(documents, llmemory.Document{Key: fmt.Sprint(len(documents)), Language: "en", Content: lines.Text(),
				Vectors: [][]float32{list[len(documents)]}})
		}
		if err := lines.Err(); err != nil {
			return err
		}
	}
	if o.Queries != "" {
		list, err := readVectors(o.Queries, o.Dimensions, -1)
		if err != nil {
			return err
		}
		for i, v := range list {
			queries = append(queries, fmt.Sprint("question ", i))
			embedder.put(queries[i], v)
		}
	}
	var a outcome
	started := time.Now()
	store, err := sqlite.Open(ctx, o.Place, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: paragraphs, Embedder: embedder})
	if err != nil {
		return err
	}
	ws := mem.Owner(embeddedOwner)
	adding := time.Now()
	for from := 0; from < len(documents); from += embeddedCall {
		results, err := ws.AddMany(ctx, documents[from:min(from+embeddedCall, len(documents))])
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil || r.Embedded != 1 {
				return fmt.Errorf("a document was not embedded: %+v", r)
			}
		}
	}
	a.Added = time.Since(adding)
	for n, q := range queries {
		at := time.Now()
		found, err := ws.Search(ctx, q, &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: o.Limit, Snippet: -1})
		if err != nil {
			return err
		}
		if n == 0 {
			a.First = time.Since(started)
		}
		a.Took = append(a.Took, time.Since(at))
		var scores []float64
		for _, h := range found.Hits {
			scores = append(scores, *h.Scores.Vector)
		}
		a.Scores = append(a.Scores, scores)
	}
	if a.Memory, err = peakMemory(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// readVectors reads the first so many vectors of a file, all if it is negative.
func readVectors(name string, dimensions, most int) ([][]float32, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var out [][]float32
	for most < 0 || len(out) < most {
		v := make([]float32, dimensions)
		switch err := binary.Read(in, binary.LittleEndian, v); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// peakMemory returns the most memory that this process had.
func peakMemory() (int64, error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			var kilobytes int64
			_, err := fmt.Sscan(string(rest), &kilobytes)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the system does not tell how much memory a process had")
}
