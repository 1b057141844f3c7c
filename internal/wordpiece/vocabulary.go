package wordpiece

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed vocab.txt.gz
var packedVocabulary []byte

var builtIn = sync.OnceValue(func() *Tokenizer {
	r, err := gzip.NewReader(bytes.NewReader(packedVocabulary))
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(r); err == nil {
			var t *Tokenizer
			if t, err = New(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")); err == nil {
				return t
			}
		}
	}
	// The bytes are part of the program: this cannot happen in a binary whose tests have passed.
	panic(fmt.Sprintf("wordpiece: built-in vocabulary: %v", err))
})

// Default returns the tokenizer of bert-base-uncased and all-MiniLM-L6-v2. It is built at the first call, in about ten
// milliseconds, and shared from then on.
func Default() *Tokenizer { return builtIn() }

// unknown is the token that stands for a word the vocabulary cannot spell.
const unknown = "[UNK]"

// node is a state of the trie. Its children lie side by side, sorted by label, so that a step is a short search in one or two
// cache lines.
type node struct {
	first uint32 // index of the first child
	count uint16 // number of children
	label byte   // the byte that leads here
	id    int32  // the token that ends here, or -1
}

// trie finds the longest token that begins a text.
type trie struct {
	nodes []node
	root  [256]uint32 // child of the root by first byte, 0 for none
}

// entry is a token without its "##".
type entry struct {
	text string
	id   int32
}

func newTrie(entries []entry) trie {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.text, b.text) })
	t := trie{nodes: make([]node, 1, 2*len(entries)+1)}
	t.nodes[0].id = -1
	// Breadth first: the children of one node are appended together.
	type span struct {
		node   uint32
		lo, hi int
		depth  int
	}
	queue := []span{{0, 0, len(entries), 0}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		lo := s.lo
		if lo < s.hi && len(entries[lo].text) == s.depth {
			t.nodes[s.node].id = entries[lo].id
			lo++
		}
		t.nodes[s.node].first = uint32(len(t.nodes))
		for lo < s.hi {
			label, hi := entries[lo].text[s.depth], lo+1
			for hi < s.hi && entries[hi].text[s.depth] == label {
				hi++
			}
			queue = append(queue, span{uint32(len(t.nodes)), lo, hi, s.depth + 1})
			t.nodes = append(t.nodes, node{label: label, id: -1})
			t.nodes[s.node].count++
			lo = hi
		}
	}
	root := t.nodes[0]
	for i := root.first; i < root.first+uint32(root.count); i++ {
		t.root[t.nodes[i].label] = i
	}
	return t
}

// longest returns the id and the length in bytes of the longest token that begins word, or a length of 0.
func (t *trie) longest(word []byte) (id int32, length int) {
	at := t.root[word[0]]
	if at == 0 {
		return -1, 0
	}
	id = -1
	for i := 1; ; i++ {
		n := &t.nodes[at]
		if n.id >= 0 {
			id, length = n.id, i
		}
		if i == len(word) {
			return id, length
		}
		lo, hi := n.first, n.first+uint32(n.count)
		for label := word[i]; lo < hi; {
			mid := (lo + hi) / 2
			if t.nodes[mid].label < label {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == n.first+uint32(n.count) || t.nodes[lo].label != word[i] {
			return id, length
		}
		at = lo
	}
}
