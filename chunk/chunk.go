package chunk

import (
	"context"
	"errors"
)

// ErrInvalidUTF8 is wrapped in the error returned for a text that is not valid UTF-8.
var ErrInvalidUTF8 = errors.New("text is not valid UTF-8")

// Text is what is to be cut.
type Text struct {
	// Content is the text, valid UTF-8. Line ends may be of any kind; a byte order mark is kept.
	Content string
	// Type is the label of the document type, such as "markdown", "code" or "email". It chooses the structure that is
	// looked for and the sizes; an empty or unknown label is treated as "text".
	Type string
	// Markup says how the structure of Content is written, where the type does not: "markdown", "html", "csv", "tsv", "email",
	// "chat" or the name of a programming language such as "go". Empty means what is usual for the type.
	Markup string
	// Pages are the byte offsets in Content at which pages, or slides, begin, in order, if it has any. Slides are cut there; text
	// without mark-up by preference, where a paragraph ends with the page. In other texts pages end anywhere and do not matter.
	Pages []int
}

// Piece is one passage of a text. The passage itself is Content[Start:End].
type Piece struct {
	// Start and End are byte offsets into the text, on borders of characters. A piece is never empty and neither begins nor
	// ends with white space.
	Start, End int
	// Level is 0 for a leaf, which is what gets embedded and searched, and 1 for a parent, which is context.
	Level int
	// Parent is the index, in the same result, of the parent that covers the piece, or -1.
	Parent int
	// Heading is the path of headings in force at Start, outermost first, without mark-up. That of source code names the declarations
	// in the piece; if they are several, the last element is a list of names. The slice may be shared between pieces and must
	// not be changed.
	Heading []string
	// Tokens is the number of tokens in the piece as the chunker counts them.
	Tokens int
	// Overlap is how many bytes before Start belong to the context of a leaf: text of the leaves before that is searched and
	// embedded together with it, if whoever stores it does so, but is not part of it. Most strategies have none.
	Overlap int
	// Parts is in how many parts of about equal size a leaf is embedded, see [Parts]: each has a vector of its own, their sum is one
	// more, and the leaf is as near to a question as the nearest of these. 0 and 1 mean one vector for the whole. At most [MaxParts].
	Parts int
	// Context, of a leaf, says in a line where the piece belongs in the text; it is searched and embedded with it. Summary is a short
	// form of the piece. No chunker of this package makes either; see [Note] for those that take a while.
	Context, Summary string
}

// Note is what is written about a leaf when it is cut, as by a language model: the [Piece.Context] and [Piece.Summary] that it is to
// have. Either may be empty.
type Note struct{ Context, Summary string }

// Chunker cuts a text into pieces. Implementations are deterministic and safe for concurrent use.
//
// The leaves of a result come in the order of the text and do not overlap. Together they hold everything but white space:
// nothing else lies before the first, between two, or after the last. A parent covers a run of two or more leaves exactly,
// from the start of the first to the end of the last, stands before them in the result, and overlaps no other parent. A text
// without anything but white space has no pieces.
type Chunker interface {
	Chunk(ctx context.Context, t Text) ([]Piece, error)
	// Signature names the way of cutting. It changes whenever the same text might be cut differently, so that whoever
	// stored the signature beside the pieces knows when to cut again.
	Signature() string
}

// Func makes a Chunker of a function. Its signature is Name, which should carry a version.
type Func struct {
	Name string
	Cut  func(ctx context.Context, t Text) ([]Piece, error)
}

// Chunk calls Cut.
func (f Func) Chunk(ctx context.Context, t Text) ([]Piece, error) { return f.Cut(ctx, t) }

// Signature returns Name.
func (f Func) Signature() string { return f.Name }

// Counter returns the number of tokens in a text. It must be deterministic and safe for concurrent use.
type Counter func(text string) int
