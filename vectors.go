package llmemory

import (
	"context"
	"time"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/vec"
)

// Vectors is the part of a [Store] that keeps embeddings: generations, the queue of passages that wait for a vector, and the
// vectors themselves.
//
// A vector belongs to a leaf's ordinal, and what an ordinal is embedded from never changes: a leaf whose text, heading or
// document name changes gets a new ordinal. So a vector is never stale; it can only come too late, for an ordinal that no longer
// exists, and is then dropped.
//
// A leaf that is embedded in parts has several, see [JoinParts]. They come, go, and are counted as one: wherever the vector of a leaf is
// spoken of, it is up to [MaxLeafVectors] vectors of the generation's dimensions, one after the other. A leaf is as near to a question
// as the nearest of them.
//
// A generation is one for all owners, as is the work of embedding: the methods whose parameters name no owner cross owners by
// nature. Every row they touch still carries its owner, and a [Job] is completed under the owner it was claimed with.
type Vectors interface {
	// Generations returns all generations, ordered by id.
	Generations(ctx context.Context, p GenerationsParams) ([]Generation, error)
	// AddGeneration makes a generation, or returns the one that has this model and profile already. The first generation of a
	// store is active at once. ErrUnavailable if this role may not make tables; the error says what to run.
	AddGeneration(ctx context.Context, p AddGenerationParams) (*Generation, error)
	// ActivateGeneration makes searches use a generation; the one that was active stays, on standby. One transaction: a search
	// sees the old one or the new one. ErrConflict if passages still wait for a vector of it, unless p.Force; ErrNotFound if
	// there is no such generation.
	ActivateGeneration(ctx context.Context, p ActivateGenerationParams) (*Generation, error)
	// RetireGeneration removes a generation with its vectors and its queue. ErrConflict if it is active and others exist, or
	// p.Force is not set; ErrNotFound if there is none.
	RetireGeneration(ctx context.Context, p RetireGenerationParams) error
	// Progress counts what a generation has and what it waits for, over all owners.
	Progress(ctx context.Context, p ProgressParams) (*ProgressRecord, error)
	// Inputs returns a sample of leaves of any owner, spread over all there are, to estimate what embedding will cost.
	Inputs(ctx context.Context, p InputsParams) ([]JobInput, error)

	// Backfill queues up to p.Limit leaves that were stored before the generation was made, and says whether that was all. It
	// remembers how far it came. Several processes may call it at once.
	Backfill(ctx context.Context, p BackfillParams) (*BackfillRecord, error)
	// Claim leases up to p.Limit queued leaves that are due, oldest first, and returns them with their text. They are not given
	// to anybody else for p.Lease, by the database's clock; after that they are due again. Claims never wait for each other.
	Claim(ctx context.Context, p ClaimParams) ([]Job, error)
	// Extend prolongs the lease of all jobs that p.Token holds still, of one owner or of all, and returns how many these are.
	Extend(ctx context.Context, p ExtendParams) (int, error)
	// Known returns vectors of this generation that an owner has for these inputs already, so that nobody pays twice for a text.
	// An owner's vectors are never given to another.
	Known(ctx context.Context, p KnownParams) ([]KnownVector, error)
	// Embedded returns the vectors that leaves of the owner have, as they are stored and in no particular order; leaves without one
	// are absent.
	Embedded(ctx context.Context, p EmbeddedParams) ([]LeafVector, error)
	// Complete stores vectors for jobs that p.Token still holds and removes the jobs. What the token has lost, or what has been
	// deleted or replaced meanwhile, is left out; what a writer is changing at this moment is returned as busy, to be tried again.
	Complete(ctx context.Context, p CompleteParams) (*CompleteRecord, error)
	// Fail gives jobs back that p.Token still holds: due again after a delay, or dead, with the reason.
	Fail(ctx context.Context, p FailParams) error

	// Queue tells what the owner waits for, and why.
	Queue(ctx context.Context, p QueueParams) (*QueueRecord, error)
	// RetryQueue makes the owner's dead jobs due again, and returns how many these were.
	RetryQueue(ctx context.Context, p RetryQueueParams) (int, error)
	// Tune brings the indexes of a generation in line with what owners have, one step at a time: done is true when there was
	// nothing to do. It may take minutes, and no writer waits for it.
	Tune(ctx context.Context, p TuneParams) (done bool, err error)
}

// Waker is implemented by a [Store] that can tell when jobs are queued. Nobody relies on it: it saves waiting, not work.
type Waker interface {
	// Wake returns a channel that gets a value after jobs were queued, until the context ends, when it is closed. Values may be
	// lost or come without reason.
	Wake(ctx context.Context) <-chan struct{}
}

