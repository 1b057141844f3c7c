package llmemory

import (
	"context"
	"encoding/json"
	"time"
)

// Store keeps documents, chunks and the text index of many owners. It is the seam between this package, which decides, and the
// drivers, which hold SQL and scanning only; stores never analyse text and never look inside an index segment.
//
// DO NOT IMPLEMENT this interface outside this module before 1.0: methods will be added. Use store/postgres, and
// store/storetest to learn what each sentence below means in practice.
//
// Every parameter struct carries the owner, and no method shows, counts or changes a row of another owner, the named exceptions
// aside ([BacklogParams], which lists owners that need maintenance, [OwnersParams], which lists all, and Info). Each method is atomic. Errors wrap one of
// [ErrUnavailable], [ErrCommitUnknown], [ErrClosed], [ErrCorrupt], [ErrNotFound] or the context's error. Methods may be called
// concurrently.
type Store interface {
	// Lookup returns the stored documents of these identities, in no particular order; identities without a document are absent.
	Lookup(ctx context.Context, p LookupParams) ([]DocumentRecord, error)
	// Document returns one document, with its chunks when asked for, as of one instant. ErrNotFound if the owner has none.
	Document(ctx context.Context, p DocumentParams) (*DocumentRecord, []ChunkRecord, error)
	// Chunks returns a page of a document's chunks of one level ordered by position, and how many there are in all.
	// ErrNotFound if the owner has no such document.
	Chunks(ctx context.Context, p ChunksParams) ([]ChunkRecord, int, error)
	// List returns a page of the owner's documents that p.Where selects and how many it selects in all. The order is total:
	// ties are broken by document id.
	List(ctx context.Context, p ListParams) ([]DocumentRecord, int, error)
	// DocumentIDs returns up to p.Limit ids of the owner's documents, ascending: the first that come after p.After. Who asks on from
	// the last id walks over all documents that are there from the beginning to the end, whatever else comes and goes meanwhile.
	DocumentIDs(ctx context.Context, p DocumentIDsParams) ([]string, error)
	// Stats counts what the owner has. An unknown owner has nothing, which is no error.
	Stats(ctx context.Context, p StatsParams) (*StatsRecord, error)
	// View opens a read snapshot: all its answers show the same instant. It takes no lock that a writer waits for.
	View(ctx context.Context, p ViewParams) (View, error)
	// Edit opens a write transaction that holds the owner's write lock until Commit or Rollback, so an owner's edits happen one
	// after the other. It creates the owner's state if there is none.
	Edit(ctx context.Context, p EditParams) (Edit, error)
	// Backlog returns up to p.Limit owners whose index could do with maintenance, most urgent first.
	Backlog(ctx context.Context, p BacklogParams) ([]string, error)
	// Owners returns up to p.Limit owners that have documents, ascending byte by byte: the first that come after p.After.
	Owners(ctx context.Context, p OwnersParams) ([]string, error)
	// Vectors: generations, the queue, the vectors.
	Vectors
	// Ledger: runs and what became of their files.
	Ledger
	// Info describes the store for people: engine, versions, where the tables are.
	Info(ctx context.Context) (*Info, error)
	// Close releases what the store opened itself, never what it was given. Later calls fail with ErrClosed; closing twice is
	// harmless.
	Close() error
}

// Joiner is implemented by a [Store] that lives inside a transaction of the host's: its Edits become savepoints, so nothing is
// retried, no maintenance is done, and nothing is committed before the host commits.
type Joiner interface {
	Joined() bool
}

// Replicated is implemented by a [Store] that lets replicas of its database answer Document, Chunks, List, Stats and View. A replica
// may be behind: what it answers was true a short time ago, at one instant.
type Replicated interface {
	// Primary returns the store whose every answer is of the database that is written to, and so shows all that was committed
	// before. It is the same one each time; closing it does nothing.
	Primary() Store
}

