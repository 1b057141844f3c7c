//go:build unix

package pdf

import "golang.org/x/sys/unix"

// memory is that of an instance. Address space for the most that it may use is reserved, and becomes usable as it grows: there
// is no copy on growth, and all of it goes back to the system when the instance ends, not when the garbage collector gets to
// it.
type memory struct {
	region []byte
	usable uint64
	denied bool // more was asked for than there may be
}

func newMemory(most int64) *memory {
	region, err := unix.Mmap(-1, 0, int(most), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		region = nil
	}
	return &memory{region: region}
}

// Reallocate implements [experimental.LinearMemory]; nil tells PDFium that there is no more.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.region)) {
		m.denied = true
		return nil
	}
	if size > m.usable {
		end := min((size+growth-1)/growth*growth, uint64(len(m.region)))
		if unix.Mprotect(m.region[m.usable:end], unix.PROT_READ|unix.PROT_WRITE) != nil {
			m.denied = true
			return nil
		}
		m.usable = end
	}
	return m.region[:size:m.usable]
}

// growth is how much is made usable at a time, a multiple of any page size.
const growth = 1 << 20

// Free implements [experimental.LinearMemory].
func (m *memory) Free() {
	if m.region != nil {
		_ = unix.Munmap(m.region)
		m.region, m.usable = nil, 0
	}
}
