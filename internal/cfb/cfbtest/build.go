// Package cfbtest writes compound files for tests.
package cfbtest

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	sector     = 512
	miniSector = 64
	threshold  = 4096
	none       = 0xffffffff
	end        = 0xfffffffe
)

type node struct {
	name        string
	storage     bool
	content     []byte
	children    []int
	right       uint32
	child       uint32
	start, size uint32
}

// Build makes a file of streams by their paths, such as "storage/stream".
func Build(streams map[string]string) []byte {
	nodes := []*node{{name: "Root Entry", storage: true, right: none, child: none}}
	index := map[string]int{"": 0}
	var place func(path string, storage bool) int
	place = func(path string, storage bool) int {
		if i, ok := index[path]; ok {
			return i
		}
		parent, name := "", path
		if n := strings.LastIndexByte(path, '/'); n >= 0 {
			parent, name = path[:n], path[n+1:]
		}
		up := place(parent, true)
		i := len(nodes)
		nodes = append(nodes, &node{name: name, storage: storage, right: none, child: none})
		nodes[up].children = append(nodes[up].children, i)
		index[path] = i
		return i
	}
	for _, path := range slices.Sorted(maps.Keys(streams)) {
		nodes[place(path, false)].content = []byte(streams[path])
	}
	// Neighbours are a list that leans to the right, which readers accept.
	for _, n := range nodes {
		for i, c := range n.children {
			if i == 0 {
				n.child = uint32(c)
			} else {
				nodes[n.children[i-1]].right = uint32(c)
			}
		}
	}
	var body []byte
	var fat, minifat []uint32
	var mini []byte
	put := func(b []byte) uint32 {
		if len(b) == 0 {
			return end
		}
		start := len(fat)
		for at := 0; at < len(b); at += sector {
			chunk := make([]byte, sector)
			copy(chunk, b[at:])
			body = append(body, chunk...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = end
		return uint32(start)
	}
	for _, n := range nodes[1:] {
		if n.storage {
			continue
		}
		n.size = uint32(len(n.content))
		switch {
		case n.size == 0:
			n.start = end
		case n.size >= threshold:
			n.start = put(n.content)
		default:
			n.start = uint32(len(minifat))
			for at := 0; at < len(n.content); at += miniSector {
				chunk := make([]byte, miniSector)
				copy(chunk, n.content[at:])
				mini = append(mini, chunk...)
				minifat = append(minifat, uint32(len(minifat)+1))
			}
			minifat[len(minifat)-1] = end
		}
	}
	nodes[0].start, nodes[0].size = put(mini), uint32(len(mini))
	miniStart := put(words(minifat))
	var dir []byte
	for _, n := range nodes {
		dir = append(dir, n.entry()...)
	}
	dirStart := put(dir)
	// The table holds its own sectors too.
	tables := 1
	for tables*sector/4 < len(fat)+tables {
		tables++
	}
	h := make([]byte, sector)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(h[24:], 0x3e)
	binary.LittleEndian.PutUint16(h[26:], 3)
	binary.LittleEndian.PutUint16(h[28:], 0xfffe)
	binary.LittleEndian.PutUint16(h[30:], 9)
	binary.LittleEndian.PutUint16(h[32:], 6)
	for at, v := range map[int]int{44: tables, 48: int(dirStart), 56: threshold, 60: int(miniStart), 64: (len(minifat)*4 + sector - 1) / sector, 68: end} {
		binary.LittleEndian.PutUint32(h[at:], uint32(v))
	}
	for i := range 109 {
		v := uint32(none)
		if i < tables {
			v = uint32(len(fat) + i)
		}
		binary.LittleEndian.PutUint32(h[76+4*i:], v)
	}
	table := fat
	for range tables {
		table = append(table, 0xfffffffd)
	}
	for len(table) < tables*sector/4 {
		table = append(table, none)
	}
	return slices.Concat(h, body, words(table))
}

func words(list []uint32) []byte {
	out := make([]byte, 4*len(list))
	for i, v := range list {
		binary.LittleEndian.PutUint32(out[4*i:], v)
	}
	return out
}

func (n *node) entry() []byte {
	b := make([]byte, 128)
	units := utf16.Encode([]rune(n.name))
	for i, u := range units {
		binary.LittleEndian.PutUint16(b[2*i:], u)
	}
	binary.LittleEndian.PutUint16(b[64:], uint16(2*len(units)+2))
	b[66] = 2
	if n.name == "Root Entry" {
		b[66] = 5
	} else if n.storage {
		b[66] = 1
	}
	b[67] = 1
	for at, v := range map[int]uint32{68: none, 72: n.right, 76: n.child, 116: n.start, 120: n.size} {
		binary.LittleEndian.PutUint32(b[at:], v)
	}
	return b
}
