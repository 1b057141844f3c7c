package postings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrCorrupt is returned, wrapped, when stored bytes are not what this package
// writes.
var ErrCorrupt = errors.New("postings: corrupt data")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// A Block is what one segment knows of one term; the package comment has the
// format.
type Block struct {
	Term      string
	Postings  []byte
	Positions []byte // may be nil where no phrase is looked for
}

// A Header is the summary that a block begins with.
type Header struct {
	Count     int    // documents that hold the term, dead ones included
	Last      uint64 // greatest ordinal, relative to the Low of the segment
	MaxTF     uint32 // greatest term frequency
	MinLength uint32 // length of the shortest document
}

// Header reads the summary of the block.
func (b Block) Header() (Header, error) {
	h, _, err := readHeader(b.Postings)
	return h, err
}

// minPosting is the least number of bytes of a posting.
const minPosting = 2

func readHeader(data []byte) (Header, []byte, error) {
	var fields [4]uint64
	for i := range fields {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return Header{}, nil, corrupt("block header cut short")
		}
		fields[i], data = v, data[n:]
	}
	count, last, maxTF, minLength := fields[0], fields[1], fields[2], fields[3]
	if count == 0 || count > uint64(len(data)/minPosting) || count-1 > last || last > math.MaxInt64 ||
		maxTF == 0 || maxTF > math.MaxUint32 || minLength > math.MaxUint32 {
		return Header{}, nil, corrupt("block header out of range")
	}
	return Header{Count: int(count), Last: last, MaxTF: uint32(maxTF), MinLength: uint32(minLength)}, data, nil
}

// A posting says that a document holds a term.
type posting struct {
	ordinal uint64 // relative to the Low of the segment
	tf      uint32
	length  uint32
}

// runLength is how many postings stand between two entries of the skip table.
const runLength = 128

// A decoder reads the postings of a block run by run.
type decoder struct {
	Header
	skips []byte // where the runs end, from the next one on, but for the last
	data  []byte
	left  int
	next  uint64 // ordinal before the next posting, plus 1
	run   []posting
	at    int // place of seek in the run
	batch [runLength]posting
}

// reset begins a block whose segment spans so many ordinals.
func (d *decoder) reset(data []byte, span uint64) error {
	h, rest, err := readHeader(data)
	if err != nil {
		return err
	}
	if h.Last >= span {
		return corrupt("ordinal %d beyond the segment's %d", h.Last, span)
	}
	d.Header, d.skips, d.data, d.left, d.next, d.run, d.at = h, nil, rest, h.Count, 0, nil, 0
	if h.Count > runLength {
		if d.skips, d.data, err = cutBytes(rest); err != nil {
			return err
		}
	}
	return nil
}

// skip takes the entry of the run that comes next, which is not the last, out
// of the skip table: the ordinal it ends with, plus 1, and its size in bytes.
func (d *decoder) skip() (next uint64, size int, err error) {
	delta, a := binary.Uvarint(d.skips)
	if a <= 0 {
		return 0, 0, corrupt("skip table cut short")
	}
	bytes, b := binary.Uvarint(d.skips[a:])
	if b <= 0 {
		return 0, 0, corrupt("skip table cut short")
	}
	if delta < runLength || delta > d.Last-d.next || bytes > uint64(len(d.data)) {
		return 0, 0, corrupt("skip table out of range")
	}
	d.skips = d.skips[a+b:]
	return d.next + delta, int(bytes), nil
}

// read decodes the next run of postings, none at the end. They are valid until
// the next call.
func (d *decoder) read() ([]posting, error) {
	n := min(d.left, runLength)
	data, rest, next, end := d.data, []byte(nil), d.next, d.Last+1
	if d.left > runLength {
		var size int
		var err error
		if end, size, err = d.skip(); err != nil {
			return nil, err
		}
		data, rest = data[:size], data[size:]
	}
	for i := range n {
		var v, length, tf uint64
		// Nearly every posting is two bytes: a short delta, one occurrence in
		// a document of less than 128 words.
		if len(data) >= 2 && data[0] < 0x80 && data[1] < 0x80 {
			v, length = uint64(data[0]), uint64(data[1])
			data = data[2:]
		} else {
			var a, b int
			v, a = binary.Uvarint(data)
			if a <= 0 {
				return nil, corrupt("posting cut short")
			}
			length, b = binary.Uvarint(data[a:])
			if b <= 0 {
				return nil, corrupt("posting cut short")
			}
			data = data[a+b:]
		}
		tf = 1
		if v&1 == 0 {
			if len(data) > 0 && data[0] < 0x80 {
				tf = uint64(data[0])
				data = data[1:]
			} else {
				var a int
				tf, a = binary.Uvarint(data)
				if a <= 0 {
					return nil, corrupt("posting cut short")
				}
				data = data[a:]
			}
		}
		delta := v >> 1
		// end bounds the ordinals, which also keeps the sum from overflowing.
		if delta == 0 || delta > end-next || tf == 0 || tf > uint64(d.MaxTF) || length < uint64(d.MinLength) || length > math.MaxUint32 {
			return nil, corrupt("posting out of range")
		}
		next += delta
		d.batch[i] = posting{ordinal: next - 1, tf: uint32(tf), length: uint32(length)}
	}
	d.data, d.next = rest, next
	d.left -= n
	if n > 0 && (len(data) != 0 || next != end) || d.left == 0 && len(d.skips) != 0 {
		return nil, corrupt("run of postings does not end where it says")
	}
	return d.batch[:n], nil
}

