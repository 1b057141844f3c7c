package chunk_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/soak"
)

// TestWhoWroteAQuotation cuts a quotation with an introduction and looks at its heading.
func TestWhoWroteAQuotation(t *testing.T) {
	t.Parallel()
	for introduction, want := range map[string]string{
		"On Mon, Feb 2, 2026 at 9:14 AM Ana Lima <ana@example.com> wrote:":  "Ana Lima",
		"On Mon, Feb 2, 2026 at 9:14 AM Ana Lima\n<ana@example.com> wrote:": "Ana Lima",
		"On Monday, Ana wrote:": "Ana",
		"On 02/02/26 09:14, \"Lima, Ana\" <ana@example.com> wrote:":             "Lima, Ana",
		"On 2 Feb 2026, at 09:14, ana@example.com wrote:\n":                     "ana@example.com",
		"On 2 Feb 2026 <ana@example.com> wrote:":                                "ana@example.com",
		"Ana Lima wrote:":                                                       "Ana Lima",
		"Ana Lima <ana@example.com> writes:":                                    "Ana Lima",
		"Am 2. Februar 2026 um 09:14 schrieb Ana Lima <ana@example.com>:":       "Ana Lima",
		"Am 02.02.26 um 09:14 Uhr schrieb Ana Lima:":                            "Ana Lima",
		"Ana Lima schrieb am 02.02.2026 um 09:14:":                              "Ana Lima",
		"Le lun. 2 févr. 2026 à 09:14, Ana Lima <ana@example.com> a écrit :":    "Ana Lima",
		"El lun, 2 feb 2026 a las 9:14, Ana Lima (<ana@example.com>) escribió:": "Ana Lima",
		"Op ma 2 feb. 2026 om 09:14 schreef Ana Lima <ana@example.com>:":        "Ana Lima",
		"Den mån 2 feb. 2026 kl 09:14 skrev Ana Lima <ana@example.com>:":        "Ana Lima",
		"I do not know. As she said:":                                           "I do not know. As she",
		"The writer of this said nothing of it, as I see":                       "",
	} {
		text := "From: Ben <ben@example.com>\nSubject: Parcel\n\nYes, it did.\n" + introduction + "\n> Did it arrive?\n"
		var got string
		for _, p := range mustChunk(t, chunk.Hierarchical{}, text, "email") {
			if leaf := text[p.Start:p.End]; p.Level == 0 && strings.HasSuffix(leaf, "> Did it arrive?") {
				got = strings.Join(p.Heading, "|")
				if (want != "") != strings.HasPrefix(leaf, strings.SplitN(introduction, "\n", 2)[0]) {
					t.Errorf("%q: the leaf is %q", introduction, leaf)
				}
			}
		}
		heading := "Parcel"
		if want != "" {
			heading += "|" + want
		}
		if got != heading {
			t.Errorf("%q: heading %q, want %q", introduction, got, heading)
		}
	}
}

// thread makes up a message that answers others, in parts: paragraphs that are to stand at a depth of quotation.
func (w writer) thread() (parts []string) {
	parts = append(parts, "From: Ana Lima <ana@example.com>\nTo: ben@example.com\nSubject: Re: "+strings.TrimSuffix(w.sentence(), ".")+"\n")
	for len(parts) < 80 {
		var text []string
		for range 1 + w.IntN(3) {
			text = append(text, w.paragraph())
		}
		mark := strings.Repeat(">", w.IntN(4))
		if mark != "" {
			mark += " "
		}
		parts = append(parts, mark+strings.Join(text, "\n"+mark+"\n"+mark))
	}
	return append(parts, "-- \nAna Lima\nHarbour Street 4")
}

// TestReplyAndQuotationStayApart looks at every leaf of many messages: its lines are all of one depth.
func TestReplyAndQuotationStayApart(t *testing.T) {
	t.Parallel()
	for seed := range uint64(soak.Pick(2, 20)) {
		text := strings.Join(newWriter(seed).thread(), "\n")
		for _, size := range []int{0, 15, 400} {
			h := chunk.Hierarchical{Sizes: map[string]chunk.Size{"email": {Leaf: size}}}
			for _, p := range mustChunk(t, h, text, "email") {
				if p.Level > 0 {
					continue
				}
				depths := map[int]bool{}
				begin := strings.LastIndex(text[:p.Start], "\n") + 1
				for row := range strings.Lines(text[begin:p.End]) {
					depths[len(row)-len(strings.TrimLeft(row, ">"))] = true
				}
				head := strings.Index(text, "\n\n")
				if leaf := text[p.Start:p.End]; len(depths) > 1 || p.Start < head && p.End > head || strings.Contains(leaf, "\n-- \n") {
					t.Errorf("seed %d, size %d: a leaf of several parts: %q", seed, size, leaf)
				}
			}
		}
	}
}

