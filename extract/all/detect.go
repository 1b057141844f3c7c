package all

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/charset"
	"github.com/llmemory/llmemory/internal/safezip"
)

// Kind is what a file is.
type Kind struct {
	// Format is one of "pdf", "docx", "pptx", "xlsx", "xls", "msg", "odt", "ods", "odp", "rtf", "epub", "html", "email", "mbox",
	// "markdown", "text", "chat", "code", "csv", "tsv", "json", "jsonl", "notebook", "yaml", "xml", "zip", "tar", "gzip", "bzip2",
	// "zstd"; for what is recognized but never read by us a word such as "image", "audio", "video", "program", "doc", "ppt" or "xz";
	// "binary" for all else.
	Format string
	// Media is the MIME type.
	Media string
}

// String is for people: "image (image/png)".
func (k Kind) String() string {
	if what := names[k.Format]; what != "" {
		return what
	}
	if k.Media == "" {
		return k.Format
	}
	return k.Format + " (" + k.Media + ")"
}

var names = map[string]string{
	"binary": "binary data of no known format",
	"doc":    "Word document of the old binary format",
	"ppt":    "PowerPoint presentation of the old binary format",
	"iwork":  "Apple iWork document",
	"xz":     "archive compressed by xz, which may ask for any amount of memory",
	"xlsb":   "Excel workbook of the binary format",
}

const headBytes = 64 << 10

// Detect finds out what a file is from what is in it. The name and the MIME type that came with it may be empty; they decide between
// formats that look alike, such as Markdown and plain text, and never make text of binary data. A file that is of a known format but
// cannot be read at all (damaged, encrypted) gives that error beside what is known.
func Detect(src *extract.Source, name, media string) (Kind, error) {
	head := make([]byte, min(headBytes, src.Size()))
	n, err := src.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Kind{}, err
	}
	head = head[:n]
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("%PDF-"):
		return Kind{"pdf", "application/pdf"}, nil
	case has("PK\x03\x04"), has("PK\x05\x06"):
		return detectZip(src)
	case has("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
		return detectOLE(src)
	case has(`{\rtf`):
		return Kind{"rtf", "application/rtf"}, nil
	case has("\x1f\x8b"):
		return Kind{"gzip", "application/gzip"}, nil
	case has("BZh") && len(head) > 10 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Kind{"bzip2", "application/x-bzip2"}, nil
	case has("\xfd7zXZ\x00"):
		return Kind{"xz", "application/x-xz"}, nil
	case has("\x28\xb5\x2f\xfd"):
		return Kind{"zstd", "application/zstd"}, nil
	case len(head) >= 512 && string(head[257:262]) == "ustar":
		return Kind{"tar", "application/x-tar"}, nil
	}
	if isText(head) || charset.Unmarked(head) {
		return detectText(src, head, name, mediaType(media)), nil
	}
	if bytes.Contains(head[:min(len(head), 1024)], []byte("%PDF-")) {
		return Kind{"pdf", "application/pdf"}, nil
	}
	m := mimetype.Detect(head)
	k := Kind{"binary", mediaType(m.String())}
	family, _, _ := strings.Cut(k.Media, "/")
	switch {
	case family == "image", family == "audio", family == "video", family == "font":
		if ext := strings.ToLower(path.Ext(name)); k.Media == "video/mp4" && (ext == ".m4a" || ext == ".m4b") {
			k.Media, family = "audio/mp4", "audio" // the same container
		}
		k.Format = family
	case m.Is("application/x-tar"):
		k.Format = "tar"
	case m.Is("application/x-7z-compressed"), m.Is("application/x-rar-compressed"), m.Is("application/vnd.rar"), m.Is("application/vnd.ms-cab-compressed"):
		k.Format = "archive"
	case strings.Contains(k.Media, "executable"), strings.Contains(k.Media, "x-elf"), strings.Contains(k.Media, "x-mach"),
		strings.Contains(k.Media, "x-sharedlib"), strings.Contains(k.Media, "x-object"), strings.Contains(k.Media, "portable-executable"),
		strings.Contains(k.Media, "wasm"), strings.Contains(k.Media, "java-applet"):
		k.Format = "program"
	case strings.Contains(k.Media, "sqlite"), strings.Contains(k.Media, "msaccess"):
		k.Format = "database"
	case isTextType(m):
		if !controls(head) {
			return detectText(src, head, name, mediaType(media)), nil
		}
		k.Media = "application/octet-stream"
	case k.Media == "application/octet-stream":
		if !controls(head) {
			return detectText(src, head, name, mediaType(media)), nil
		}
	}
	return k, nil
}

// isTextType tells whether a type is one of text.
func isTextType(m *mimetype.MIME) bool {
	for ; m != nil; m = m.Parent() {
		if m.Is("text/plain") {
			return true
		}
	}
	return false
}

// isText tells whether the beginning of a file is text beyond doubt: it says so by a byte order mark, or is UTF-8 without the
// characters that no text has.
func isText(head []byte) bool {
	for _, bom := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "\x00\x00\xfe\xff"} {
		if bytes.HasPrefix(head, []byte(bom)) {
			return len(head) > len(bom) || len(head)%2 == 0
		}
	}
	for cut := 0; cut < utf8.UTFMax && cut <= len(head); cut++ { // the last character may be cut off
		if utf8.Valid(head[:len(head)-cut]) {
			return !controls(head)
		}
	}
	return false
}

// controls tells whether more than one byte of a hundred is a control character that text does not use, or any byte is NUL.
func controls(head []byte) bool {
	n := 0
	for _, c := range head {
		switch {
		case c == 0:
			return true
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b || c == 0x7f:
			n++
		}
	}
	return n > len(head)/100
}

