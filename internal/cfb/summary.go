package cfb

import (
	"encoding/binary"
	"strings"
	"time"
)

// Summary is what a document says of itself ([MS-OLEPS]).
type Summary struct {
	Title, Author string
	Date          time.Time // of the last change, else of its making
}

// Summary reads what the document says of itself; decode makes text of strings in the code page that is given. What cannot be read is
// left out.
func (f *File) Summary(decode func(codepage int, b []byte) string) (s Summary) {
	b, err := f.Stream("\x05SummaryInformation", 1<<20)
	if err != nil || len(b) < 48 {
		return s
	}
	set := int64(u32(b[44:]))
	if set+8 > int64(len(b)) {
		return s
	}
	b = b[set:]
	at := map[uint32]int64{}
	for i := range int64(min(u32(b[4:]), 1000)) {
		if 16+8*i > int64(len(b)) {
			return s
		}
		at[u32(b[8+8*i:])] = int64(u32(b[12+8*i:]))
	}
	value := func(id uint32, kind uint32) []byte {
		off, ok := at[id]
		if !ok || off+12 > int64(len(b)) || u32(b[off:]) != kind {
			return nil
		}
		return b[off+4:]
	}
	page := 1252
	if v := value(1, 2); v != nil {
		page = int(binary.LittleEndian.Uint16(v))
	}
	text := func(id uint32) string {
		if v := value(id, 30); v != nil {
			n := min(int64(u32(v)), int64(len(v))-4, 4096)
			t, _, _ := strings.Cut(decode(page, v[4:4+n]), "\x00")
			return strings.Join(strings.Fields(strings.ToValidUTF8(t, "")), " ")
		}
		return ""
	}
	s.Title, s.Author = text(2), text(4)
	for _, id := range []uint32{13, 12} { // last saved, made
		if v := value(id, 64); v != nil && s.Date.IsZero() {
			if ticks := binary.LittleEndian.Uint64(v); ticks > 0 && ticks < 1<<62 {
				const epoch = 116444736000000000 // 1970 in ticks of 100 ns since 1601
				t := time.Unix((int64(ticks)-epoch)/10_000_000, 0).UTC()
				if t.Year() > 1900 && t.Year() < 10000 {
					s.Date = t
				}
			}
		}
	}
	return s
}