// View is a read snapshot of one owner. It is not safe for concurrent use and must be closed.
type View interface {
	// Postings returns the owner's index state, its segments with the pages that the terms asked for belong to (none without terms),
	// and which leaves the filter selects: their ordinals if they are at most p.SelectLimit, else Broad. With p.Vector it also
	// returns the leaves nearest to a query's vector, which is for searches without a filter.
	Postings(ctx context.Context, p PostingsParams) (*PostingsRecord, error)
	// Match returns those of the candidates whose document p.Where selects, in the order given. It looks at the candidates in
	// stages, whose sizes p.Stages gives, and stops after the first stage that leaves it with p.Limit of them. With p.Vector it
	// also returns the leaves nearest to a query's vector among those that p.Where and p.Vector.Among select: p.Vector.Limit of
	// them, while there are so many.
	Match(ctx context.Context, p MatchParams) (*MatchRecord, error)
	// Hits returns the leaves of these candidates with their documents and, when asked for, context: ordered by group, then
	// chunk id, at most p.Limit of them. The snapshot ends with this call.
	Hits(ctx context.Context, p HitsParams) ([]HitRecord, error)
	// Close ends the snapshot, also when ctx has ended. Closing twice is harmless.
	Close(ctx context.Context) error
}

// Edit is a write transaction on one owner. It is not safe for concurrent use and must end with Commit or Rollback.
type Edit interface {
	// State returns the owner's state as of the moment the lock was taken.
	State() OwnerState
	// Documents returns the documents that EditParams selected, each with its chunks (without their text).
	Documents() []EditDocument
	// Segments returns the owner's segments ordered by Low, without their content.
	Segments() []Segment
	// Generations returns the generations there are, as of a moment after the lock was taken: what this edit queues for all of
	// them is not queued by [Vectors.Backfill], and what it does not is.
	Generations() []Generation
	// Load returns the named segments with all their pages.
	Load(ctx context.Context, p LoadParams) ([]LoadedSegment, error)
	// Leaves returns a page of the owner's leaves with text, ordered by ordinal, from p.After on (exclusive).
	Leaves(ctx context.Context, p LeavesParams) ([]LeafRecord, error)
	// Put writes a part of the changes ahead of Commit: pages of segments that it is to insert, where they are too many to be held
	// until then, and rows, so that the caller can do something else meanwhile. They are part of the edit: nobody else sees them
	// before Commit, and without it nothing is left of them.
	Put(ctx context.Context, p PutParams) error
	// Commit applies the changes, however many, and commits. ErrCommitUnknown if the connection was lost in the act.
	Commit(ctx context.Context, c Changes) (*Committed, error)
	// Rollback leaves everything as it was, also when ctx has ended. Harmless after Commit.
	Rollback(ctx context.Context) error
}

// LookupParams are the parameters of [Store.Lookup].
type LookupParams struct {
	Owner      string
	Identities []Identity
}

// DocumentParams are the parameters of [Store.Document].
type DocumentParams struct {
	Owner      string
	DocumentID string
	Leaves     bool // return the leaves, with their text, ordered by position
	Parents    bool // return the parents too, after the leaves
}

// ChunksParams are the parameters of [Store.Chunks].
type ChunksParams struct {
	Owner      string
	DocumentID string
	Level      int
	Offset     int
	Limit      int
}

// ListParams are the parameters of [Store.List].
type ListParams struct {
	Owner      string
	Where      Where
	OrderBy    Order
	Descending bool
	Offset     int
	Limit      int
}

// DocumentIDsParams are the parameters of [Store.DocumentIDs].
type DocumentIDsParams struct {
	Owner string
	After string // a document id, known or not; "" for the beginning
	Limit int
}

// StatsParams are the parameters of [Store.Stats].
type StatsParams struct {
	Owner  string
	Folded int // the size from which a segment counts as folded
}

// ViewParams are the parameters of [Store.View].
type ViewParams struct {
	Owner string
}

// EditParams are the parameters of [Store.Edit]. At most one of Identities, DocumentIDs and Where selects documents. The chunks of
// those that are not selected by identity may come without heading and lead: they are to be removed.
type EditParams struct {
	Owner       string
	Identities  []Identity
	DocumentIDs []string
	Where       *Where
	// New says that the Identities had no document a moment ago. A store may then look for them in a cheaper way; it must find
	// those that are there by now all the same.
	New bool
	// Limit bounds how many documents Where selects, lowest ids first; 0 means all.
	Limit int
	// Analysis is the analysis version a new owner starts with.
	Analysis int
}

