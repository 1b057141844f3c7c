package mail_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/mail"
	"github.com/llmemory/llmemory/internal/cfb/cfbtest"
)

// utf16le is text as properties of the type 001F have it.
func utf16le(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// fixed is a stream of properties behind a head.
func fixed(head int, values map[uint32]uint64) string {
	b := make([]byte, head)
	for tag, v := range values {
		b = binary.LittleEndian.AppendUint32(b, tag)
		b = binary.LittleEndian.AppendUint32(b, 6)
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return string(b)
}

func filetime(t time.Time) uint64 { return uint64(t.Unix()+11644473600) * 1e7 }

func TestOutlook(t *testing.T) {
	t.Parallel()
	const properties = "__properties_version1.0"
	sent := filetime(time.Date(2026, 2, 2, 8, 14, 0, 0, time.UTC))
	base := func() map[string]string {
		return map[string]string{
			properties:             fixed(32, map[uint32]uint64{0x00390040: sent}),
			"__substg1.0_0037001F": utf16le("Größe des Pakets"), "__substg1.0_0042001F": utf16le("Lima, Ana"),
			"__substg1.0_0065001F": utf16le("/O=EXCHANGE/CN=ANA"), "__substg1.0_5D02001F": utf16le("ana@example.com"),
			"__recip_version1.0_#00000000/" + properties:        fixed(8, map[uint32]uint64{0x0c150003: 1}),
			"__recip_version1.0_#00000000/__substg1.0_3001001F": utf16le("Ben Otte"),
			"__recip_version1.0_#00000000/__substg1.0_39FE001F": utf16le("ben@example.com"),
			"__recip_version1.0_#00000001/" + properties:        fixed(8, map[uint32]uint64{0x0c150003: 2}),
			"__recip_version1.0_#00000001/__substg1.0_3001001F": utf16le("cy@example.com"),
			"__recip_version1.0_#00000001/__substg1.0_3003001F": utf16le("cy@example.com"),
			"__recip_version1.0_#00000002/" + properties:        fixed(8, map[uint32]uint64{0x0c150003: 3}),
			"__recip_version1.0_#00000002/__substg1.0_3001001F": utf16le("hidden@example.com"),
		}
	}
	const head = "From: \"Lima, Ana\" <ana@example.com>\nTo: Ben Otte <ben@example.com>\nCc: cy@example.com\n" +
		"Date: Mon, 2 Feb 2026 08:14:00 +0000\nSubject: Größe des Pakets\n"
	want := got{Title: "Größe des Pakets", Author: "Lima, Ana <ana@example.com>", Date: "2026-02-02T08:14:00Z"}
	const hello = "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
	packed, err := hex.DecodeString(hello)
	if err != nil {
		t.Fatal(err)
	}
	const rtf = "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
	tests := []struct {
		name    string
		streams map[string]string // more of them
		content string
		parts   []string
	}{
		{"plain text", map[string]string{"__substg1.0_1000001F": utf16le("Es ist groß.\r\n\r\nAna\r\n")}, head + "\nEs ist groß.\n\nAna\n", nil},
		{"text in a code page", map[string]string{
			"__substg1.0_1000001E": "\xd1\xf2\xe5\xed",
			properties:             fixed(32, map[uint32]uint64{0x00390040: sent, 0x3ffd0003: 1251}),
		}, head + "\nСтен\n", nil},
		{"HTML", map[string]string{
			"__substg1.0_10130102": "<p>Es ist gro\xdf.</p>",
			properties:             fixed(32, map[uint32]uint64{0x00390040: sent, 0x3fde0003: 28591}),
		}, head + "\nEs ist groß.\n", nil},
		{"compressed RTF alone", map[string]string{"__substg1.0_10090102": string(packed)}, head, []string{"part 1.rtf | text/rtf | " + rtf}},
		{"attachments", map[string]string{
			"__substg1.0_1000001F":                               utf16le("See these."),
			"__attach_version1.0_#00000000/" + properties:        fixed(8, nil),
			"__attach_version1.0_#00000000/__substg1.0_3707001F": utf16le("Maß b.txt"),
			"__attach_version1.0_#00000000/__substg1.0_370E001F": utf16le("text/plain"),
			"__attach_version1.0_#00000000/__substg1.0_37010102": "content",
			"__attach_version1.0_#00000001/" + properties:        fixed(8, nil),
			"__attach_version1.0_#00000001/__substg1.0_3704001F": utf16le("LONGNA~1.PDF"),
			"__attach_version1.0_#00000001/__substg1.0_37010102": strings.Repeat("%PDF", 2000),
		}, head + "\nSee these.\n", []string{"Maß b.txt | text/plain | content", "LONGNA~1.PDF |  | " + strings.Repeat("%PDF", 2000)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			streams := base()
			for path, content := range tt.streams {
				streams[path] = content
			}
			want := want
			want.Content, want.Parts = tt.content, tt.parts
			g, err := read(t.Context(), mail.Extractor{}, string(cfbtest.Build(streams)))
			if diff := cmp.Diff(want, g); err != nil || diff != "" {
				t.Errorf("%v\n-want +got:\n%s", err, diff)
			}
		})
	}
	t.Run("a message within", func(t *testing.T) {
		t.Parallel()
		streams := base()
		const within = "__attach_version1.0_#00000000/__substg1.0_3701000D/"
		streams[within+properties] = fixed(24, map[uint32]uint64{0x00390040: sent})
		streams[within+"__substg1.0_0037001F"] = utf16le("Inner")
		streams[within+"__substg1.0_1000001F"] = utf16le("Hello")
		streams[within+"__attach_version1.0_#00000000/__substg1.0_3707001F"] = utf16le("deep.bin")
		streams[within+"__attach_version1.0_#00000000/__substg1.0_37010102"] = "deep"
		var seen []string
		var part func(ctx context.Context, in extract.Input) error
		part = func(ctx context.Context, in extract.Input) error {
			seen = append(seen, in.Name)
			if in.Type != "email" {
				return nil
			}
			in.Part = part
			text, err := mail.Extractor{}.Extract(ctx, in)
			if !strings.HasSuffix(text.Content, "Subject: Inner\n\nHello\n") {
				t.Errorf("content %q", text.Content)
			}
			return err
		}
		text, err := mail.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(string(cfbtest.Build(streams))), Part: part})
		if diff := cmp.Diff([]string{"Inner.eml", "deep.bin"}, seen); err != nil || diff != "" || text.Format != "msg" {
			t.Errorf("%v %q\n%s", err, text.Format, diff)
		}
	})
	t.Run("RTF handed on", func(t *testing.T) {
		t.Parallel()
		streams := base()
		streams["__substg1.0_10090102"] = string(packed)
		e := mail.Extractor{RTF: extract.Func(func(_ context.Context, in extract.Input) (extract.Text, error) {
			b, err := io.ReadAll(in.Reader)
			return extract.Text{Content: in.Media + ": " + string(b)}, err
		})}
		g, err := read(t.Context(), e, string(cfbtest.Build(streams)))
		if want := head + "\napplication/rtf: " + strings.TrimSpace(rtf) + "\n"; err != nil || g.Content != want {
			t.Errorf("%v %q, want %q", err, g.Content, want)
		}
	})
	t.Run("read from a source", func(t *testing.T) {
		t.Parallel()
		in := extract.Input{Reader: strings.NewReader(string(cfbtest.Build(base())))}
		src, err := in.Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		text, err := mail.Extractor{}.Extract(t.Context(), extract.Input{Reader: src})
		if err != nil || text.Content != head {
			t.Errorf("%v %q", err, text.Content)
		}
	})
	t.Run("no message", func(t *testing.T) {
		t.Parallel()
		_, err := read(t.Context(), mail.Extractor{}, string(cfbtest.Build(map[string]string{"Workbook": "x"})))
		if !errors.Is(err, extract.ErrUnsupported) {
			t.Error(err)
		}
		whole := string(cfbtest.Build(base()))
		if _, err = read(t.Context(), mail.Extractor{}, whole[:1000]); !errors.Is(err, extract.ErrDamaged) {
			t.Error(err)
		}
	})
}

func FuzzOutlook(f *testing.F) {
	f.Add(string(cfbtest.Build(map[string]string{
		"__properties_version1.0": fixed(32, map[uint32]uint64{0x00390040: 1 << 57, 0x3ffd0003: 1252}), "__substg1.0_0037001E": "S",
		"__substg1.0_10090102": "\x20\x00\x00\x00\x10\x00\x00\x00LZFu\x00\x00\x00\x00\x01\x00\x02abc", "__attach_version1.0_#0/__substg1.0_37010102": "x",
		"__attach_version1.0_#1/__substg1.0_3701000D/__properties_version1.0": fixed(24, nil),
	})))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := read(t.Context(), mail.Extractor{}, raw); err != nil {
			for _, known := range []error{extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Error(err)
		}
	})
}
