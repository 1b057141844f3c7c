package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/internal/nn"
	"github.com/llmemory/llmemory/internal/vec"
)

// embedding measures the default local model: all kernels of this processor, beside ONNX Runtime if a Python has it.
func (b *bench) embedding(ctx context.Context) error {
	folder, err := modelFolder(ctx)
	if err != nil {
		return err
	}
	passages, err := b.documentation(ctx)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(7, 8))
	var questions []string
	for _, p := range passages {
		questions = append(questions, question(r, p+" and"))
	}
	threads := runtime.GOMAXPROCS(0)
	var models []*local.Embedder
	for _, k := range nn.Kernels() {
		start := time.Now()
		e, err := local.Open(folder, &local.Config{Kernel: k.Name()})
		if err != nil {
			return err
		}
		defer e.Close()
		b.progress("opened for %s in %s", k.Name(), time.Since(start).Round(time.Millisecond))
		models = append(models, e)
	}
	peer, err := startPeer(ctx, folder, threads, b.log)
	if err != nil {
		b.progress("no ONNX Runtime to compare with: %v", err)
	} else {
		defer peer.close()
	}

	columns, rule := "", ""
	for _, e := range models {
		columns, rule = columns+" | "+e.Kernel(), rule+"|---"
	}
	beside := "No ONNX Runtime was at hand to compare with (internal/bench/onnx/peer.py says what it takes)."
	if peer != nil {
		beside = fmt.Sprintf("ONNX Runtime %s\nruns the same weights in single precision on the same %d threads, in the faster of two forms (%s), texts sorted\n"+
			"by length and padded to the longest of a batch of 32.", peer.version, threads, peer.form)
	}
	fmt.Fprintf(b.out, "\n## Embedding on the processor\n\n%s with `embedding/local`, texts per second, tokenizing included; medians of rounds in which all take turns.\n"+
		"The default is %s here; *sse2* is what any amd64 processor runs, *portable* what runs where nothing is written for. %s\n\n"+
		"*passages* are the %d into which this repository's documentation is cut; *questions* are 8 to 16 words of each.\n\n"+
		"| texts | tokens each%s | ONNX Runtime | default / ONNX | portable / ONNX |\n|---|---%s|---|---|---|\n",
		modelfile.Default, models[0].Kernel(), beside, len(passages), columns, rule)

	worstDefault, worstPortable := -1.0, -1.0
	for _, row := range []struct {
		name  string
		texts []string
		batch int
	}{
		{"passages, many at a time", passages, 32}, {"questions, many at a time", questions, 32},
		{"passages, one at a time", passages, 1}, {"questions, one at a time", questions, 1},
	} {
		rates, onnx, err := b.rates(ctx, models, peer, row.texts, row.batch)
		if err != nil {
			return err
		}
		tokens := 0
		for _, text := range row.texts {
			tokens += models[0].CountTokens(embedding.Passage, text)
		}
		fmt.Fprintf(b.out, "| %s | %d", row.name, tokens/len(row.texts))
		for _, rate := range rates {
			fmt.Fprintf(b.out, " | %.1f", rate)
		}
		if peer == nil {
			fmt.Fprint(b.out, " | – | – | – |\n")
			continue
		}
		first, last := rates[0]/onnx, rates[len(rates)-1]/onnx
		fmt.Fprintf(b.out, " | %.1f | %.2f | %.2f |\n", onnx, first, last)
		if worstDefault < 0 || first < worstDefault {
			worstDefault = first
		}
		if worstPortable < 0 || last < worstPortable {
			worstPortable = last
		}
	}
	if peer != nil {
		b.goal("embedding by default, to ONNX Runtime", "at least 0.5", fmt.Sprintf("%.2f", worstDefault), worstDefault >= 0.5)
		b.goal("embedding by the portable kernel, to ONNX Runtime", "at least 0.1", fmt.Sprintf("%.2f", worstPortable), worstPortable >= 0.1)
	}
	return nil
}

