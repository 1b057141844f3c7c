package postgres

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
)

const (
	// DefaultIndexFrom is the default of [Options.IndexFrom] for vectors of up to 512 dimensions.
	DefaultIndexFrom = 10_000
	// DefaultMaxIndexes is the default of [Options.MaxIndexes].
	DefaultMaxIndexes = 50
)

// indexing is how the vectors of a generation are indexed, and how such an index is searched.
type indexing struct {
	key   string // what is indexed, with the class of its operators
	order string // the order of a search, in which $2 is the question
	// connections is how many neighbours a vector has in the graph, and effort how many were looked at to find them.
	connections, effort int
	// look is how many vectors a search looks at to find the best few, of up to [lookedAmong].
	look int
	// rescore is how many times as many as asked for are fetched, to be ordered exactly.
	rescore int
	bytes   int // of what is indexed of a vector
}

// indexing returns how the generation's vectors are indexed.
func (g generation) indexing() indexing {
	i := indexing{connections: 24, effort: 80, look: 150, rescore: 2}
	if g.Profile == llmemory.Accurate {
		i.connections, i.effort, i.look = 32, 200, 400
	}
	f, ext, d := formOf(g.Model.Dimensions), sqlfile.Quote(g.extension), g.Model.Dimensions
	query := fmt.Sprintf("$2::real[]::%s.%s", ext, f.kind)
	if f.bits || g.Profile == llmemory.Fast {
		bits := func(of string) string { return fmt.Sprintf("%s.binary_quantize(%s)::bit(%d)", ext, of, d) }
		i.key = fmt.Sprintf("(%s) %s.bit_hamming_ops", bits("embedding"), ext)
		i.order = fmt.Sprintf("%s OPERATOR(%s.<~>) %s", bits("embedding"), ext, bits(query))
		i.rescore, i.bytes = 10, d/8
		return i
	}
	i.key = fmt.Sprintf("embedding %s.%s_cosine_ops", ext, f.kind)
	i.order = fmt.Sprintf("embedding OPERATOR(%s.<=>) %s", ext, query)
	if i.bytes = 4 * d; f.kind == "halfvec" {
		i.bytes = 2 * d
	}
	return i
}

// lookedAmong is up to how many vectors an owner may have to be searched without looking further.
const lookedAmong = 25_000

// reach returns how far a search for so many leaves looks, and how many vectors it fetches to order them exactly. It must look further
// where there are more vectors: topics are crowds with few ways between them, and it may begin in the wrong one. It fetches more where
// leaves have several, which may all be near.
func (i indexing) reach(limit int, leaves, vectors int64) (look, fetch int) {
	const most = 1000 // that pgvector lets be asked for
	each := int64(1)
	if leaves > 0 {
		each = max(1, min((vectors+leaves-1)/leaves, llmemory.MaxLeafVectors))
	}
	fetch = i.rescore * max(limit, 20) * int(each)
	look = int(float64(i.look) * math.Sqrt(max(1, float64(vectors)/lookedAmong)))
	return min(max(look, fetch), most), fetch
}

// memory returns what building an index of so many vectors takes, in bytes: each with its neighbours, and a little for the rest.
func (i indexing) memory(vectors int64) int64 {
	return vectors * int64(i.bytes+40*i.connections+400)
}

// indexName names an owner's index. The generation's number keeps names apart, since an owner has an index in each.
func indexName(generation int64, owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return tableOf(generation) + "_" + hex.EncodeToString(sum[:8])
}

// indexedFrom is how many vectors make an index of an owner's own worth while. Comparing vectors takes as long as they are large.
func (s *Store) indexedFrom(g generation) int64 {
	const full = 512
	return int64(cmp.Or(s.indexFrom, DefaultIndexFrom*full/max(full, g.Model.Dimensions)))
}
