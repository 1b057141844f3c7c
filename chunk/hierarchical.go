package chunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/wordpiece"
)

// version is part of the signature. It goes up with every change that may cut any text differently.
const version = 8

// DefaultMaxLeafTokens is what a reader, or a model's prompt, takes in at a glance. It may be more than an embedding model reads, as a
// leaf of that size is embedded in parts.
const DefaultMaxLeafTokens = 280

// DefaultPartTokens leaves room in the 256 word pieces of all-MiniLM-L6-v2 for the document's name, headings and a line of context.
const DefaultPartTokens = 130

// maxTokenBytes bounds a leaf in bytes as well: it is never longer than this times its token limit. Tokenizers have words
// they cannot spell, however long, as one unknown token, and white space counts for nothing.
const maxTokenBytes = 16

// Size is how large the pieces of one document type should be, in tokens. Zero fields take the default.
type Size struct {
	// Leaf is the size aimed at. Leaves may exceed it by half, so that more paragraphs, tables and functions stay whole, but
	// never MaxLeafTokens. An aim above three quarters of that, nine tenths in source code, is lowered to it.
	Leaf int
	// Parent is the size aimed at for parents, which may exceed it by half.
	Parent int
}

// Hierarchical cuts at the structure of the text: sections, paragraphs, list items, sentences, and smaller things only where
// these do not fit. See the package comment for the rules. The zero value is ready for use.
type Hierarchical struct {
	// MaxLeafTokens is the limit no leaf exceeds, except by a single character that has more tokens. Defaults to
	// [DefaultMaxLeafTokens].
	MaxLeafTokens int
	// PartTokens is how large the parts are in which leaves are embedded, at the most unless the leaf is larger than [MaxParts] of them,
	// see [Piece.Parts]. A passage of several statements is near to no question about one of them if it has but one vector; a part is.
	// Defaults to [DefaultPartTokens]; negative for one vector a leaf.
	PartTokens int
	// Sizes replaces the sizes of single document types. Those of "text" are also for labels that have none here or by
	// default.
	Sizes map[string]Size
	// Count counts tokens as the embedder does. Defaults to the word pieces of all-MiniLM-L6-v2. Counts should add up
	// roughly when texts are joined; the limit is kept even where they do not.
	Count Counter
	// CountName names Count in the signature, as a function has no name of its own. Two chunkers that count differently
	// must be named differently. It is required with Count.
	CountName string
	// Structure says how every text is read, whatever its type and markup are. Defaults to [Auto].
	Structure Structure
}

// Structure is a way to read a text.
type Structure string

const (
	// Auto reads a text as its Markup says, or else as is usual for its Type.
	Auto Structure = ""
	// Paragraphs looks for empty lines, titles, and the ends of sentences.
	Paragraphs Structure = "paragraphs"
	// Markdown reads CommonMark with tables.
	Markdown Structure = "markdown"
	// HTML reads HTML by its tags, which stay in the text.
	HTML Structure = "html"
	// Table reads rows of CSV, with commas, semicolons, tabs or bars between the fields. If the first row is a header, it is the last
	// of the headings of all others.
	Table Structure = "table"
	// Slides reads a text page by page, see [Text.Pages]; without these, form feeds part the pages. Inside a page it reads as the Markup
	// says.
	Slides Structure = "slides"
	// Email reads a message: header, body, quotations by depth, signatures. No leaf holds two of these.
	Email Structure = "email"
	// Chat reads turns of speakers, as people paste or export them.
	Chat Structure = "chat"
	// Code reads source text of the language that Markup names.
	Code Structure = "code"
)

// structures are those that there are.
var structures = []Structure{Auto, Paragraphs, Markdown, HTML, Table, Slides, Email, Chat, Code}

// byMarkup are the structures of mark-up that is not a programming language.
var byMarkup = map[string]Structure{
	"text": Paragraphs, "markdown": Markdown, "html": HTML, "csv": Table, "tsv": Table, "email": Email, "chat": Chat,
}

// structure returns how to read a text.
func (h Hierarchical) structure(t Text) Structure {
	markup, known := byMarkup[t.Markup]
	switch {
	case h.Structure != Auto:
		return h.Structure
	case t.Type == "presentation":
		return Slides
	case known:
		return markup
	case t.Markup != "" || t.Type == "code":
		return Code
	case t.Type == "markdown":
		return Markdown
	case t.Type == "email":
		return Email
	case t.Type == "chat":
		return Chat
	case t.Type == "html" && strings.HasPrefix(strings.TrimLeft(t.Content, "\ufeff \t\r\n"), "<"):
		return HTML
	}
	return Paragraphs
}