// seek returns the posting of an ordinal, if there is one. Ordinals may not
// descend from call to call. Runs in which none can be are passed over unread.
// After a seek, read goes on behind the run that was looked at.
func (d *decoder) seek(ordinal uint64) (posting, bool, error) {
	for d.next <= ordinal && d.left > 0 {
		if d.left > runLength {
			skips := d.skips
			next, size, err := d.skip()
			if err != nil {
				return posting{}, false, err
			}
			if next <= ordinal {
				d.data, d.next = d.data[size:], next
				d.left -= runLength
				continue
			}
			d.skips = skips
		}
		var err error
		if d.run, err = d.read(); err != nil {
			return posting{}, false, err
		}
		d.at = 0
	}
	for d.at < len(d.run) && d.run[d.at].ordinal < ordinal {
		d.at++
	}
	if d.at == len(d.run) || d.run[d.at].ordinal != ordinal {
		return posting{}, false, nil
	}
	return d.run[d.at], true, nil
}

// skipPositions passes over n positions.
func skipPositions(data []byte, n uint32) ([]byte, error) {
	for i, c := range data {
		if n == 0 {
			return data[i:], nil
		}
		if c < 0x80 {
			n--
		}
	}
	if n > 0 {
		return nil, corrupt("positions cut short")
	}
	return nil, nil
}

// readPositions appends n positions to dst.
func readPositions(dst []uint32, data []byte, n uint32) ([]uint32, []byte, error) {
	position := uint64(0)
	for range n {
		v, size := binary.Uvarint(data)
		if size <= 0 {
			return dst, nil, corrupt("positions cut short")
		}
		if v > math.MaxUint32-position {
			return dst, nil, corrupt("position out of range")
		}
		position += v
		dst = append(dst, uint32(position))
		data = data[size:]
	}
	return dst, data, nil
}

// An encoder collects the postings of one term in ascending order of ordinals.
type encoder struct {
	count     int
	last      uint64 // plus 1, as the decoder's next
	maxTF     uint32
	minLength uint32
	postings  []byte
	positions []byte
	skips     []byte // an entry for each run but the present one
	runBytes  int    // size of postings when the run began
	runLast   uint64 // last at that time
	here      uint32 // tokens of the document that is being added
	place     int    // of the last of them
}

// position appends a position of the last posting; positions of a posting ascend.
func (e *encoder) position(place int) {
	e.positions = binary.AppendUvarint(e.positions, uint64(place-e.place))
	e.place = place
}

// posting appends a posting; the caller appends its positions.
func (e *encoder) posting(p posting) {
	if e.count > 0 && e.count%runLength == 0 {
		e.skips = binary.AppendUvarint(e.skips, e.last-e.runLast)
		e.skips = binary.AppendUvarint(e.skips, uint64(len(e.postings)-e.runBytes))
		e.runBytes, e.runLast = len(e.postings), e.last
	}
	v := (p.ordinal + 1 - e.last) << 1
	if p.tf == 1 {
		v |= 1
	}
	e.postings = binary.AppendUvarint(e.postings, v)
	e.postings = binary.AppendUvarint(e.postings, uint64(p.length))
	if p.tf != 1 {
		e.postings = binary.AppendUvarint(e.postings, uint64(p.tf))
	}
	if e.count == 0 || p.length < e.minLength {
		e.minLength = p.length
	}
	e.maxTF = max(e.maxTF, p.tf)
	e.last = p.ordinal + 1
	e.count++
}

// block returns what was collected, in memory of its own.
func (e *encoder) block(term string) Block {
	data := make([]byte, 0, 5*binary.MaxVarintLen32+binary.MaxVarintLen64+len(e.skips)+len(e.postings))
	data = binary.AppendUvarint(data, uint64(e.count))
	data = binary.AppendUvarint(data, e.last-1)
	data = binary.AppendUvarint(data, uint64(e.maxTF))
	data = binary.AppendUvarint(data, uint64(e.minLength))
	if e.count > runLength {
		data = appendBytes(data, e.skips)
	}
	return Block{Term: term, Postings: append(data, e.postings...), Positions: slices.Clone(e.positions)}
}

func (e *encoder) reset() {
	*e = encoder{postings: e.postings[:0], positions: e.positions[:0], skips: e.skips[:0]}
}