// GenerationState says what a generation is used for.
type GenerationState string

// The states of a generation.
const (
	Building GenerationState = "building" // being filled, never searched yet
	Active   GenerationState = "active"   // searched
	Standby  GenerationState = "standby"  // was active, kept up to date, can be activated again
)

// Profile trades the speed and memory of vector search for its recall, where it uses an index.
type Profile string

// The profiles.
const (
	Balanced Profile = "balanced" // the default
	Fast     Profile = "fast"     // indexes hold one bit a dimension; candidates are scored again exactly
	Accurate Profile = "accurate" // larger indexes, more candidates
)

// Generation is a set of vectors that can be compared with each other: what one embedding model made of the passages.
type Generation struct {
	ID    int64
	Model embedding.ModelInfo
	State GenerationState
	// Profile is how its indexes are built. Exact search does not depend on it.
	Profile    Profile
	Backfilled bool // every leaf that was stored before the generation was made has been queued
	Created    time.Time
	Activated  time.Time // zero if never
}

// GenerationsParams are the parameters of [Vectors.Generations].
type GenerationsParams struct{}

// AddGenerationParams are the parameters of [Vectors.AddGeneration].
type AddGenerationParams struct {
	Model   embedding.ModelInfo // with its dimensions
	Profile Profile
}

// ActivateGenerationParams are the parameters of [Vectors.ActivateGeneration].
type ActivateGenerationParams struct {
	Generation int64
	Force      bool
}

// RetireGenerationParams are the parameters of [Vectors.RetireGeneration].
type RetireGenerationParams struct {
	Generation int64
	Force      bool
}

// ProgressParams are the parameters of [Vectors.Progress].
type ProgressParams struct {
	Generation int64 // 0 for none: counts leaves and tokens only
}

// ProgressRecord is the answer of [Vectors.Progress].
type ProgressRecord struct {
	Leaves  int64 // leaves of all owners that are to be embedded
	Tokens  int64 // their tokens, as the chunker counts
	Vectors int64 // leaves that have theirs
	Waiting int64 // queued
	Dead    int64 // given up
	Bytes   int64 // size of vectors and indexes
	Indexes []VectorIndex
}

// VectorIndex is an approximate index over an owner's vectors.
type VectorIndex struct {
	Owner string
	Name  string
	Ready bool // searches use it
	Rows  int64
}

// InputsParams are the parameters of [Vectors.Inputs].
type InputsParams struct{ Limit int }

// BackfillParams are the parameters of [Vectors.Backfill].
type BackfillParams struct {
	Generation int64
	Limit      int
}

// BackfillRecord is the answer of [Vectors.Backfill].
type BackfillRecord struct {
	Queued int
	Done   bool
}

// ClaimParams are the parameters of [Vectors.Claim].
type ClaimParams struct {
	Generation int64
	Token      string // a fresh UUID for every claim
	Lease      time.Duration
	Limit      int
}

// JobInput is what a leaf is embedded from.
type JobInput struct {
	Owner   string
	Name    string // of the document, or its title where it has none
	Heading string
	Context string
	Text    string
	Parts   int // in how many parts it is embedded, see [chunk.Piece]
}

// Texts returns what a leaf is embedded from: the name of its document, its heading path, its context, its text, or each part of it. It
// holds nothing that moves with the text, so that a passage keeps its vectors wherever it goes.
func (j *JobInput) Texts() []string {
	out := chunk.Parts(j.Text, j.Parts)
	for i := range out {
		for _, before := range []string{j.Context, j.Heading, j.Name} {
			if before != "" {
				out[i] = before + "\n" + out[i]
			}
		}
	}
	return out
}

// Job is a leaf that waits for its vector.
type Job struct {
	JobInput
	Ordinal  uint64
	Attempts int // how often it failed before
}

// ExtendParams are the parameters of [Vectors.Extend].
type ExtendParams struct {
	Owner      string // of all these jobs; "" if they may be of several
	Generation int64
	Token      string
	Lease      time.Duration
}

// OwnedInput is the hash of an embedded input, with the owner who has it.
type OwnedInput struct {
	Owner string
	Hash  []byte
}

// KnownParams are the parameters of [Vectors.Known].
type KnownParams struct {
	Generation int64
	Inputs     []OwnedInput
}

// KnownVector is the vector of an input.
type KnownVector struct {
	OwnedInput
	Vector []float32
}

// EmbeddedParams are the parameters of [Vectors.Embedded].
type EmbeddedParams struct {
	Owner      string
	Generation int64
	Ordinals   []uint64
}

// LeafVector is the vector that a leaf has in a generation.
type LeafVector struct {
	Generation int64
	Ordinal    uint64
	Hash       []byte // of its input
	Vector     []float32
}

