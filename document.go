package llmemory

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/llmemory/llmemory/llm"
)

// Type is a document's type: a label that chooses chunk sizes and that searches can filter by.
type Type string

// The document types. Other strings are refused.
const (
	PDF            Type = "pdf"
	Markdown       Type = "markdown"
	Code           Type = "code"
	Text           Type = "text"
	HTML           Type = "html"
	DOCX           Type = "docx"
	Email          Type = "email"
	Report         Type = "report"
	Chat           Type = "chat"
	Presentation   Type = "presentation"
	LegalDocument  Type = "legal_document"
	TechnicalDoc   Type = "technical_doc"
	BusinessReport Type = "business_report"
	Unknown        Type = "unknown"
)

// Types lists every document type.
func Types() []Type {
	return []Type{PDF, Markdown, Code, Text, HTML, DOCX, Email, Report, Chat, Presentation, LegalDocument, TechnicalDoc,
		BusinessReport, Unknown}
}

// ParseType returns the type that s names, ignoring case. The error is an [*InvalidError] that lists the types.
func ParseType(s string) (Type, error) {
	t := Type(strings.ToLower(s))
	if slices.Contains(Types(), t) {
		return t, nil
	}
	names := make([]string, 0, len(Types()))
	for _, t := range Types() {
		names = append(names, string(t))
	}
	return "", invalidf("type", "%q is none of %s", s, strings.Join(names, ", "))
}

// IfExists says what Add does when the document's identity (owner, origin, key) is taken.
type IfExists string

const (
	// Update replaces the stored document. It is the default.
	Update IfExists = "update"
	// Skip leaves the stored document as it is and reports it as unchanged.
	Skip IfExists = "skip"
	// Refuse makes Add fail with a [*ConflictError].
	Refuse IfExists = "error"
)

// Document is what Add takes. Only Content (or Source) is required.
type Document struct {
	// OriginID says where the document comes from in the host's world: a user, a mailbox, an archive. Searches filter by it.
	// 1 to 512 bytes of printable text; empty means "default".
	OriginID string
	// Key tells documents of one origin apart. It defaults to Name; with neither, to the hash of the content.
	Key string
	// Name is the document's title or file name. It is searched together with the text. Optional.
	Name string
	// Type defaults to the type the extractor found, else to [Unknown].
	Type Type
	// Title and Author are what the document says of itself; at most 512 bytes of printable text each. A document without a name is
	// searched by its title together with the text. They default to what the extractor found. Optional.
	Title, Author string
	// Format says what the document was read from, such as "docx", and Markup how the structure of its text is written, see
	// [extract.Text]. They default to what the extractor found. Optional.
	Format, Markup string
	// Pages are the byte offsets in Content at which pages begin, in order: the first is that of page 1. Nil for a document that
	// has no pages. They default to what the extractor found.
	Pages []int
	// Content is the document's text, UTF-8, at most [Config.MaxContentBytes]. NUL bytes are removed and counted. Exactly one of
	// Content and Source is set.
	Content string
	// Source is read to its end and turned into text by [Config.Extractor], unless the stored version was read from the same bytes in
	// the same way. What lies within it, such as attachments and members of archives, becomes documents of their own, whose keys are
	// this document's key, a slash, and their name. A regular file and a reader in memory are read where they are; of others a copy
	// is made.
	Source io.Reader
	// Media is the MIME type of the source if the caller knows it, such as "text/html; charset=latin1".
	Media string
	// Date is the document's own date, for filters. The zero time means none.
	Date time.Time
	// Metadata is the user's: a JSON object of at most 64 KiB and 16 levels, returned as it was given, filterable. Numbers come
	// back as float64, or as json.Number where a float64 would lose digits.
	Metadata map[string]any
	// Language is the text's language as an ISO 639-1 code such as "de". Empty means detected.
	Language string
	// IfExists says what happens when the identity is taken. Defaults to [Update].
	IfExists IfExists
	// Reread says of which sources the outcome is found again although neither they nor the way of reading them changed. It holds
	// for what lies within the source, too. Defaults to [RereadNone].
	Reread Reread
	// Embed says when the document's passages get their vectors. Defaults to [EmbedNow].
	Embed Embed
	// Vectors are the passages' vectors for whoever has them already, one for each passage in order; a text of one passage has one.
	// They must be of the model whose generation is active, and are stored in the same transaction, so nobody is asked for them.
	// A passage that stays as it was keeps the vector it has. Nil means that the embedder makes them.
	Vectors [][]float32
}

// Reread says which sources are read although what would become of them is known.
type Reread string

