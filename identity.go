package llmemory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// Identity names a document within its owner.
type Identity struct {
	OriginID string
	Key      string
}

// DocumentID returns the id that a document of this identity has in every store: a UUID of version 8 (RFC 9562) made of the
// first bits of a SHA-256 over owner, origin and key.
func DocumentID(owner string, id Identity) string {
	return hashID("llmemory document", owner, id.OriginID, id.Key)
}

// chunkID derives a chunk's id from that of its document, its level and text, and which of the document's chunks with that text it
// is, counted from 0. It begins as the document's does, so that the chunks of a document lie together in an index of ids.
func chunkID(document string, level int, text string, occurrence int) string {
	sum := sha256.Sum256([]byte(text))
	const shared = len("6ba7b810-9dad-")
	return document[:shared] + hashID("llmemory chunk", document, strconv.Itoa(level), string(sum[:]), strconv.Itoa(occurrence))[shared:]
}

func hashID(parts ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	var u [16]byte
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// parseID returns a document or chunk id in its canonical form.
func parseID(field, s string) (string, error) {
	s = strings.ToLower(s)
	plain := strings.ReplaceAll(s, "-", "")
	if _, err := hex.DecodeString(plain); err != nil || len(plain) != 32 || (len(s) != 36 && len(s) != 32) {
		return "", invalidf(field, "%.64q is not an id: ids are UUIDs such as %s", s, "6ba7b810-9dad-81d1-80b4-00c04fd430c8")
	}
	return plain[:8] + "-" + plain[8:12] + "-" + plain[12:16] + "-" + plain[16:20] + "-" + plain[20:], nil
}