// rates measures texts per second of each embedder and of the peer, a few texts at a time in turns.
func (b *bench) rates(ctx context.Context, models []*local.Embedder, peer *peer, texts []string, batch int) (rates []float64, onnx float64, err error) {
	const rounds = 5
	all := make([][]float64, len(models))
	var others []float64
	// Each round takes other texts.
	n := min(len(texts)/rounds, 64)
	for round := range rounds {
		whole := texts[round*n : (round+1)*n]
		var first []float32
		for i, e := range models {
			part := whole
			if e.Kernel() == "portable" { // a quarter of them takes it longer than all take the others
				part = whole[:max(n/4, 1)]
			}
			start := time.Now()
			var vectors [][]float32
			if batch == 1 {
				for _, text := range part {
					one, err := e.Embed(ctx, embedding.Passage, []string{text})
					if err != nil {
						return nil, 0, err
					}
					vectors = append(vectors, one...)
				}
			} else if vectors, err = e.Embed(ctx, embedding.Passage, part); err != nil {
				return nil, 0, err
			}
			all[i] = append(all[i], float64(len(part))/time.Since(start).Seconds())
			first = vectors[0]
		}
		if peer == nil {
			continue
		}
		answer, err := peer.embed(whole, batch)
		if err != nil {
			return nil, 0, err
		}
		if c := vec.Cosine(first, answer.First); c < 0.9999 {
			return nil, 0, fmt.Errorf("the vector of %q has a cosine of %v with that of ONNX Runtime", whole[0], c)
		}
		others = append(others, float64(n)/answer.Seconds)
		time.Sleep(300 * time.Millisecond) // its threads go on looking for work for a while, at the cost of whoever is next
	}
	for _, a := range all {
		rates = append(rates, median(a))
	}
	if peer != nil {
		onnx = median(others)
	}
	b.progress("%d texts at a time: %.1f, ONNX Runtime %.1f texts/s", batch, rates, onnx)
	return rates, onnx, nil
}

// modelFolder returns the folder of the default model, which it pulls if it is not there.
func modelFolder(ctx context.Context) (string, error) {
	dir := os.Getenv("LLMEMORY_MODELS")
	if dir == "" {
		var err error
		if dir, err = modelfile.DefaultDir(os.Getenv); err != nil {
			return "", err
		}
	}
	m, err := modelfile.Find(modelfile.Default)
	if err != nil {
		return "", err
	}
	pulled, err := modelfile.Store{Dir: dir}.Pull(ctx, m, nil)
	if err != nil {
		return "", err
	}
	return pulled.Path, nil
}

// documentation returns the passages of this repository's documentation, as the default chunker cuts them.
func (b *bench) documentation(ctx context.Context) ([]string, error) {
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pieces, err := chunk.Hierarchical{}.Chunk(ctx, chunk.Text{Content: string(text), Type: "markdown"})
		if err != nil {
			return err
		}
		for _, p := range pieces {
			if p.Level == 0 {
				out = append(out, string(text[p.Start:p.End]))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out) < 100 {
		return nil, errors.New("no documentation here: run it in the root of the repository")
	}
	r := rand.New(rand.NewPCG(5, 6))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, nil
}

// peer is ONNX Runtime in a Python process.
type peer struct {
	version, form string
	command       *exec.Cmd
	in            io.WriteCloser
	out           *bufio.Reader
	scratch       string
}

// startPeer starts it, or says why not.
func startPeer(ctx context.Context, folder string, threads int, log io.Writer) (*peer, error) {
	scratch, err := os.MkdirTemp("", "bench-onnx-")
	if err != nil {
		return nil, err
	}
	p := &peer{scratch: scratch}
	python := cmp.Or(os.Getenv("LLMEMORY_BENCH_PYTHON"), "python3")
	p.command = exec.CommandContext(ctx, python, "internal/bench/onnx/peer.py", folder, scratch, strconv.Itoa(threads))
	var complaint strings.Builder
	p.command.Stderr = &complaint
	fail := func(err error) (*peer, error) {
		os.RemoveAll(scratch)
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		return nil, fmt.Errorf("%s: %w: %s", python, err, lines[len(lines)-1])
	}
	if p.in, err = p.command.StdinPipe(); err != nil {
		return fail(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	if err := p.command.Start(); err != nil {
		return fail(err)
	}
	var hello struct{ Version, Form string }
	if err := p.read(&hello); err != nil {
		p.in.Close()
		_ = p.command.Wait()
		return fail(err)
	}
	p.version, p.form = hello.Version, hello.Form
	fmt.Fprintf(log, "        ONNX Runtime %s, %s\n", p.version, p.form)
	return p, nil
}

func (p *peer) read(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return json.Unmarshal(line, v)
}

type peerAnswer struct {
	Seconds float64
	First   []float32
}

func (p *peer) embed(texts []string, batch int) (peerAnswer, error) {
	var answer peerAnswer
	job, err := json.Marshal(map[string]any{"texts": texts, "batch": batch})
	if err != nil {
		return answer, err
	}
	if _, err := p.in.Write(append(job, '\n')); err != nil {
		return answer, err
	}
	return answer, p.read(&answer)
}

func (p *peer) close() {
	p.in.Close()
	_ = p.command.Wait()
	os.RemoveAll(p.scratch)
}