// sizes are the defaults by document type. Short turns and slides make small passages; code and reference documentation
// are cut larger, as a function or a procedure that is cut in two is hard to read.
var sizes = map[string]Size{
	"text":            {210, 600},
	"markdown":        {210, 600},
	"html":            {210, 600},
	"pdf":             {210, 600},
	"docx":            {210, 600},
	"report":          {210, 600},
	"unknown":         {210, 600},
	"code":            {200, 700},
	"technical_doc":   {210, 700},
	"legal_document":  {200, 600},
	"business_report": {210, 600},
	"email":           {120, 450},
	"chat":            {100, 400},
	"presentation":    {100, 400},
}

var errCount = errors.New("one of Count and CountName is missing: set both or none")

// Validate returns all faults of the configuration in one error, or nil.
func (h Hierarchical) Validate() error {
	var errs []error
	if h.MaxLeafTokens < 0 {
		errs = append(errs, fmt.Errorf("negative MaxLeafTokens: %d", h.MaxLeafTokens))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Sizes)) {
		if s := h.Sizes[name]; s.Leaf < 0 || s.Parent < 0 {
			errs = append(errs, fmt.Errorf("negative size in Sizes[%q]: %+v", name, s))
		}
	}
	if (h.Count == nil) != (h.CountName == "") {
		errs = append(errs, errCount)
	}
	if !slices.Contains(structures, h.Structure) {
		errs = append(errs, fmt.Errorf("unknown Structure %q: there are %q", h.Structure, structures[1:]))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("chunk.Hierarchical: %w", err)
	}
	return nil
}

// Signature names the algorithm, its version, and every setting that differs from the default.
func (h Hierarchical) Signature() string {
	var b strings.Builder
	b.WriteString("hierarchical/" + strconv.Itoa(version))
	b.WriteString(";max=" + strconv.Itoa(h.max()))
	if h.PartTokens != 0 {
		b.WriteString(";part=" + strconv.Itoa(max(h.PartTokens, 0)))
	}
	if h.CountName != "" {
		b.WriteString(";count=" + strconv.Quote(h.CountName))
	}
	if h.Structure != Auto {
		b.WriteString(";structure=" + string(h.Structure))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Sizes)) {
		fmt.Fprintf(&b, ";%q=%d,%d", name, h.Sizes[name].Leaf, h.Sizes[name].Parent)
	}
	return b.String()
}

func (h Hierarchical) max() int {
	if h.MaxLeafTokens > 0 {
		return h.MaxLeafTokens
	}
	return DefaultMaxLeafTokens
}

// parts returns in how many parts a leaf of so many tokens is embedded.
func (h Hierarchical) parts(tokens int) int {
	most := cmp.Or(h.PartTokens, DefaultPartTokens)
	if most < 0 {
		return 1
	}
	return max(1, min((tokens+most-1)/most, MaxParts))
}

// size returns the sizes for a document type with defaults filled in and the limit applied.
func (h Hierarchical) size(label string, structure Structure) Size {
	standard, known := sizes[label]
	own, set := h.Sizes[label]
	if !known {
		standard = sizes["text"]
		if !set {
			own = h.Sizes["text"]
		}
	}
	size := Size{Leaf: cmp.Or(own.Leaf, standard.Leaf), Parent: cmp.Or(own.Parent, standard.Parent)}
	largest := h.max() * 3 / 4
	if structure == Code {
		largest = h.max() * 9 / 10
	}
	size.Leaf = max(1, min(size.Leaf, largest))
	return size
}

// Chunk cuts t. It fails for a faulty configuration, a text that is not UTF-8 (see [ErrInvalidUTF8]), and when ctx ends.
func (h Hierarchical) Chunk(ctx context.Context, t Text) ([]Piece, error) {
	return h.chunk(ctx, t, windowBytes)
}