// TestEditsOfMessagesStayLocal edits a part of a message, or a turn of a chat: few leaves outside of it change.
func TestEditsOfMessagesStayLocal(t *testing.T) {
	t.Parallel()
	const promise = 3
	for _, label := range []string{"email", "chat"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			changes, edits := 0, 0
			for seed := range uint64(soak.Pick(2, 20)) {
				w := newWriter(seed)
				parts := w.thread()
				if label == "chat" {
					parts = w.turns()
				}
				text := strings.Join(parts, "\n")
				leaves, texts := leavesOf(t, text, label, "")
				for range soak.Pick(20, 40) {
					at := 1 + w.IntN(len(parts)-2)
					part := w.edit(parts[at])
					if part == "" {
						continue
					}
					edits++
					start := len(strings.Join(parts[:at], "\n")) + 1
					edited := text[:start] + part + text[start+len(parts[at]):]
					leaves2, texts2 := leavesOf(t, edited, label, "")
					n := max(changed(edited, leaves2, start, start+len(part), texts), changed(text, leaves, start, start+len(parts[at]), texts2))
					if changes += n; n > promise {
						t.Errorf("seed %d: editing part %d changes %d leaves outside of it:\n%s\n->\n%s", seed, at, n, parts[at], part)
					}
				}
			}
			if mean := float64(changes) / float64(edits); mean > 0.5 {
				t.Errorf("%.2f leaves change on average, want at most 0.5", mean)
			}
		})
	}
}

// turns makes up a chat.
func (w writer) turns() (turns []string) {
	for n := range 150 {
		turns = append(turns, fmt.Sprintf("[%02d:%02d] %s: %s", 8+n/30, n%30*2, []string{"Ana", "Ben Otte", "Cy"}[w.IntN(3)], w.sentence()))
		if w.IntN(3) == 0 {
			turns[n] += " " + w.paragraph()
		}
	}
	return turns
}

// TestTurnsStayWhole looks at every leaf of many chats: it begins with a turn, or is a piece of one that is too long.
func TestTurnsStayWhole(t *testing.T) {
	t.Parallel()
	h := chunk.Hierarchical{Structure: chunk.Chat}
	for seed := range uint64(soak.Pick(2, 20)) {
		turns := newWriter(seed).turns()
		text := strings.Join(turns, "\n")
		long := map[int]bool{} // offsets within turns that do not fit
		at := 0
		for _, turn := range turns {
			if pieces := mustChunk(t, h, turn, "text"); len(pieces) > 1 {
				for i := range turn {
					long[at+i] = true
				}
			}
			at += len(turn) + 1
		}
		for _, p := range mustChunk(t, h, text, "text") {
			if p.Level == 0 && !strings.HasPrefix(text[p.Start:], "[") && !long[p.Start] {
				t.Errorf("seed %d: a leaf begins within a turn that fits: %q", seed, text[p.Start:p.End])
			}
			for _, title := range p.Heading {
				if strings.ContainsAny(title, "0123456789:") {
					t.Errorf("a time in a heading: %q", title)
				}
			}
			if len(p.Heading) != 1 {
				t.Errorf("headings %q of %q", p.Heading, text[p.Start:p.End])
			}
		}
	}
}

