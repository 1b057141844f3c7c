package chunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/wordpiece"
)

// DefaultTokens is the size of leaves where a strategy has one size for all documents.
const DefaultTokens = 200

// Fixed cuts after a fixed number of tokens, whatever stands there: the usual baseline. It cuts between words only. It knows no
// headings and makes no parents, and an edit changes all leaves after it. The zero value is ready for use.
type Fixed struct {
	// Tokens is the size of a leaf, its overlap included. Defaults to [DefaultTokens].
	Tokens int
	// Overlap is how many of these tokens are the end of the leaf before. They become [Piece.Overlap]. Defaults to none, and must be
	// less than Tokens.
	Overlap int
	// Count and CountName are those of [Hierarchical].
	Count     Counter
	CountName string
}

func (f Fixed) settings() sized {
	return sized{"chunk.Fixed", f.Tokens, f.Overlap, f.Count, f.CountName}
}

// Validate returns all faults of the configuration in one error, or nil.
func (f Fixed) Validate() error {
	return f.settings().validate(func(limit int) error {
		if f.Overlap >= limit {
			return fmt.Errorf("an Overlap of %d tokens fills leaves of %d", f.Overlap, limit)
		}
		return nil
	})
}

// Signature names the strategy, its version and its settings.
func (f Fixed) Signature() string { return f.settings().signature("fixed/1") }

// Chunk cuts t. It fails for a faulty configuration, a text that is not UTF-8 (see [ErrInvalidUTF8]), and when ctx ends.
func (f Fixed) Chunk(ctx context.Context, t Text) ([]Piece, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	b, err := f.settings().builder(ctx, t)
	if err != nil {
		return nil, err
	}
	w := window{builder: b, overlap: f.Overlap}
	if err := w.words(); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	return w.pieces, nil
}

// sized are the settings that strategies with one size have in common.
type sized struct {
	name      string
	tokens    int
	overlap   int
	count     Counter
	countName string
}

func (s sized) limit() int { return cmp.Or(s.tokens, DefaultTokens) }

// validate checks the settings, and those that are well-formed by more, which may be nil.
func (s sized) validate(more func(limit int) error) error {
	var errs []error
	if s.tokens < 0 {
		errs = append(errs, fmt.Errorf("negative Tokens: %d", s.tokens))
	}
	if s.overlap < 0 {
		errs = append(errs, fmt.Errorf("negative Overlap: %d", s.overlap))
	}
	if (s.count == nil) != (s.countName == "") {
		errs = append(errs, errCount)
	}
	if more != nil && s.tokens >= 0 && s.overlap >= 0 {
		errs = append(errs, more(s.limit()))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s sized) signature(version string) string {
	out := fmt.Sprintf("%s;tokens=%d;overlap=%d", version, s.limit(), s.overlap)
	if s.countName != "" {
		out += fmt.Sprintf(";count=%q", s.countName)
	}
	return out
}

// builder returns what cuts t into units of no more than the limit.
func (s sized) builder(ctx context.Context, t Text) (*builder, error) {
	if err := s.validate(nil); err != nil {
		return nil, err
	}
	if !utf8.ValidString(t.Content) {
		return nil, fmt.Errorf("chunk: %w", ErrInvalidUTF8)
	}
	count, limit := s.count, s.limit()
	if count == nil {
		count = wordpiece.Default().Count
	}
	return &builder{ctx: ctx, text: t.Content, count: count, max: limit, keep: limit, crumb: min(12, limit/8), sentential: true,
		unix: unix(t.Content)}, nil
}

// window is the leaf of a fixed size that is being filled.
type window struct {
	*builder
	overlap int
	first   int    // how many of words are the overlap
	filled  []unit // the words in it
	cost    int    // of these
	pieces  []Piece
}

// words cuts the text.
func (w *window) words() error {
	for at := 0; at < len(w.text); {
		if r, size := utf8.DecodeRuneInString(w.text[at:]); unicode.IsSpace(r) {
			at += size
			continue
		}
		stop := len(w.text)
		if n := strings.IndexFunc(w.text[at:], unicode.IsSpace); n >= 0 {
			stop = at + n
		}
		if cost := w.measure(at, stop, w.max); cost <= w.max {
			if err := w.put(unit{start: at, end: stop, cost: cost}); err != nil {
				return err
			}
		} else if err := w.parts(at, stop); err != nil {
			return err
		}
		at = stop
	}
	if len(w.filled) > w.first {
		return w.flush()
	}
	return nil
}

// parts puts in a word that fits into no leaf.
func (w *window) parts(start, end int) error {
	w.units = w.units[:0]
	if err := w.characters(start, end, insideWord); err != nil {
		return err
	}
	for _, u := range w.units {
		if err := w.put(u); err != nil {
			return err
		}
	}
	return nil
}

// put adds a word, after a cut where it does not fit.
func (w *window) put(u unit) error {
	if w.cost+u.cost > w.max && len(w.filled) > w.first {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for w.first > 0 && w.cost+u.cost > w.max { // what is repeated leaves no room
		w.cost -= w.filled[0].cost
		w.filled, w.first = w.filled[1:], w.first-1
	}
	w.filled, w.cost = append(w.filled, u), w.cost+u.cost
	return nil
}

// flush makes a leaf of the words that are there, and leaves those that the next one repeats.
func (w *window) flush() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.leaf(w.filled[0].start, w.filled[w.first:])
	from, cost := len(w.filled), 0
	for from > 0 && cost+w.filled[from-1].cost <= w.overlap {
		from--
		cost += w.filled[from].cost
	}
	w.filled = append(w.filled[:0:0], w.filled[from:]...)
	w.first, w.cost = len(w.filled), cost
	return nil
}

// leaf adds words as a leaf whose overlap begins at from; counts of joined texts need not be the sum of their parts' counts.
func (w *window) leaf(from int, words []unit) {
	if len(words) == 0 {
		return
	}
	start, end := words[0].start, words[len(words)-1].end
	if w.fits(from, end) || len(words) == 1 && from == start {
		w.pieces = append(w.pieces, Piece{Start: start, End: end, Parent: -1, Tokens: w.count(w.text[start:end]), Overlap: start - from})
		return
	}
	if from < start {
		w.leaf(start, words)
		return
	}
	half := len(words) / 2
	w.leaf(start, words[:half])
	w.leaf(words[half].start, words[half:])
}
