package chunk

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// strength tells how good a place the border before a unit is for a cut: the higher the better. Only the order matters, and,
// for borders up to blockStrength, the difference (see cutPenalty).
type strength uint8

const (
	insideWord     strength = 0
	closerStrength strength = 5 // before a closing bracket, or inside the head of a table
	wordStrength   strength = 10
	clauseStrength strength = 20
	stopStrength   strength = 26 // after a full stop that may not end a sentence
	// sentenceStrength is that of a sentence's end within a line or a filled paragraph.
	sentenceStrength strength = 30
	titleStrength    strength = 35 // between what looks like a title and what it is the title of
	lineStrength     strength = 42
	itemStrength     strength = 50 // list items, less 3 for every level of nesting
	leadStrength     strength = 52 // after a paragraph that ends with a colon
	rowStrength      strength = 58 // lines that are paragraphs
	blockStrength    strength = 60 // paragraphs and other blocks
	gapStrength      strength = 64 // blocks with several empty lines between them
	sheetStrength    strength = 70 // paragraphs on different pages
	// headingStrength is the least of the borders between sections. That before a heading of level n is higher by 6 - n.
	headingStrength strength = 100
	pageStrength    strength = 110
)

// unit is a part of the text that is not cut again, with the border before it.
type unit struct {
	start, end int // without white space around it; only white space lies between two units
	cost       int // tokens, or more if it is very long
	strength   strength
	// head is a hash of the unit's first bytes. It chooses between borders of equal strength by content instead of place, see
	// packer. Most edits leave the beginning alone.
	head uint64
}

// headBytes is the length of what unit.head is made of.
const headBytes = 32

// builder cuts a text into units.
type builder struct {
	ctx   context.Context
	text  string
	count Counter
	max   int // limit of a leaf
	keep  int // blocks up to this size are units
	crumb int // units up to this size are joined, to bound their number
	tiny  int // a section's beginning up to this size may be joined with its first subsection
	units []unit

	outline  outline     // the headings that were read
	path     []string    // those in force
	declared bool        // whether there is a declaration among the units
	loosened bool        // whether the last of them is none
	soft     outline     // titles that are no headings of the mark-up
	titled   map[int]int // where lines begin that are such titles, with their levels
	head     string      // of the table being read
	pages    []int       // where pages begin that matter, as far as they are to come

	speakers *transcript // who speaks, in a chat

	unix       bool // lines end with a line feed alone
	window     int  // bytes of Markdown that are parsed at a time
	sentential bool // paragraphs fall into sentences even where they fit

	// The unit to be added next begins with a heading: from here, at this cost, with this border before it.
	pending         bool
	pendingStart    int
	pendingCost     int
	pendingStrength strength
}

// measure returns the cost of text[start:end]. If enough is not negative and the cost certainly exceeds it, the result may
// be any number above it.
func (b *builder) measure(start, end, enough int) int {
	bytes := (end - start + maxTokenBytes - 1) / maxTokenBytes
	if enough >= 0 && bytes > enough {
		return bytes
	}
	return max(bytes, b.count(b.text[start:end]))
}

// fits reports whether text[start:end] is within the limit of a leaf.
func (b *builder) fits(start, end int) bool {
	return end-start <= b.max*maxTokenBytes && b.count(b.text[start:end]) <= b.max
}

// trim returns the range without white space around it.
func (b *builder) trim(start, end int) (int, int) {
	s := strings.TrimLeftFunc(b.text[start:end], unicode.IsSpace)
	start = end - len(s)
	return start, start + len(strings.TrimRightFunc(s, unicode.IsSpace))
}

// splitter cuts text[start:end] into units, the first with border s before it.
type splitter func(start, end int, s strength) error

// block adds text[start:end] as one unit if it fits, and cuts it by split if not.
func (b *builder) block(start, end int, s strength, split splitter) error {
	start, end = b.trim(start, end)
	if start == end {
		return nil
	}
	room := b.keep
	if b.pending { // whose heading must fit too; hold sees to it that there is room
		room = min(room, b.max-b.pendingCost)
	}
	if cost := b.measure(start, end, room); cost <= room {
		return b.add(start, end, cost, s)
	}
	return split(start, end, s)
}

// hold keeps a heading back until the next unit is added, which it becomes the beginning of. Headings that are too long for
// that are units.
func (b *builder) hold(start, end int, s strength) error {
	start, end = b.trim(start, end)
	cost := b.measure(start, end, b.keep)
	if b.pending && b.pendingCost+cost > b.keep/2 {
		if err := b.release(start); err != nil {
			return err
		}
	}
	if cost > b.keep/2 {
		return b.block(start, end, s, b.words)
	}
	if !b.pending {
		b.pending, b.pendingStart, b.pendingCost, b.pendingStrength = true, start, 0, s
	}
	b.pendingCost += cost
	return nil
}