// chunk is Chunk with a size of the windows in which Markdown is parsed.
func (h Hierarchical) chunk(ctx context.Context, t Text, window int) ([]Piece, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	if !utf8.ValidString(t.Content) {
		return nil, fmt.Errorf("chunk: %w", ErrInvalidUTF8)
	}
	structure := h.structure(t)
	count, size, limit := h.Count, h.size(t.Type, structure), h.max()
	if count == nil {
		count = wordpiece.Default().Count
	}
	b := &builder{
		ctx: ctx, text: t.Content, count: count,
		max: limit, keep: min(limit, size.Leaf*3/2), crumb: min(12, limit/8), tiny: size.Leaf * 2 / 5,
		window: window, unix: unix(t.Content),
	}
	if err := b.read(structure, t); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	if len(b.soft) > 0 {
		b.outline = append(b.soft, b.outline...)
		slices.SortStableFunc(b.outline, func(a, b heading) int { return a.start - b.start })
	}
	packer := packer{units: b.units, target: size.Leaf, max: b.keep}
	if structure == Code {
		packer.code, packer.radius = true, size.Leaf*3/4
	}
	packer.sections(0, len(b.units))
	leaves, err := b.leaves(packer.cuts)
	if err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	headings := func(start, _ int) []string { return b.outline.at(start) }
	if b.declared {
		headings = b.outline.over
	}
	pieces := assemble(leaves, size.Parent, headings)
	for i := range pieces {
		if p := &pieces[i]; p.Level == 0 {
			p.Parts = h.parts(p.Tokens)
		}
	}
	if b.speakers != nil {
		b.speakers.headings(pieces)
	}
	return pieces, nil
}

// read cuts the text into units by its structure, and notes its headings.
func (b *builder) read(structure Structure, t Text) error {
	switch structure {
	case Markdown:
		is, err := b.wiki()
		switch {
		case err != nil:
			return err
		case is:
			return b.paragraphs(0, len(b.text), blockStrength)
		}
		return b.markdown()
	case HTML:
		return b.html()
	case Table:
		return b.table(t.Markup)
	case Slides:
		return b.slides(t)
	case Email:
		return b.email()
	case Chat:
		return b.chat()
	case Code:
		return b.source(t.Markup)
	default:
		if err := b.titles(0, len(b.text)); err != nil {
			return err
		}
		b.pages = t.Pages
		return b.paragraphs(0, len(b.text), blockStrength)
	}
}

// leaves measures what the packer put together, and cuts again what turns out larger than the limit: counts of joined texts
// need not be the sum of their parts' counts.
func (b *builder) leaves(cuts []int) ([]unit, error) {
	var out []unit
	var emit func(lo, hi int) error
	emit = func(lo, hi int) error {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		u := b.units[lo]
		u.end = b.units[hi-1].end
		u.cost = b.count(b.text[u.start:u.end])
		if u.cost <= b.max && u.end-u.start <= b.max*maxTokenBytes || hi-lo == 1 {
			out = append(out, u)
			return nil
		}
		at := strongest(b.units, lo, hi)
		if err := emit(lo, at); err != nil {
			return err
		}
		return emit(at, hi)
	}
	for i, lo := range cuts {
		hi := len(b.units)
		if i+1 < len(cuts) {
			hi = cuts[i+1]
		}
		if err := emit(lo, hi); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// strongest returns the index in (lo, hi) of the strongest border, of several the one nearest to the middle.
func strongest(units []unit, lo, hi int) int {
	best := lo + 1
	distance := func(i int) int { return max(i-lo, hi-i) }
	for i := lo + 2; i < hi; i++ {
		if s := units[i].strength; s > units[best].strength || s == units[best].strength && distance(i) < distance(best) {
			best = i
		}
	}
	return best
}

// assemble makes the result: leaves with their headings, and parents before the leaves they cover.
func assemble(leaves []unit, parentTarget int, headings func(start, end int) []string) []Piece {
	if len(leaves) == 0 {
		return nil
	}
	groups := packer{units: leaves, target: parentTarget, max: parentTarget * 3 / 2}
	groups.parents(0, len(leaves))
	pieces := make([]Piece, 0, len(leaves)+len(groups.cuts))
	for i, lo := range groups.cuts {
		hi := len(leaves)
		if i+1 < len(groups.cuts) {
			hi = groups.cuts[i+1]
		}
		parent := -1
		if hi-lo > 1 {
			parent = len(pieces)
			tokens := 0
			for _, leaf := range leaves[lo:hi] {
				tokens += leaf.cost
			}
			pieces = append(pieces, Piece{
				Start: leaves[lo].start, End: leaves[hi-1].end, Level: 1, Parent: -1,
				Heading: headings(leaves[lo].start, leaves[hi-1].end), Tokens: tokens,
			})
		}
		for _, leaf := range leaves[lo:hi] {
			pieces = append(pieces, Piece{
				Start: leaf.start, End: leaf.end, Parent: parent, Heading: headings(leaf.start, leaf.end), Tokens: leaf.cost,
			})
		}
	}
	return pieces
}
