//go:build !unix

package pdf

// memory is that of an instance, in the Go heap.
type memory struct {
	buf    []byte
	most   int64
	denied bool // more was asked for than there may be
}

func newMemory(most int64) *memory { return &memory{most: most} }

// Reallocate implements [experimental.LinearMemory]; nil tells PDFium that there is no more.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(m.most) {
		m.denied = true
		return nil
	}
	if n := int(size) - len(m.buf); n > 0 {
		m.buf = append(m.buf, make([]byte, n)...)
	}
	return m.buf
}

// Free implements [experimental.LinearMemory].
func (m *memory) Free() { m.buf = nil }
