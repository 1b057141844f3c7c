package mail_test

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract/mail"
)

// attribute is one of a file winmail.dat.
func attribute(level byte, id uint32, data string) string {
	b := binary.LittleEndian.AppendUint32([]byte{level}, id)
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(data)))) + data + "\x00\x00"
}

// property is one of a list, of a type of any length.
func property(id, kind uint16, data string) string {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return string(b) + data + strings.Repeat("\x00", -len(data)&3)
}

// list is a list of properties, with a few before that say nothing of the text.
func list(properties ...string) string {
	before := []string{"\x03\x00\x17\x0e\x01\x00\x00\x00", "\x40\x00\x39\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x03\x10\x01\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00",
		"\x0b\x00\x00\x80" + strings.Repeat("g", 16) + "\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00",
		"\x0b\x00\x01\x80" + strings.Repeat("g", 16) + "\x01\x00\x00\x00\x06\x00\x00\x00n\x00a\x00\x00\x00\x00\x00\x01\x00\x00\x00"}
	all := append(before, properties...)
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(all)))) + strings.Join(all, "")
}

const tnefHead = "\x78\x9f\x3e\x22\x01\x00"

var winmail = tnefHead + attribute(1, 0x00069007, "\xe3\x04\x00\x00\x00\x00\x00\x00") + // Windows-1251
	attribute(1, 0x00069003, list(property(0x1013, 0x0102, "<p>It <b>came</b>.</p>"), property(0x1000, 0x001f, utf16le("not this")))) +
	attribute(2, 0x00069002, strings.Repeat("\x00", 14)) + attribute(2, 0x00018010, "\xcf\xeb\xe0\xed.txt\x00") + attribute(2, 0x0006800f, "the plan") +
	attribute(2, 0x00069002, "") + attribute(2, 0x00018010, "SHORT~1.PDF\x00") + attribute(2, 0x0006800f, "%PDF") +
	attribute(2, 0x00069005, list(property(0x3707, 0x001f, utf16le("a long name, 潮.pdf")), property(0x370e, 0x001e, "application/pdf\x00"))) +
	attribute(2, 0x00069002, "") + attribute(2, 0x00069005, list(property(0x3701, 0x000d, strings.Repeat("i", 16)+tnefHead+attribute(1, 0x00018004, "Re: a/b\x00")+attribute(1, 0x0002800c, "Within\r\n\x00")+
	attribute(2, 0x00069002, "")+attribute(2, 0x00018010, "c.txt\x00")+attribute(2, 0x0006800f, "in it"))))

// Files and text that Exchange puts into winmail.dat are those of the message.
func TestWinmail(t *testing.T) {
	t.Parallel()
	part := func(name, media, content string) string {
		return "--x\nContent-Type: " + media + "; name=" + name + "\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\n"
	}
	head := plainHead + "Content-Type: multipart/mixed; boundary=x\n\n"
	parts := []string{"План.txt |  | the plan", "a long name, 潮.pdf | application/pdf | %PDF", "Re: a-b.txt | text/plain; charset=utf-8 | Within", "c.txt |  | in it"}
	for name, tt := range map[string]struct {
		raw, want string
		parts     []string
		warnings  int
	}{
		"the only body":     {head + part("winmail.dat", "application/ms-tnef", winmail), "It came.\n", parts, 0},
		"by its name":       {head + part("WINMAIL.DAT", "application/octet-stream", winmail), "It came.\n", parts, 0},
		"beside a text":     {head + "--x\n\nThe text.\n" + part("x.dat", "application/ms-tnef", winmail), "The text.\n", parts, 0},
		"cut short":         {head + part("winmail.dat", "application/ms-tnef", winmail[:strings.Index(winmail, "the plan")+3]), "It came.\n", []string{"План.txt |  | the"}, 1},
		"of another kind":   {head + part("winmail.dat", "application/octet-stream", "words"), "", []string{"winmail.dat |  | words"}, 0},
		"nothing in it":     {head + "--x\n\nThe text.\n" + part("winmail.dat", "application/ms-tnef", tnefHead), "The text.\n", nil, 0},
		"a text of its own": {head + part("winmail.dat", "application/ms-tnef", tnefHead+attribute(1, 0x00069007, "\xe3\x04\x00\x00")+attribute(1, 0x0002800c, "\xcf\xeb\xe0\xed\x00")), "План\n", nil, 0},
	} {
		g, err := read(t.Context(), mail.Extractor{}, tt.raw)
		if err != nil || strings.TrimPrefix(strings.TrimPrefix(g.Content, plainHead), "\n") != tt.want || len(g.Warnings) != tt.warnings {
			t.Errorf("%s: %q, warnings %q, error = %v", name, g.Content, g.Warnings, err)
		}
		if diff := cmp.Diff(tt.parts, g.Parts); diff != "" {
			t.Errorf("%s: parts (-want +got):\n%s", name, diff)
		}
	}
	// Counts and lengths that cannot be.
	for _, odd := range []string{"\xff\xff\xff\xff", "\xff\xff\xff\xff\x1e\x00\x00\x10\xff\xff\xff\xff", "\xff\xff\xff\xff\x03\x10\x00\x10\xff\xff\xff\x7f", "\x01\x00\x00\x00\x1f\x00\x01\x80", "\x01"} {
		raw := tnefHead + attribute(1, 0x00069003, odd) + attribute(2, 0x00069005, odd)
		if _, err := read(t.Context(), mail.Extractor{}, head+"--x\n\nThe text.\n"+part("winmail.dat", "application/ms-tnef", raw)); err != nil {
			t.Errorf("%q: %v", odd, err)
		}
	}
}
