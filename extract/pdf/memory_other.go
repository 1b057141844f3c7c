//go:build !unix

package pdf

import "github.com/tetratelabs/wazero/experimental"

// allocate keeps an instance's memory in the Go heap.
func allocate(_, _ uint64) experimental.LinearMemory { return &memory{} }

type memory struct{ buf []byte }

// Reallocate implements [experimental.LinearMemory].
func (m *memory) Reallocate(size uint64) []byte {
	if n := int(size) - len(m.buf); n > 0 {
		m.buf = append(m.buf, make([]byte, n)...)
	}
	return m.buf
}

// Free implements [experimental.LinearMemory].
func (m *memory) Free() { m.buf = nil }