const (
	// RereadNone reads what is new or changed, and what failed for a reason that may have gone, such as a timeout. A source that the
	// ledger knows to be no good (see [Added.SourceHash]) fails as it did, unread. It is the default.
	RereadNone Reread = ""
	// RereadFailed reads every source of which there is no document yet.
	RereadFailed Reread = "failed"
	// RereadAll reads every source.
	RereadAll Reread = "all"
)

// Embed says when passages get their vectors.
type Embed string

const (
	// EmbedNow asks the embedder during the Add, after the document was stored. What the embedder fails to do stays in the queue.
	// It is the default.
	EmbedNow Embed = "now"
	// EmbedLater leaves it to the queue, which [Memory.Run] works off.
	EmbedLater Embed = "later"
	// EmbedNever keeps the document out of vector search, and away from the embedder; text search finds it. A later Add of the
	// document without it embeds.
	EmbedNever Embed = "never"
)

// Status tells what Add did.
type Status string

// The outcomes of Add.
const (
	Created   Status = "created"
	Updated   Status = "updated"
	Unchanged Status = "unchanged"
	Failed    Status = "failed"
)

// Added is the outcome of adding one document.
type Added struct {
	// DocumentID is empty for a container, such as an archive, which is no document itself: its outcome is that of its parts, and it
	// fails if all of them do.
	DocumentID   string
	Key          string
	Status       Status
	Chunks       int // leaves the document has now
	ChunksReused int // of these, kept from the stored version with their ids and vectors
	Embedded     int // leaves that got their vector in this call, those that reused one included
	Pending      int // leaves of this call that wait for a vector in the queue
	// EmbedErr is why leaves wait although they were to be embedded now. The document is stored all the same.
	EmbedErr error
	// Annotated counts leaves that got a context line or a summary from [Config.Annotator] in this call, and in a Preview, those that
	// would be asked for. Unannotated counts leaves that were to get one and did not. The document is stored all the same. If AnnotateErr
	// says why, a later Add of the document makes up for it; else the annotator has nothing to say of them and is not asked again.
	Annotated, Unannotated int
	AnnotateErr            error
	// Usage is what the annotator took for this document, and in a Preview, what it would take.
	Usage llm.Usage
	// RemovedNULs counts NUL bytes taken out of the content.
	RemovedNULs int
	// UnsearchableWords counts words too long to be indexed (over 128 bytes): they are stored but text search cannot find them.
	UnsearchableWords int
	// Tokens are those of the leaves that would be embedded, as the embedder counts them. Only Preview sets it.
	Tokens int
	// Parts are the outcomes of what lies within the document's source, in order, each with its own Err. A part that fails never stops
	// the others, nor the document. There are none if the document is unchanged.
	Parts []Added
	// Warnings are what the extractor left out or mended, for people.
	Warnings []string
	// SourceHash is of a source that failed and will fail again as long as its bytes and the way of reading them stay: keep it in the
	// ledger ([RunFile.SourceHash]), and it is not read again. Nil for what did not fail, or not for good.
	SourceHash []byte
	// Err is why the document was not added. Only AddMany sets it; Add returns it.
	Err error
}

// StoredDocument is a document as the store has it, without its text.
type StoredDocument struct {
	ID         string
	OriginID   string
	Key        string
	Name       string
	Type       Type
	Date       time.Time // zero when the document has none
	Metadata   map[string]any
	Format     string // of the source, such as "docx"; "" when not known
	Markup     string // of the text, such as "markdown"; "" for none but what is usual for the type
	Title      string // what the document says of itself
	Author     string
	Language   string // detected or given; "und" when undetermined
	Bytes      int    // of the stored text
	Tokens     int    // of the stored text, as the chunker counts
	ChunkCount int    // leaves
	Version    int64  // 1 for a new document, then one more with every change
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Chunk is a passage of a document. Text is exactly the document's text from byte Start to byte End.
type Chunk struct {
	ID         string
	DocumentID string
	ParentID   string // "" when the chunk has no parent
	Level      int    // 0 for a leaf, which is searched; 1 for a parent, which is context
	Position   int    // index among the document's chunks of the same level, from 0
	Start, End int    // byte offsets into the document's text
	Heading    string // heading path such as "Guide > Install", "" when there is none
	// Page and PageEnd are the pages, counted from 1, on which it begins and ends; 0 for a document that has no pages.
	Page, PageEnd int
	Tokens        int
	Text          string
	// Context says where the passage belongs in the document; it is searched and embedded together with the text. Summary is a short
	// form of the text. Both are made by [Config.Annotator], or by a chunker that can, and empty otherwise.
	Context, Summary string
}

// header is what a document's passages are searched and embedded with: its name, or else its title.
func (d *StoredDocument) header() string { return cmp.Or(d.Name, d.Title) }