// BacklogParams are the parameters of [Store.Backlog]. They name no owner: maintenance crosses owners by nature.
type BacklogParams struct {
	Analysis int // the current analysis version: owners with an older one need re-indexing, owners with MergeDue merging
	Limit    int
}

// OwnersParams are the parameters of [Store.Owners]. They name no owner: to know who the owners are is an act of administration,
// which moves or backs up what all of them have.
type OwnersParams struct {
	After string // an owner, known or not; "" for the beginning
	Limit int
}

// LoadParams are the parameters of [Edit.Load].
type LoadParams struct {
	Owner    string
	Segments []int64
}

// LeavesParams are the parameters of [Edit.Leaves].
type LeavesParams struct {
	Owner string
	After int64 // ordinal; -1 for the first page
	Limit int
}

// PutParams are the parameters of [Edit.Put].
type PutParams struct {
	Owner string
	Rows
	Pages []IndexPage
}

// PostingsParams are the parameters of [View.Postings].
type PostingsParams struct {
	Owner       string
	Terms       []string
	Positions   bool // return positions too
	Where       Where
	SelectLimit int // the most ordinals Selected may hold
	// Vector asks for nearest leaves as well; nil for none. Only without a Where.
	Vector *VectorParams
}

// MatchParams are the parameters of [View.Match].
type MatchParams struct {
	Owner    string
	Ordinals []uint64 // in the order of their rank
	Stages   [3]int   // sizes of the stages; their sum is len(Ordinals)
	Where    Where
	Limit    int
	Vector   *VectorParams // asks for nearest leaves as well; nil for none
}

// MatchRecord is the answer of [View.Match].
type MatchRecord struct {
	Ordinals []uint64      // nil without candidates
	Vector   *VectorRecord // when asked for
}

// HitsParams are the parameters of [View.Hits].
type HitsParams struct {
	Owner      string
	Ordinals   []uint64
	Groups     []int // parallel to Ordinals: hits are ordered by group, then chunk id
	Limit      int
	Parents    bool // return each hit's parent
	Neighbours int  // return so many leaves before and after each hit
}

// OwnerState is what the text index keeps about an owner as a whole. It is written with every change, under the owner's lock.
type OwnerState struct {
	Documents   int64          // documents
	Leaves      int64          // live leaves: N of BM25
	Length      int64          // sum of the live leaves' lengths in terms
	NextOrdinal uint64         // the next leaf's ordinal; never goes back
	NextSegment int64          // the next segment's id; never goes back
	Analysis    int            // version of the analysis that made the index
	Languages   map[string]int // live leaves by language
	MergeDue    bool           // segments could do with merging
}

// DocumentRecord is a stored document with the columns that only this package reads. In [Changes], one with CreatedAt comes from
// another store.
type DocumentRecord struct {
	StoredDocument
	// ContentHash is of content, name and pipeline, and of who wrote the context lines: equal means nothing to index.
	ContentHash []byte
	// SourceHash is of the source's bytes and of how they are read: equal means the source need not be read again. Nil: not known.
	SourceHash  []byte
	Pages       []byte // where pages begin, packed; nil for none
	RawMetadata json.RawMessage
	Tail        string // the white space after the last leaf
	NoVectors   bool   // its leaves are not to be embedded
}

// ChunkRecord is a stored chunk.
type ChunkRecord struct {
	Chunk
	// Lead is the white space between the previous leaf's end (or the start of the text) and this leaf, so that leads, texts and
	// the document's tail make up the whole text. Leaves only.
	Lead      string
	Ordinal   uint64 // leaves only
	Length    int    // indexed terms; leaves only
	Parts     int    // in how many parts it is embedded, 1 for as a whole; leaves only
	InputHash []byte // of the chunk's text with its context, as it is searched and embedded; leaves only
}