// TestTurns looks at who speaks in what the lines of many forms say.
func TestTurns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Ana: hi\nBen: hello": "Ana, Ben",
		"Ana: hi\nsee https://x.example: nice\nBen: hello\nNote: no":                                       "Ana, Ben",
		"[10:15] Ana Lima: hi\n[10:16] Ben: hello":                                                         "Ana Lima, Ben",
		"10:15 Ana: hi\n10:16 Ben: hello":                                                                  "Ana, Ben",
		"2026-01-02 10:15 - Ana: hi\n2026-01-02 10:16 - Ben left\n2026-01-02 10:17 - Cy: o":                "Ana, Cy",
		"1/2/26, 10:15 PM - Ana: hi\n1/2/26, 10:16 PM - +44 7700 900123: x\n1/2/26, 10:17\u202fPM - Cy: o": "Ana, Cy",
		"[2026-01-02, 10:15:33 AM] Ana: hi\n\u200e[2026-01-02, 10:15:40 AM] Ben: image omitted":            "Ana, Ben",
		"[10:15] <@ana> hi\n[10:16] <ben> hello\n[10:17] * cy waves at":                                    "ana, ben, cy",
		"<ana> hi\n<ben> Note: hello":                                                                      "ana, ben",
		"Ana Lima  10:15 AM\nhi\nBen Otte APP  10:16 AM\nhello":                                            "Ana Lima, Ben Otte",
		"Ana — 01/02/2026 10:15 AM\nhi\nBen — Yesterday at 22:16\nhello":                                   "Ana, Ben",
		"Ana (10:15 AM): hi\nBen (10:16 AM): hello":                                                        "Ana, Ben",
		"**Ana:** hi\n**Ben:** hello":                                                                      "Ana, Ben",
		"田中：こんにちは\n佐藤： はい\n田中： はい":                                                                         "田中, 佐藤",
		"1\n00:00:01,000 --> 00:00:02,000\nANA: hi\n\n2\n00:00:03,000 --> 00:00:04,000\n- Ben: hello":      "ANA, Ben",
		"A: 1\nB: 2\nC: 3\nD: 4\nE: 5\nF: 6":                                                               "A, B, C, D, …",
		"Just a text\nwithout speakers.":                                                                   "",
		"One: line only":                                                                                   "",
	} {
		var got []string
		for _, p := range mustChunk(t, chunk.Hierarchical{}, text, "chat") {
			got = append(got, p.Heading...)
		}
		if want, got := want, strings.Join(got, "|"); want != got {
			t.Errorf("%q: speakers %q, want %q", text, got, want)
		}
	}
}

// TestMarkupChoosesStructure asks for the structures by mark-up and by setting.
func TestMarkupChoosesStructure(t *testing.T) {
	t.Parallel()
	const text = "From: Ana <ana@example.com>\nSubject: S\n\nYes.\n> Did it?\n"
	want := mustChunk(t, chunk.Hierarchical{}, text, "email")
	if len(want) != 4 {
		t.Fatalf("%d pieces, want a parent of header, reply and quotation", len(want))
	}
	for _, in := range []chunk.Text{{Content: text, Type: "email", Markup: "email"}, {Content: text, Type: "email"}} {
		for _, h := range []chunk.Hierarchical{{}, {Structure: chunk.Email}} {
			got, err := h.Chunk(t.Context(), in)
			if diff := gocmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%+v: %v\n%s", in, err, diff)
			}
		}
	}
}

// FuzzParts checks the contract of Chunker for messages and chats.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{
		"From: a\n\tb\nSubject: s\n\nyes\n\nOn 1, b wrote:\n\n> > no\n>\n>>> -- \n> x\n-- \nc",
		"\ufeffx\n-----Original Message-----\nFrom: a\nTo: b\nSubject: c\n\nd\n____\nVon: a\nAn: b\nBetreff: c",
		"[10:15] a: b?\n[11:15] b: c\nd\n\n[11:16] b: e", "a: b\r\nb: c\u2028c: d", "<a> b\n* c d\n", "A B  1:15 PM\nx\nC — Today at 3:00\ny",
		"WEBVTT\n\n00:01.000 --> 00:02.000\n<v A>b\n\n00:03.000 --> 00:04.000\nc: d",
	} {
		for kind := range 2 {
			f.Add(seed, uint8(kind), uint8(12))
		}
	}
	f.Fuzz(func(t *testing.T, text string, kind, limit uint8) {
		h := chunk.Hierarchical{MaxLeafTokens: int(limit), Structure: []chunk.Structure{chunk.Email, chunk.Chat}[kind%2]}
		most := cmp.Or(int(limit), chunk.DefaultMaxLeafTokens)
		pieces, err := h.Chunk(t.Context(), chunk.Text{Content: text, Type: "chat"})
		if !utf8.ValidString(text) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if found := faults(text, pieces, most); len(found) > 0 {
			t.Error(strings.Join(found, "\n"))
		}
		for _, p := range pieces {
			for _, title := range p.Heading {
				if !utf8.ValidString(title) || len(title) > 300 || strings.TrimSpace(title) == "" {
					t.Errorf("heading %q", title)
				}
			}
		}
	})
}
