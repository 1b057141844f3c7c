package contextual

import (
	"strings"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/llm"
)

// stretch is a part of a document with those of its pieces that get a note, asked for with the same text before them.
type stretch struct {
	text   string
	tokens int
	wanted []int // indexes in the list of wanted pieces
	pieces []int // that list
}

// stretches cuts a document at the borders of leaves into parts that fit into the window, and leaves out those where nothing is wanted. A
// document that fits is one.
//
// Of a longer one, a part takes three quarters of the window; before it stands the beginning of the document, an eighth, which most
// often says what it is about, and around it a sixteenth each of its neighbours.
func (w *Writer) stretches(t chunk.Text, pieces []chunk.Piece, wanted []int) []stretch {
	var leaves []int
	total := 0
	for i := range pieces {
		if pieces[i].Level == 0 {
			leaves = append(leaves, i)
			total += pieces[i].Tokens
		}
	}
	var out []stretch
	next := 0 // in wanted
	most := w.options.Window
	if total > most {
		most = w.options.Window * 3 / 4
	}
	for from := 0; from < len(leaves) && next < len(wanted); {
		to, tokens := from, 0
		for to < len(leaves) && (to == from || tokens+pieces[leaves[to]].Tokens <= most) {
			tokens += pieces[leaves[to]].Tokens
			to++
		}
		s := stretch{pieces: wanted}
		for ; next < len(wanted) && wanted[next] <= leaves[to-1]; next++ {
			s.wanted = append(s.wanted, next)
		}
		if len(s.wanted) > 0 {
			s.text = w.shown(t.Content, pieces, leaves, from, to)
			s.tokens = llm.CountTokens(s.text)
			out = append(out, s)
		}
		from = to
	}
	return out
}

// shown is the text that stands before questions about the leaves from (inclusive) to (exclusive).
func (w *Writer) shown(content string, pieces []chunk.Piece, leaves []int, from, to int) string {
	if from == 0 && to == len(leaves) {
		return document(content)
	}
	// reach goes over leaves from at on, step by step, while they have no more than so many tokens together, and returns where it ends.
	reach := func(at, step, tokens int) int {
		for at >= 0 && at < len(leaves) && pieces[leaves[at]].Tokens <= tokens {
			tokens -= pieces[leaves[at]].Tokens
			at += step
		}
		return at
	}
	const gap = "\n[…]\n"
	head := reach(0, 1, w.options.Window/8)
	from = reach(from-1, -1, w.options.Window/16) + 1
	to = reach(to, 1, w.options.Window/16)
	var b strings.Builder
	if head < from {
		if head > 0 {
			b.WriteString(content[:pieces[leaves[head-1]].End])
		}
		b.WriteString(gap)
		b.WriteString(content[pieces[leaves[from]].Start:pieces[leaves[to-1]].End])
	} else {
		b.WriteString(content[:pieces[leaves[to-1]].End])
	}
	if to < len(leaves) {
		b.WriteString(gap)
	}
	return document(b.String())
}