// EditDocument is a document as an [Edit] sees it: its chunks carry no text.
type EditDocument struct {
	Document DocumentRecord
	Chunks   []ChunkRecord
}

// Segment is one immutable piece of an owner's text index, covering the ordinals [Low, High). Segments do not overlap.
type Segment struct {
	ID        int64
	Low, High uint64
	Leaves    int    // leaves when it was built
	Dead      []byte // encoded set of dead ordinals, nil when none
	DeadCount int
	Bytes     int64 // size of the content
}

// IndexPage is a part of a segment: what it has for the terms from First up to the next page's First.
type IndexPage struct {
	Segment   int64
	First     string
	Postings  []byte
	Positions []byte // nil where they were not asked for
}

// LoadedSegment is a segment with its pages ordered by First: all of them, or those that a search asked for.
type LoadedSegment struct {
	Segment
	Pages []IndexPage
}

// LeafRecord is a leaf with all that indexing needs.
type LeafRecord struct {
	Ordinal      uint64
	DocumentName string // or title, where there is no name
	Language     string
	Heading      string
	Context      string
	Text         string
}

// PostingsRecord is the answer of [View.Postings].
type PostingsRecord struct {
	State    OwnerState // zero for an unknown owner
	Segments []LoadedSegment
	Selected []uint64 // ascending; nil when Where is zero
	Broad    bool     // Where selects more than SelectLimit leaves
	// Active is the generation that searches use, 0 if there is none.
	Active int64
	Vector *VectorRecord // when asked for
}

// HitRecord is one leaf found, with its document.
type HitRecord struct {
	Chunk    ChunkRecord
	Document StoredDocument
	Parent   *Chunk  // when asked for and there is one
	Before   []Chunk // when asked for, in order of position
	After    []Chunk
}

// Rows are changes of documents and chunks. Removals come first.
type Rows struct {
	DeleteDocuments []string // with their chunks
	// Documents are of version 1 if they are not there yet, or are among DeleteDocuments; the store dates them. One whose CreatedAt
	// is set keeps that, its UpdatedAt and its version, whatever that is and whether or not there is a document in its place.
	Documents    []DocumentRecord
	DeleteChunks []string
	UpdateChunks []ChunkRecord // everything but id, document, level and text
	InsertChunks []ChunkRecord
	SetLengths   []LeafLength
}

// Changes is what [Edit.Commit] writes. Documents may be removed and made anew in one edit; chunks and segments that are removed
// may not come back under the same id.
type Changes struct {
	Owner          string
	Rows           // that Put has not written
	DeleteSegments []int64
	InsertSegments []LoadedSegment // with the pages that Put has not written
	DeadSegments   []Segment       // ID, Dead and DeadCount
	// Gone are the ordinals that this edit takes out of use: their vectors and jobs go with it. Queue are those it brings into
	// use: for each generation, a leaf whose input the owner has a vector of gets a copy, also of one that goes now, and the
	// others are queued. Lease, if not nil, makes some of these jobs belong to the caller. Vectors are those that leaves of Queue
	// bring along: they are stored before that, as they are.
	Gone    []uint64
	Queue   []QueueLeaf
	Lease   *Lease
	Vectors []LeafVector
	State   OwnerState
}

// LeafLength corrects a leaf's length after a change of the analysis.
type LeafLength struct {
	Ordinal uint64
	Length  int
}

// StatsRecord is the answer of [Store.Stats].
type StatsRecord struct {
	Documents    int64
	Leaves       int64
	Parents      int64
	Bytes        int64 // of the stored text
	Tokens       int64
	ByType       map[Type]int64 // documents
	Origins      int64
	Languages    map[string]int64 // leaves
	FirstCreated time.Time
	LastUpdated  time.Time
	Segments     int64
	DeadLeaves   int64
	IndexBytes   int64
	Analysis     int
	Unfolded     int64 // leaves in segments of fewer than p.Folded leaves
}

// Info describes a store.
type Info struct {
	Engine  string            // such as "postgres"
	Version string            // of the engine
	Place   string            // where the tables are: the schema, or the file
	Details map[string]string // such as the pgvector version
}