// detectZip looks at the members of a zip file.
func detectZip(src *extract.Source) (Kind, error) {
	k := Kind{"zip", "application/zip"}
	z, err := safezip.Open(src, src.Size(), safezip.Limits{Mixed: true})
	if err != nil {
		return k, err
	}
	if f := z.File("mimetype"); f != nil && f.Size < 256 && !f.Encrypted {
		b, err := f.ReadAll()
		if err != nil {
			return k, err
		}
		switch media := strings.TrimSuffix(strings.TrimSpace(string(b)), "-template"); media {
		case "application/epub+zip":
			return Kind{"epub", media}, nil
		case "application/vnd.oasis.opendocument.text":
			return Kind{"odt", media}, nil
		case "application/vnd.oasis.opendocument.spreadsheet":
			return Kind{"ods", media}, nil
		case "application/vnd.oasis.opendocument.presentation":
			return Kind{"odp", media}, nil
		}
	}
	const office = "application/vnd.openxmlformats-officedocument."
	ooxml := z.File("[Content_Types].xml") != nil
	for _, f := range z.Files {
		switch dir, _, _ := strings.Cut(f.Name, "/"); {
		case ooxml && dir == "word":
			return Kind{"docx", office + "wordprocessingml.document"}, nil
		case ooxml && dir == "ppt":
			return Kind{"pptx", office + "presentationml.presentation"}, nil
		case ooxml && f.Name == "xl/workbook.bin":
			return Kind{"xlsb", "application/vnd.ms-excel.sheet.binary.macroenabled.12"}, nil
		case ooxml && f.Name == "xl/workbook.xml":
			return Kind{"xlsx", office + "spreadsheetml.sheet"}, nil
		case f.Name == "META-INF/container.xml":
			return Kind{"epub", "application/epub+zip"}, nil
		case f.Name == "META-INF/MANIFEST.MF":
			return Kind{"program", "application/java-archive"}, nil
		case strings.HasPrefix(f.Name, "Index/") && path.Ext(f.Name) == ".iwa":
			return Kind{"iwork", "application/vnd.apple.iwork"}, nil
		}
	}
	return k, nil
}

// detectOLE looks at the streams in the root of an OLE2 compound file ([MS-CFB]).
func detectOLE(src *extract.Source) (Kind, error) {
	k := Kind{"binary", "application/x-ole-storage"}
	entries, err := oleRoot(src)
	if err != nil {
		return k, err
	}
	for _, name := range entries {
		switch {
		case name == "EncryptedPackage":
			return k, fmt.Errorf("%w: the document needs a password", extract.ErrEncrypted)
		case name == "WordDocument":
			k = Kind{"doc", "application/msword"}
		case name == "PowerPoint Document":
			k = Kind{"ppt", "application/vnd.ms-powerpoint"}
		case name == "Workbook", name == "Book":
			k = Kind{"xls", "application/vnd.ms-excel"}
		case strings.HasPrefix(name, "__properties_version1.0"):
			k = Kind{"msg", "application/vnd.ms-outlook"}
		}
	}
	return k, nil
}

// oleRoot returns the names in the root of a compound file.
func oleRoot(src *extract.Source) ([]string, error) {
	damaged := fmt.Errorf("%w: OLE compound file", extract.ErrDamaged)
	var h [512]byte
	if _, err := src.ReadAt(h[:], 0); err != nil {
		return nil, damaged
	}
	shift := uint(h[30])
	if shift != 9 && shift != 12 {
		return nil, damaged
	}
	sector := func(n uint32) []byte {
		b := make([]byte, 1<<shift)
		if n >= 0xfffffffa {
			return nil
		}
		if _, err := src.ReadAt(b, int64(n+1)<<shift); err != nil && !errors.Is(err, io.EOF) {
			return nil
		}
		return b
	}
	// The sectors of the allocation table are listed in the header, and beyond 109 of them in a chain of sectors.
	perSector := uint32(1) << (shift - 2)
	var fat []uint32
	for i := range 109 {
		fat = append(fat, le32(h[76+4*i:]))
	}
	for next, n := le32(h[68:]), 0; next < 0xfffffffa && n < 1000; n++ {
		b := sector(next)
		if b == nil {
			return nil, damaged
		}
		for i := range perSector - 1 {
			fat = append(fat, le32(b[4*i:]))
		}
		next = le32(b[4*(perSector-1):])
	}
	var dir []byte
	for next, n := le32(h[48:]), 0; next < 0xfffffffa; n++ {
		b := sector(next)
		if b == nil || n > 1<<14 || int(next/perSector) >= len(fat) {
			return nil, damaged
		}
		dir = append(dir, b...)
		table := sector(fat[next/perSector])
		if table == nil {
			return nil, damaged
		}
		next = le32(table[4*(next%perSector):])
	}
	if len(dir) < 128 {
		return nil, damaged
	}
	var names []string
	seen := map[uint32]bool{}
	for todo := []uint32{le32(dir[76:])}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] || int64(id)*128+128 > int64(len(dir)) {
			continue
		}
		seen[id] = true
		e := dir[id*128:][:128]
		units := make([]uint16, 0, 32)
		for i := 0; i+1 < min(int(e[64])|int(e[65])<<8, 64)-1; i += 2 {
			units = append(units, uint16(e[i])|uint16(e[i+1])<<8)
		}
		names = append(names, string(utf16.Decode(units)))
		todo = append(todo, le32(e[68:]), le32(e[72:]))
	}
	return names, nil
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
