package extracttest

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// OLE makes a compound file ([MS-CFB]) of streams in its root.
func OLE(streams map[string][]byte) []byte {
	const sector, endOfChain = 512, uint32(0xfffffffe)
	names := make([]string, 0, len(streams))
	for n := range streams {
		names = append(names, n)
	}
	slices.Sort(names)
	var data []byte
	var fat []uint32
	add := func(b []byte) uint32 {
		start := uint32(len(fat))
		if len(b) == 0 {
			return endOfChain
		}
		for i := 0; i < len(b); i += sector {
			part := make([]byte, sector)
			copy(part, b[i:])
			data = append(data, part...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = endOfChain
		return start
	}
	dir := make([]byte, (len(names)+4)/4*sector)
	put := func(i int, n string, kind byte, left, right, child, start uint32, size int) {
		e := dir[i*128:]
		units := utf16.Encode([]rune(n))
		for j, u := range units {
			binary.LittleEndian.PutUint16(e[2*j:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
		e[66], e[67] = kind, 1
		binary.LittleEndian.PutUint32(e[68:], left)
		binary.LittleEndian.PutUint32(e[72:], right)
		binary.LittleEndian.PutUint32(e[76:], child)
		binary.LittleEndian.PutUint32(e[116:], start)
		binary.LittleEndian.PutUint32(e[120:], uint32(size))
	}
	const no = uint32(0xffffffff)
	child := uint32(no)
	if len(names) > 0 {
		child = 1
	}
	put(0, "Root Entry", 5, no, no, child, endOfChain, 0)
	for i, n := range names {
		b := streams[n]
		if len(b) < 4096 { // small ones would lie in the mini stream
			b = append(slices.Clone(b), make([]byte, 4096-len(b))...)
		}
		right := uint32(no)
		if i+1 < len(names) {
			right = uint32(i + 2)
		}
		put(i+1, n, 2, no, right, no, add(b), len(b))
	}
	first := add(dir)
	tables := 1
	for (tables * 128) < len(fat)+tables {
		tables++
	}
	at := len(fat)
	for range tables {
		fat = append(fat, 0xfffffffd)
	}
	h := make([]byte, sector)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	h[24], h[26], h[28], h[29], h[30], h[32] = 0x3e, 3, 0xfe, 0xff, 9, 6
	binary.LittleEndian.PutUint32(h[44:], uint32(tables))
	binary.LittleEndian.PutUint32(h[48:], first)
	binary.LittleEndian.PutUint32(h[56:], 4096)
	binary.LittleEndian.PutUint32(h[60:], endOfChain)
	binary.LittleEndian.PutUint32(h[68:], endOfChain)
	for i := range 109 {
		v := uint32(no)
		if i < tables {
			v = uint32(at + i)
		}
		binary.LittleEndian.PutUint32(h[76+4*i:], v)
	}
	table := make([]byte, tables*sector)
	for i := range table {
		table[i] = 0xff
	}
	for i, v := range fat {
		binary.LittleEndian.PutUint32(table[4*i:], v)
	}
	return slices.Concat(h, data, table)
}
