// Command chromem does with chromem-go what the benchmark does with the embedded store. It is a module of its own, so that nobody else
// needs chromem-go. The benchmark builds and runs it: the order comes as JSON on standard input, the answer goes as JSON to standard
// output.
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
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"time"

	"github.com/philippgille/chromem-go"
)

// order says what to do: to add documents if there are texts, to search if there are queries.
type order struct {
	Place      string // folder of the database; "" for one in memory
	Texts      string // file with a text on each line
	Vectors    string // file with their vectors, little-endian float32
	Queries    string // file with the vectors of questions
	Documents  int
	Dimensions int
	Limit      int
}

// answer is what came of it.
type answer struct {
	Added  time.Duration   // all documents
	First  time.Duration   // from opening to the first answer
	Took   []time.Duration // the answers
	Scores [][]float64     // cosines of the passages found
	Memory int64           // the most this process had, in bytes
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chromem:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	var a answer
	var documents []chromem.Document
	var queries [][]float32
	var err error
	if o.Texts != "" {
		if documents, err = o.documents(); err != nil {
			return err
		}
	}
	if o.Queries != "" {
		if queries, err = vectors(o.Queries, o.Dimensions, -1); err != nil {
			return err
		}
	}
	started := time.Now()
	db := chromem.NewDB()
	if o.Place != "" {
		if db, err = chromem.NewPersistentDB(o.Place, false); err != nil {
			return err
		}
	}
	collection, err := db.GetOrCreateCollection("bench", nil, func(context.Context, string) ([]float32, error) {
		return nil, errors.New("all vectors are given")
	})
	if err != nil {
		return err
	}
	if len(documents) > 0 {
		adding := time.Now()
		if err := collection.AddDocuments(ctx, documents, runtime.NumCPU()); err != nil {
			return err
		}
		a.Added = time.Since(adding)
	}
	for n, q := range queries {
		at := time.Now()
		found, err := collection.QueryEmbedding(ctx, q, o.Limit, nil, nil)
		if err != nil {
			return err
		}
		if n == 0 {
			a.First = time.Since(started)
		}
		a.Took = append(a.Took, time.Since(at))
		var scores []float64
		for _, r := range found {
			scores = append(scores, float64(r.Similarity))
		}
		a.Scores = append(a.Scores, scores)
	}
	if a.Memory, err = memory(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// documents reads the documents to add.
func (o *order) documents() ([]chromem.Document, error) {
	list, err := vectors(o.Vectors, o.Dimensions, o.Documents)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(o.Texts)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []chromem.Document
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(out) < o.Documents {
		out = append(out, chromem.Document{ID: strconv.Itoa(len(out)), Content: lines.Text(), Embedding: list[len(out)]})
	}
	return out, lines.Err()
}

// vectors reads the first so many vectors of a file, all if it is negative.
func vectors(name string, dimensions, most int) ([][]float32, error) {
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

// memory returns the most memory that this process had.
func memory() (int64, error) {
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
