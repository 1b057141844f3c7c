package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory"
)

// printJSON writes one JSON document on a line.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	_, err := a.stdout.Write(b.Bytes())
	return err
}

// printf writes text; [Main] reports if that failed.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// plain makes text fit for a line of a terminal: white space folded, and control characters, which could do anything to the
// terminal, replaced.
func plain(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case !unicode.IsGraphic(r) && r != '\u200c' && r != '\u200d':
			r = unicode.ReplacementChar
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// shown is a path as it stands on a line: quoted if it holds what a terminal would not show as it is.
func shown(path string) string {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}

// documentJSON is a document as list and get print it.
type documentJSON struct {
	DocumentID string         `json:"document_id"`
	OriginID   string         `json:"origin_id"`
	Key        string         `json:"key"`
	Name       string         `json:"name"`
	Type       llmemory.Type  `json:"type"`
	Date       *time.Time     `json:"date"`
	Metadata   map[string]any `json:"metadata"`
	Format     string         `json:"format"`
	Title      string         `json:"title"`
	Author     string         `json:"author"`
	Language   string         `json:"language"`
	Bytes      int            `json:"bytes"`
	Tokens     int            `json:"tokens"`
	ChunkCount int            `json:"chunk_count"`
	Version    int64          `json:"version"`
	CreatedAt  time.Time      `json:"created_at"`
	UpdatedAt  time.Time      `json:"updated_at"`
}

func newDocumentJSON(d *llmemory.StoredDocument) documentJSON {
	return documentJSON{
		DocumentID: d.ID, OriginID: d.OriginID, Key: d.Key, Name: d.Name, Type: d.Type, Date: timeOrNull(d.Date),
		Metadata: object(d.Metadata), Format: d.Format, Title: d.Title, Author: d.Author, Language: d.Language, Bytes: d.Bytes, Tokens: d.Tokens, ChunkCount: d.ChunkCount,
		Version: d.Version, CreatedAt: d.CreatedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(),
	}
}

// chunkJSON is a passage without its document.
type chunkJSON struct {
	ChunkID  string `json:"chunk_id"`
	ParentID string `json:"parent_id,omitempty"`
	Level    int    `json:"level"`
	Position int    `json:"position"`
	Start    int    `json:"start"`
	End      int    `json:"end"`
	Tokens   int    `json:"tokens"`
	Heading  string `json:"heading"`
	Page     *int   `json:"page"`
	Text     string `json:"text"`
	Context  string `json:"context,omitempty"`
	Summary  string `json:"summary,omitempty"`
}

func newChunkJSON(c *llmemory.Chunk) chunkJSON {
	return chunkJSON{
		ChunkID: c.ID, ParentID: c.ParentID, Level: c.Level, Position: c.Position, Start: c.Start, End: c.End,
		Tokens: c.Tokens, Heading: c.Heading, Page: pageOrNull(c.Page), Text: c.Text, Context: c.Context, Summary: c.Summary,
	}
}

// pageOrNull is null for what has no pages.
func pageOrNull(page int) *int {
	if page == 0 {
		return nil
	}
	return &page
}

func newChunksJSON(chunks []llmemory.Chunk) []chunkJSON {
	out := make([]chunkJSON, len(chunks))
	for i := range chunks {
		out[i] = newChunkJSON(&chunks[i])
	}
	return out
}

// object keeps an empty JSON object from being null.
func object[K ~string, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return m
}

// list keeps an empty JSON list from being null.
func list[V any](l []V) []V {
	if l == nil {
		return []V{}
	}
	return l
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// milliseconds is a duration as JSON has it, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// progress is a line on the terminal that tells how far the work is. On anything but a terminal it is silent.
type progress struct {
	w     io.Writer // nil when nobody looks
	mu    sync.Mutex
	shown time.Time
	dirty bool
}

func (a *app) progress() *progress {
	if !isTerminal(a.stderr) {
		return &progress{}
	}
	return &progress{w: a.stderr}
}

// show replaces the line, a few times a second at most.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown, p.dirty = time.Now(), true
	fmt.Fprintf(p.w, "\r\x1b[K%s", fmt.Sprintf(format, args...))
}

// clear removes the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.dirty, p.shown = false, time.Time{}
	}
}

// pace measures how fast work goes, by what was done of late: things that take longer than others must not spoil the estimate for good.
type pace struct {
	marks []mark
}

type mark struct {
	at   time.Time
	done float64
}

// The estimate looks back over this time, in so many steps.
const (
	paceWindow = 20 * time.Second
	paceMarks  = 40
)

// at notes how much is done by now.
func (p *pace) at(now time.Time, done float64) {
	if n := len(p.marks); n > 1 && now.Sub(p.marks[n-2].at) < paceWindow/paceMarks {
		p.marks = p.marks[:n-1] // the newest one moves along
	}
	p.marks = append(p.marks, mark{now, done})
	for len(p.marks) > 2 && now.Sub(p.marks[1].at) > paceWindow {
		p.marks = p.marks[1:]
	}
}

// rate is how much is done in a second, 0 if that is not known yet.
func (p *pace) rate() float64 {
	if len(p.marks) < 2 {
		return 0
	}
	first, last := p.marks[0], p.marks[len(p.marks)-1]
	if took := last.at.Sub(first.at).Seconds(); took > 0 {
		return max(last.done-first.done, 0) / took
	}
	return 0
}

// left says how long the rest takes, "?" if that is not known yet.
func (p *pace) left(rest float64) string {
	rate := p.rate()
	if rate <= 0 {
		return "?"
	}
	seconds := max(rest, 0) / rate
	if seconds > 1e7 {
		return "months"
	}
	return roughly(time.Duration(seconds * float64(time.Second)))
}

// compact is a value as JSON.
func compact(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v) // metadata came from JSON, so this is out of reach
	}
	return strings.TrimSpace(b.String())
}