// release adds what is held back as a unit of its own, ending before end.
func (b *builder) release(end int) error {
	if !b.pending {
		return nil
	}
	b.pending = false
	return b.block(b.pendingStart, end, b.pendingStrength, b.words)
}

// add appends a unit.
func (b *builder) add(start, end, cost int, s strength) error {
	// A word that is as long as a leaf has no room for a heading, nor has what stands far below it.
	if b.pending && (b.pendingCost+cost > b.max || end-b.pendingStart > b.max*maxTokenBytes) {
		if err := b.release(start); err != nil {
			return err
		}
	}
	if b.pending {
		start, cost, s = b.pendingStart, cost+b.pendingCost, b.pendingStrength
		b.pending = false
	}
	u := unit{start: start, end: end, cost: cost, strength: s}
	text := b.text[start:end]
	u.head = hash(text[:min(headBytes, len(text))])
	if n := len(b.units); n > 0 && s < headingStrength {
		// Crumbs are joined with the unit before, unless that would hide a better border or there is one in four chances, by
		// content, so that an edit does not shift the joints of all that follows. The smallest and the same over and over are
		// joined in any case: there is no end to their number.
		last := &b.units[n-1]
		joint := u.head%4 == 0 && u.head != last.head && last.cost+cost > b.crumb/4
		if s <= last.strength && last.cost+cost <= b.crumb && end-last.start <= b.crumb*maxTokenBytes && !joint {
			last.end = end
			last.cost += cost
			return nil
		}
	}
	if len(b.units)%256 == 0 {
		if err := b.ctx.Err(); err != nil {
			return err
		}
	}
	b.units = append(b.units, u)
	return nil
}

// words cuts text[start:end] at white space, and words that do not fit between characters. Short words are taken together.
func (b *builder) words(start, end int, s strength) error {
	from, to, cost := start, start, 0 // the words taken together so far
	flush := func() error {
		if from == to {
			return nil
		}
		err := b.add(from, to, cost, s)
		from, cost, s = to, 0, wordStrength
		return err
	}
	for at := start; at < end; {
		if r, size := utf8.DecodeRuneInString(b.text[at:]); unicode.IsSpace(r) {
			at += size
			continue
		}
		stop := end
		if n := strings.IndexFunc(b.text[at:end], unicode.IsSpace); n >= 0 {
			stop = at + n
		}
		c := b.measure(at, stop, b.keep)
		if cost+c > b.crumb || stop-from > b.crumb*maxTokenBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if from == to {
			from = at
		}
		if c > b.keep {
			if err := b.characters(at, stop, s); err != nil {
				return err
			}
			from, cost, s = stop, 0, wordStrength
		} else {
			cost += c
		}
		to, at = stop, stop
	}
	return flush()
}

// wordBytes is the length of the parts of a word that does not fit; short, so that tokenizers which do not spell long words
// spell them.
const wordBytes = 48

// characters cuts a word that does not fit between user-perceived characters (Unicode Standard Annex 29).
func (b *builder) characters(start, end int, s strength) error {
	from := start
	for it := graphemes.FromString(b.text[start:end]); it.Next(); {
		if at := start + it.Start(); start+it.End()-from > wordBytes && at > from {
			if err := b.bisect(from, at, s); err != nil {
				return err
			}
			from, s = at, insideWord
		}
	}
	return b.bisect(from, end, s)
}

// bisect adds part of a word, in halves if it does not fit: between user-perceived characters, or, if it is a single one,
// between code points.
func (b *builder) bisect(start, end int, s strength) error {
	room, half := b.keep, start+(end-start)/2
	middle := start
	for it := graphemes.FromString(b.text[start:end]); it.Next() && start+it.Start() <= half; {
		middle = start + it.Start()
		if middle == start {
			middle = start + it.End()
		}
	}
	if middle == end { // one character
		room = b.max
		for middle = half; !utf8.RuneStart(b.text[middle]); {
			middle--
		}
	}
	if cost := b.measure(start, end, room); cost <= room || middle == start {
		return b.add(start, end, cost, s)
	}
	if err := b.bisect(start, middle, s); err != nil {
		return err
	}
	return b.bisect(middle, end, insideWord)
}

// hash is FNV-1a with the finaliser of MurmurHash3, which spreads it over all bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