// MaxLeafVectors is how many vectors a leaf has at the most: one for each part, and their sum.
const MaxLeafVectors = chunk.MaxParts + 1

// LeafVectors returns how many vectors that of a leaf is made of, in a generation of so many dimensions. ErrInvalid if it is of none, of
// too many, or ends within one.
func LeafVectors(v []float32, dimensions int) (int, error) {
	n := len(v) / dimensions
	if n < 1 || n > MaxLeafVectors || len(v)%dimensions > 0 {
		return 0, invalidf("vector", "must have %d dimensions, or as many for each of up to %d vectors, has %d", dimensions, MaxLeafVectors, len(v))
	}
	return n, nil
}

// JoinParts returns the vector of a leaf: those of its parts one after the other and, if they are several, their sum. The sum points to
// what the parts have in common, and is nearer than each of them to a question about all of it.
func JoinParts(parts [][]float32) []float32 {
	if len(parts) == 1 {
		return parts[0]
	}
	d := len(parts[0])
	out := make([]float32, 0, (len(parts)+1)*d)
	sum := make([]float32, d)
	for _, part := range parts {
		out = append(out, part...)
		for i, x := range vec.Settled(part) {
			sum[i] += x
		}
	}
	if vec.MaxAbs(sum) == 0 { // which is near to nothing
		return out
	}
	return append(out, sum...)
}

// CompleteParams are the parameters of [Vectors.Complete].
type CompleteParams struct {
	Generation int64
	Token      string
	Items      []CompleteItem
}

// CompleteItem is the vector of a job.
type CompleteItem struct {
	Owner   string
	Ordinal uint64
	Hash    []byte // of the input
	Vector  []float32
}

// CompleteRecord is the answer of [Vectors.Complete].
type CompleteRecord struct {
	Stored int
	Busy   []int // indexes of the items to try again
}

// FailParams are the parameters of [Vectors.Fail].
type FailParams struct {
	Generation int64
	Token      string
	Items      []FailItem
}

// FailItem is a job that was not done.
type FailItem struct {
	Owner   string
	Ordinal uint64
	Reason  string
	Tried   bool // counts as an attempt
	Delay   time.Duration
	Dead    bool // not to be tried again
}

// QueueParams are the parameters of [Vectors.Queue].
type QueueParams struct {
	Owner string
	Limit int // of Failures
}

// QueueRecord is the answer of [Vectors.Queue].
type QueueRecord struct {
	Waiting  int64 // due now or later, those of failed attempts included
	Leased   int64 // being embedded
	Dead     int64 // given up
	Oldest   time.Time
	Failures []QueueFailure // dead jobs first, then those that failed and will be tried again
}

// QueueFailure is a leaf that could not be embedded.
type QueueFailure struct {
	Generation int64
	DocumentID string
	ChunkID    string
	Attempts   int
	Reason     string
	Dead       bool
	Due        time.Time // when it is tried again; zero if dead
}

// RetryQueueParams are the parameters of [Vectors.RetryQueue].
type RetryQueueParams struct{ Owner string }

// TuneParams are the parameters of [Vectors.Tune].
type TuneParams struct{ Generation int64 }

// VectorParams ask for the leaves whose vectors are nearest to a query's, by cosine similarity. They are a part of
// [PostingsParams] and [MatchParams], so that both legs of a search travel together; the owner is the one named there.
type VectorParams struct {
	Generation int64
	Query      []float32
	Limit      int
	// Rows is how many leaves the owner has, as far as is known: it chooses the statement, never the answer.
	Rows int64
	// Among are the only leaves to look at, nil for all. The filter of the parameters around applies as well.
	Among []uint64
}

// VectorRecord is the answer to [VectorParams].
type VectorRecord struct {
	Found []VectorHit // best first, ties in order of ordinals
	Plan  string      // how they were found: "exact", "exact among N", "index NAME", …
}

// VectorHit is a leaf with its similarity to the query: the cosine, computed in float64 from the stored vector.
type VectorHit struct {
	Ordinal uint64
	Cosine  float64
}

// QueueLeaf is a leaf that an edit made and that is to be embedded.
type QueueLeaf struct {
	Ordinal uint64
	Hash    []byte // of its input
}

// Lease makes jobs belong to a worker from the start.
type Lease struct {
	Generation int64 // only jobs of this generation; others are due at once
	Token      string
	Duration   time.Duration
}

// Committed is the answer of [Edit.Commit].
type Committed struct {
	// Waiting are those of Changes.Queue that have no vector in the active generation now; none if there is no generation.
	Waiting []uint64
	// Leased are those of Waiting whose job Changes.Lease holds.
	Leased []uint64
}
