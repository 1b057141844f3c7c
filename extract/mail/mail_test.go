package mail_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/mail"
	"github.com/llmemory/llmemory/internal/soak"
)

// got is what became of a message, with its parts as "name | media | content".
type got struct {
	Content, Title, Author, Date string
	Parts, Warnings              []string
}

func read(ctx context.Context, e mail.Extractor, raw string) (got, error) {
	var out got
	text, err := e.Extract(ctx, extract.Input{Reader: strings.NewReader(raw), Part: func(_ context.Context, in extract.Input) error {
		b, err := io.ReadAll(in.Reader)
		if err != nil {
			return err
		}
		out.Parts = append(out.Parts, fmt.Sprintf("%s | %s | %s", in.Name, in.Media, b))
		return nil
	}})
	out.Content, out.Title, out.Author, out.Warnings = text.Content, text.Title, text.Author, text.Warnings
	if !text.Date.IsZero() {
		out.Date = text.Date.Format(time.RFC3339)
	}
	return out, err
}

const plainHead = "From: Ana Lima <ana@example.com>\nTo: ben@example.com\nDate: Mon, 2 Feb 2026 09:14:00 +0100\nSubject: Parcel\n"

// body is a message's text below the header of plainHead.
func body(s string) string { return plainHead + "\n" + s }

func TestMessages(t *testing.T) {
	t.Parallel()
	base := got{Title: "Parcel", Author: "Ana Lima <ana@example.com>", Date: "2026-02-02T08:14:00Z"}
	with := func(change func(*got)) got {
		g := base
		change(&g)
		return g
	}
	text := func(s string) got { return with(func(g *got) { g.Content = body(s) }) }
	tests := []struct {
		name, raw string
		want      got
	}{
		{"plain", plainHead + "\nIt came.\n", text("It came.\n")},
		{"line ends of DOS", strings.ReplaceAll(plainHead+"\nIt came.\n\nAna\n", "\n", "\r\n"), text("It came.\n\nAna\n")},
		{"line ends of old Macs", strings.ReplaceAll(plainHead+"\nIt came.\n", "\n", "\r"), text("It came.\n")},
		{"mixed line ends", plainHead + "\r\nIt\rcame\r\ntoday.\n", text("It\ncame\ntoday.\n")},
		{"byte order mark", "\ufeff" + plainHead + "\nIt came.", text("It came.\n")},
		{"mark of a mailbox", "From ana Mon Feb  2 09:14:00 2026\n" + plainHead + "\n>From here on\n", text("From here on\n")},
		{"no body", plainHead, with(func(g *got) {
			g.Content, g.Warnings = plainHead, []string{"the message has no body"}
		})},
		{"encoded words", "From: =?utf-8?q?Ana_Lim=C3=A3o?= <ana@example.com>\nSubject: Re: =?utf-8?B?w4RwZmVsIA==?=\n =?UTF-8?b?dW5kIEJpcm5lbg==?= =?iso-8859-1?Q?=FCber_alles?= x\n\nb\n",
			got{Content: "From: Ana Limão <ana@example.com>\nSubject: Re: Äpfel und Birnenüber alles x\n\nb\n", Title: "Re: Äpfel und Birnenüber alles x",
				Author: "Ana Limão <ana@example.com>", Warnings: []string{"no date that can be read"}}},
		{"words cut within a character", "Subject: =?utf-8?Q?=E3=81?= =?utf-8?Q?=82=E3=81=84?=\nDate: 2026-02-02T10:00:00Z\nFrom: a@b.example\n\nb\n",
			got{Content: "From: a@b.example\nDate: 2026-02-02T10:00:00Z\nSubject: あい\n\nb\n", Title: "あい", Author: "a@b.example", Date: "2026-02-02T10:00:00Z"}},
		{"words of strange charsets", "Subject: =?NOPE?B?VEVTVA=?= =?iso-2022-jp?B?GyRCJUYlOSVIGyhC?= =?utf-8*en?q?is_it=3F?=\nFrom: \"=?windows-1251?B?0fLl7Q==?=\" <s@x.example>\nDate: 2 Feb 26 10:00 GMT\n\nb\n",
			got{Content: "From: \"Стен\" <s@x.example>\nDate: 2 Feb 26 10:00 GMT\nSubject: TESTテストis it?\n\nb\n", Title: "TESTテストis it?",
				Author: "Стен <s@x.example>", Date: "2026-02-02T10:00:00Z"}},
		{"raw bytes in the header", "From: \"J\xc3\xb6rn\" <j@x.example>\nSubject: Forma\xe7\xe3o\nDate: 2 Feb 2026 10:00 GMT\n\nb\n",
			got{Content: "From: \"Jörn\" <j@x.example>\nDate: 2 Feb 2026 10:00 GMT\nSubject: Formação\n\nb\n", Title: "Formação",
				Author: "Jörn <j@x.example>", Date: "2026-02-02T10:00:00Z"}},
		{"a header line that is none", "From: Ana Lima <ana@example.com>\nTo: ben@example.com\nqueer line: of some server\nand another\nDate: Mon, 2 Feb 2026 09:14:00 +0100\nSubject: Parcel\n\nIt came.\n",
			with(func(g *got) {
				g.Content = strings.Replace(body("It came.\n"), "ben@example.com\n", "ben@example.com queer line: of some server and another\n", 1)
			})},
		{"no empty line before the body", plainHead + "It came. Look: here.\nAna\n", text("It came. Look: here.\nAna\n")},
		{"a blank folded line", strings.Replace(plainHead, "ben@example.com\n", "ben@example.com,\n \t\n\tcy@example.com\n", 1) + "\nIt came.\n", with(func(g *got) {
			g.Content = strings.Replace(body("It came.\n"), "ben@example.com", "ben@example.com, cy@example.com", 1)
		})},
		{"quoted-printable", plainHead + "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: Quoted Printable;\n\nGr=FC=dfe aus=20\nK=F6ln, das ist=\n sch=F6n =  \nhier. =ZZ=0D=0AEnde \n", text("Grüße aus \nKöln, das ist schön hier. =ZZ\nEnde\n")},
		{"base64 with dirt and without padding", plainHead + "Content-Transfer-Encoding: BASE64\n\nSXQg\r\n Y2Ft*ZS4K\r\nQW5h\r\nIQ\r\n", text("It came.\nAna!\n")},
		{"base64 that is none", plainHead + "Content-Transfer-Encoding: base64\n\nIt came, by van, on Monday.\n", text("It came, by van, on Monday.\n")},
		{"UTF-8 by the name of Latin 1", plainHead + "Content-Type: text/plain; charset=\"ISO-8859-1\"\n\nGr\xc3\xbc\xc3\x9fe\n", text("Grüße\n")},
		{"Latin 1 by the name of UTF-8", plainHead + "Content-Type: text/plain; charset=utf-8\n\nGr\xfc\xdfe\n", with(func(g *got) {
			g.Content, g.Warnings = body("Grüße\n"), []string{"text that is not in UTF-8, as it says, read as Windows-1252"}
		})},
		{"Shift JIS", plainHead + "Content-Type: text/plain; charset=Shift_JIS\n\n\x82\xa0\x82\xa2\n", text("あい\n")},
		{"Korean by an old name", plainHead + "Content-Type: text/plain; charset=\"ks_c_5601-1987\"\n\n\xc7\xd1\xb1\xdb\n", text("한글\n")},
		{"ISO 2022 JP without a name", plainHead + "\n\x1b$B$\"$$\x1b(B\n", text("あい\n")},
		{"an unnamed charset", plainHead + "Content-Type: text/plain; charset=unknown-8bit\n\n\xf0\xcf\xd3\xd9\xcc\xcb\xc1 \xd0\xd2\xc9\xdb\xcc\xc1 \xd3\xc5\xc7\xcf\xc4\xce\xd1 \xd5\xd4\xd2\xcf\xcd, \xd7\xcf\xc4\xc9\xd4\xc5\xcc\xd8 \xcf\xd3\xd4\xc1\xd7\xc9\xcc \xc5\xa3 \xd3\xcf\xd3\xc5\xc4\xd1\xcd.\n", with(func(g *got) {
			g.Content = body("Посылка пришла сегодня утром, водитель оставил её соседям.\n")
			g.Warnings = []string{"text in an unnamed charset, read as koi8-u, which is a guess"}
		})},
		{"UTF-7", plainHead + "Content-Type: text/plain; charset=utf-7\n\nGr+APwA3w-e 1 +- 1\n", text("Grüße 1 + 1\n")},
		{"HTML alone", plainHead + "Content-Type: text/html\n\n<html><head><title>no</title><style>p{}</style></head><body><p>It came&nbsp;<b>today</b> &amp; is fine.<br>Ana</p><blockquote type=cite><p>Did it arrive?</p></blockquote><ul><li>one<li>two</ul></body></html>",
			text("It came today & is fine.\nAna\n\n> Did it arrive?\n\n- one\n- two\n")},
		{"alternative that says the same", plainHead + "Content-Type: multipart/alternative; boundary=b1\n\nThis is MIME.\n--b1\n\nIt came.\n--b1\nContent-Type: text/html\n\n<p>It came.</p>\n--b1--\n", text("It came.\n")},
		{"alternative that says nothing", plainHead + "Content-Type: multipart/alternative; boundary=b1\n\n--b1\n\nSee the HTML.\n--b1\nContent-Type: text/html\n\n<p>It came on Monday by the green van.</p>\n--b1--\n", text("It came on Monday by the green van.\n")},
		{"boundaries that begin alike, one never closed", plainHead + "Content-Type: multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: multipart/alternative; boundary=\"b_alt\"\n\n--b_alt\n\nIt came.\n\n--b\nContent-Type: text/plain\n\nAna\n--b-\nafter\n", text("It came.\n\nAna\n")},
		{"a boundary without quotes, with signs", plainHead + "Content-Type: multipart/mixed; boundary=----=_Next:Part (1)\n\n------=_Next:Part (1)\n\nIt came.\n------=_Next:Part (1)--\n", text("It came.\n")},
		{"a wrong boundary", plainHead + "Content-Type: multipart/mixed; boundary=nope\n\n--yes\nContent-Type: text/plain\n\nIt came.\n--yes--\n", text("It came.\n")},
		{"multipart that is only closed", plainHead + "Content-Type: multipart/mixed; boundary=x\n\nfor others\n--x--\n", with(func(g *got) {
			g.Content, g.Warnings = plainHead, []string{"the message has no body"}
		})},
		{"multipart without parts", plainHead + "Content-Type: multipart/mixed\n\nIt came.\n", text("It came.\n")},
		{"two content types", plainHead + "Content-Type: text/html\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nIt came.\n--x--\n", text("It came.\n")},
		{"flowed", plainHead + "Content-Type: text/plain; format=flowed\n\nIt came \nthis morning.\n>> Did it \n>> arrive?\n> No.\n Stuffed\n-- \nAna\n", text("It came this morning.\n>> Did it arrive?\n> No.\nStuffed\n-- \nAna\n")},
		{"flowed with delsp", plainHead + "Content-Type: text/plain; format=Flowed; delsp=yes\n\nIt came  \n this \nmorning.\n", text("It came thismorning.\n")},
		{"attachments", plainHead + "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nIt came.\n--x\nContent-Type: text/plain; name=\"a b.txt\"\nContent-Disposition: attachment; filename*0*=utf-8''%E3%81%82; filename*1=\" b.txt\"\nContent-Transfer-Encoding: base64\n\naGkK\n--x\nContent-Type: text/csv; charset=latin1\nContent-Disposition: inline; filename=../../C:\\x\\t.csv\n\na,b\n--x\nContent-Type: image/png; name==?utf-8?Q?f=C3=BCr.png?=\n\nPNG\n--x\nContent-Type: application/octet-stream; name=t.csv\n\nbinary\n--x\nContent-Type: image/gif\n\nGIF\n--x\nContent-Type: application/pgp-signature; name=s.asc\n\nsig\n--x--\n",
			with(func(g *got) {
				g.Content = body("It came.\n")
				g.Parts = []string{"あ b.txt | text/plain | hi\n", "t.csv | text/csv; charset=latin1 | a,b", "für.png | image/png | PNG",
					"t (2).csv |  | binary", "part 5.gif | image/gif | GIF"}
			})},
		{"a message within", plainHead + "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nSee below.\n--x\nContent-Type: message/rfc822\n\nSubject: In/ner\nFrom: c@example.com\n\nHello\n--x--\n",
			with(func(g *got) {
				g.Content = body("See below.\n")
				g.Parts = []string{"In-ner.eml | message/rfc822 | Subject: In/ner\nFrom: c@example.com\n\nHello"}
			})},
		{"a file alone", plainHead + "Content-Type: application/zip; name=a.zip\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n", with(func(g *got) {
			g.Content, g.Parts = plainHead, []string{"a.zip | application/zip | PK\x03\x04"}
		})},
		{"uuencode in the text", plainHead + "\nSee this.\n\nbegin 644 hi.txt\n#0V%T\n`\nend\n\nbegin 12 of them\nAna\n", with(func(g *got) {
			g.Content, g.Parts = body("See this.\n\n\nbegin 12 of them\nAna\n"), []string{"hi.txt |  | Cat"}
		})},
		{"signed", plainHead + "Content-Type: multipart/signed; boundary=x\n\n--x\n\nIt came.\n--x\nContent-Type: application/pkcs7-signature; name=smime.p7s\n\nMII\n--x--\n", text("It came.\n")},
		{"signed in clear", plainHead + "\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nIt came.\n- -- \nAna\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n", text("It came.\n-- \nAna\n")},
		{"signed and opaque", plainHead + "Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n\n" +
			base64.StdEncoding.EncodeToString([]byte(cms("\r\nIt came.\r\n"))), text("It came.\n")},
		{"encrypted by S/MIME", plainHead + "Content-Type: application/x-pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQEHA6CAMIAC\n", with(func(g *got) {
			g.Content, g.Warnings = plainHead, []string{"the body is encrypted (S/MIME)"}
		})},
		{"encrypted by PGP", plainHead + "Content-Type: multipart/encrypted; boundary=x\n\n--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--x\nContent-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n--x--\n", with(func(g *got) {
			g.Content, g.Warnings = plainHead, []string{"the body is encrypted (PGP)"}
		})},
		{"encrypted in the text", plainHead + "\n-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n", with(func(g *got) {
			g.Content, g.Warnings = plainHead, []string{"the body is encrypted (PGP)"}
		})},
		{"a delivery report", plainHead + "Content-Type: multipart/report; boundary=\"a/b =\"\n\n--a/b =\n\nCould not deliver.\n--a/b =\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; x@example.com\nStatus: 5.1.1\n--a/b =\nContent-Type: text/rfc822-headers\n\nReceived: by x\nSubject: =?utf-8?q?H=C3=A9?=\n--a/b =--\n",
			text("Could not deliver.\n\nFinal-Recipient: rfc822; x@example.com\nStatus: 5.1.1\n\nSubject: Hé\n")},
		{"a date by its server", strings.Replace(plainHead, "Mon, 2 Feb 2026 09:14:00 +0100", "Pn, 29 paX 59:10", 1) + "Received: by a; Mon, 2 Feb 2026 11:00:00 +0000\nReceived: by b (x; y);\n\tMon, 2 Feb 2026 09:14:00 +0100\n\nIt came.\n", with(func(g *got) {
			g.Content = strings.Replace(body("It came.\n"), "Mon, 2 Feb 2026 09:14:00 +0100", "Pn, 29 paX 59:10", 1)
			g.Warnings = []string{"no date that can be read: that of the first server is taken"}
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := read(t.Context(), mail.Extractor{}, tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, g); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// cms is signed data of S/MIME with indefinite lengths and the content in two pieces.
func cms(content string) string {
	piece := func(s string) string { return "\x04" + string(rune(len(s))) + s }
	half := len(content) / 2
	const signed, data = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
	const end = "\x00\x00"
	return "\x30\x80" + signed + "\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80" + data + "\xa0\x80\x24\x80" +
		piece(content[:half]) + piece(content[half:]) + strings.Repeat(end, 3) + "\x31\x00" + strings.Repeat(end, 3)
}

func TestDates(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Fri, 21 Nov 1997 09:55:06 -0600":                        "1997-11-21T15:55:06Z",
		"21 Nov 97 09:55:06 GMT":                                 "1997-11-21T09:55:06Z",
		"Thu,\n 13\n  Feb\n 1969\n 23:32\n -0330 (Newfoundland)": "1969-02-14T03:02:00Z",
		"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600":        "1997-11-21T15:55:06Z",
		"Wed, 9 Jan 2002 19:47:50 MST":                           "2002-01-10T02:47:50Z",
		"Tue, 04 Dec 2001 17:11:25 -0459":                        "2001-12-04T22:10:25Z",
		"Mon May  2 16:07:05 2005":                               "2005-05-02T16:07:05Z",
		"Monday, 2-May-05 16:07:05 EDT":                          "2005-05-02T20:07:05Z",
		"May 2, 2005 4:07 PM":                                    "2005-05-02T16:07:00Z",
		"2 Sept 2005 12:07am GMT+0200":                           "2005-09-01T22:07:00Z",
		"2005-05-02 16:07:05 +0200":                              "2005-05-02T14:07:05Z",
		"2005-05-02T16:07:05.5Z":                                 "2005-05-02T16:07:05Z",
		"Sat, 20 Sep 2008 20:04:30 +0300 (\xe9\xe9 unfinished":   "2008-09-20T17:04:30Z",
		"Tue, 12 Oct 2010 16:21:05 H0500":                        "2010-10-12T16:21:05Z",
		"Wed, 15 Dec 2010    59:10 -0500":                        "",
		"Mon, 31 Jun 2008 15:33:50 +0600":                        "",
		"Mon, 30 Jun 3609 15:33:50 +0600":                        "",
		"Pn, 29 paX 2007 21:13:00 +0100":                         "",
		"<HR>":                                                   "",
		"yesterday, at about noon":                               "",
	} {
		g, err := read(t.Context(), mail.Extractor{}, "From: a@example.com\nSubject: s\nDate: "+in+"\n\nb\n")
		if err != nil || g.Date != want {
			t.Errorf("%q: %q %v, want %q", in, g.Date, err, want)
		}
	}
}

func TestSenders(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"john@example.com":                                         "john@example.com",
		"<john@example.com>":                                       "john@example.com",
		"John Doe <john@example.com>":                              "John Doe <john@example.com>",
		`"Doe, John \"JD\"" <john@example.com>, x@y.example`:       `Doe, John "JD" <john@example.com>, x@y.example`,
		"MAILER-DAEMON@example.com (Mail Delivery System)":         "Mail Delivery System <MAILER-DAEMON@example.com>",
		`Pete(A wonderful \) chap) <pete(his account)@silly.test>`: "Pete <pete@silly.test>",
		"Big Bug bb@bug.example":                                   "Big Bug <bb@bug.example>",
		"a@b.example c@d.example":                                  "a@b.example c@d.example",
		"Team: Ana <a@b.example>, c@d.example;":                    "Ana <a@b.example>, c@d.example",
		"A: B <a@b.example>":                                       "A: B <a@b.example>",
		"postmaster":                                               "postmaster",
		"'=?utf-8?q?J=C3=B6rn?=' <j@x.example>":                    "Jörn <j@x.example>",
		"Unclosed <u@x.example":                                    "Unclosed <u@x.example>",
		`"Unclosed <u@x.example>`:                                  "Unclosed <u@x.example>",
	} {
		g, err := read(t.Context(), mail.Extractor{}, "From: "+in+"\nTo: x@example.com\nSubject: s\n\nb\n")
		if err != nil || g.Author != want {
			t.Errorf("%q: %q %v, want %q", in, g.Author, err, want)
		}
	}
	g, err := read(t.Context(), mail.Extractor{}, "Sender: Cy <cy@x.example>\nReply-To: r@x.example\nSubject: s\n\nb\n")
	if err != nil || g.Author != "Cy <cy@x.example>" {
		t.Errorf("without From: %q %v", g.Author, err)
	}
}

func TestHTMLIsHandedOn(t *testing.T) {
	t.Parallel()
	raw := plainHead + "Content-Type: text/html; charset=iso-8859-1\n\n<p>Gr\xfc\xdfe</p>\n"
	e := mail.Extractor{HTML: extract.Func(func(_ context.Context, in extract.Input) (extract.Text, error) {
		b, err := io.ReadAll(in.Reader)
		return extract.Text{Content: in.Media + "|" + string(b)}, err
	})}
	g, err := read(t.Context(), e, raw)
	if want := body("text/html; charset=utf-8|<p>Grüße</p>\n"); err != nil || g.Content != want {
		t.Errorf("%q %v, want %q", g.Content, err, want)
	}
	e.HTML = extract.Func(func(context.Context, extract.Input) (extract.Text, error) { return extract.Text{}, extract.ErrDamaged })
	g, err = read(t.Context(), e, raw)
	if want := body("Grüße\n"); err != nil || g.Content != want || len(g.Warnings) != 1 {
		t.Errorf("%q %q %v, want %q and a warning", g.Content, g.Warnings, err, want)
	}
}

func TestMailboxes(t *testing.T) {
	t.Parallel()
	message := func(n int, text string) string {
		return fmt.Sprintf("From ana@example.com Mon Feb  2 09:14:0%d 2026\nFrom: ana@example.com\nMessage-ID: <%d@x>\nSubject: No. %d\n%s", n, n, n, text)
	}
	tests := []struct {
		name, raw string
		want      []string // bodies
	}{
		{"two", message(1, "\none\n\n") + message(2, "\ntwo\n"), []string{"one\n", "two"}},
		{"line ends of DOS", strings.ReplaceAll(message(1, "\none\n\n")+message(2, "\ntwo\n\n"), "\n", "\r\n"), []string{"one\r\n", "two\r\n"}},
		{"quoted", message(1, "\n\n>From there\n>>From here\n> From\n\n") + message(2, "\ntwo\n"), []string{"\nFrom there\n>From here\n> From\n", "two"}},
		{"not a mark", message(1, "\nHello\n\nFrom now on: yes\nFrom: me\n\nFrom noon at 12:00 it is\nopen\n\n") + message(2, "\ntwo\n"),
			[]string{"Hello\n\nFrom now on: yes\nFrom: me\n\nFrom noon at 12:00 it is\nopen\n", "two"}},
		{"by length", message(1, "Content-Length: 60\n\nfwd\n\nFrom x@example.com Mon Feb  2 09:14:00 2026\nTo: me\n\nhi\n\n") + message(2, "\ntwo\n"),
			[]string{"fwd\n\nFrom x@example.com Mon Feb  2 09:14:00 2026\nTo: me\n\nhi\n", "two"}},
		{"by a wrong length", message(1, "Content-Length: 3\n\none\ntwo\n\n") + message(2, "Content-Length: 99999\n\ntwo\n"), []string{"one\ntwo\n", "two"}},
		{"no empty line before a header", message(1, "") + "\n" + message(2, "\ntwo\n"), []string{"", "two"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.raw), iotest.OneByteReader(strings.NewReader(tt.raw))} {
				var bodies, names []string
				text, err := mail.Extractor{}.Extract(t.Context(), extract.Input{Reader: r, Part: func(ctx context.Context, in extract.Input) error {
					b, err := io.ReadAll(in.Reader)
					_, body, _ := strings.Cut(strings.ReplaceAll(string(b), "\r\n\r\n", "\n\n"), "\n\n")
					bodies, names = append(bodies, body), append(names, in.Name)
					if in.Type != "email" || in.Media != "message/rfc822" || extract.Depth(ctx) != 1 {
						t.Errorf("%q %q at depth %d", in.Type, in.Media, extract.Depth(ctx))
					}
					return err
				}})
				if err != nil || !text.Container || text.Format != "mbox" || text.Content != "" {
					t.Fatalf("%+v %v", text, err)
				}
				if diff := cmp.Diff(tt.want, bodies); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if want := []string{"No. 1 ~9e7dbce7.eml", "No. 2 ~bbbc3b21.eml"}; len(names) == 2 && names[0] == names[1] {
					t.Errorf("names %q, want two like %q", names, want)
				}
			}
		})
	}
	var names []string
	box := message(1, "\none\n\n") + message(1, "\nthe same\n\n") + message(2, "\ntwo\n")
	if _, err := (mail.Extractor{}).Extract(t.Context(), extract.Input{Reader: strings.NewReader(box), Part: func(_ context.Context, in extract.Input) error {
		names = append(names, in.Name)
		return nil
	}}); err != nil || len(names) != 3 || names[1] != strings.TrimSuffix(names[0], ".eml")+"-2.eml" || !strings.HasPrefix(names[2], "No. 2 ~") {
		t.Errorf("names %q %v", names, err)
	}
	text, err := mail.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(box)})
	if err != nil || !text.Container || len(text.Warnings) != 1 {
		t.Errorf("without Part: %+v %v", text, err)
	}
}

func TestLimitsAndErrors(t *testing.T) {
	t.Parallel()
	small := mail.Extractor{MaxMessageBytes: 300}
	large := plainHead + "\n" + strings.Repeat("long\n", 100)
	nested := plainHead
	for i := range 100 {
		nested += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	parts := plainHead + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 20_000)
	oops := errors.New("oops")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		e    mail.Extractor
		in   extract.Input
		want error
	}{
		{"no message", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader("Hello\n\nthere\n")}, extract.ErrUnsupported},
		{"nothing", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader("")}, extract.ErrUnsupported},
		{"a header that says nothing", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader("Received: by x\n\n\n")}, extract.ErrNoText},
		{"a large message", t.Context(), small, extract.Input{Reader: strings.NewReader(large)}, extract.ErrTooLarge},
		{"a large message in a mailbox", t.Context(), small, extract.Input{Reader: strings.NewReader("From a@b Mon Feb  2 09:14:00 2026\n" + large)}, extract.ErrTooLarge},
		{"large text", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader(large), MaxBytes: 200}, extract.ErrTooLarge},
		{"many parts", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader(parts)}, extract.ErrTooLarge},
		{"deep parts", t.Context(), mail.Extractor{}, extract.Input{Reader: strings.NewReader(nested)}, nil},
		{"a reader that fails", t.Context(), mail.Extractor{}, extract.Input{Reader: io.MultiReader(strings.NewReader(plainHead), iotest.ErrReader(oops))}, oops},
		{"a mailbox that fails", t.Context(), mail.Extractor{}, extract.Input{Reader: io.MultiReader(strings.NewReader("From a@b\n"+plainHead), iotest.ErrReader(oops))}, oops},
		{"a part that fails", t.Context(), mail.Extractor{}, extract.Input{
			Reader: strings.NewReader(plainHead + "Content-Type: image/png\n\nPNG\n"),
			Part:   func(context.Context, extract.Input) error { return oops },
		}, oops},
		{"a cancelled context", cancelled, mail.Extractor{}, extract.Input{Reader: strings.NewReader(large)}, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := tt.e.Extract(tt.ctx, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	// One message of a mailbox that is too large is a failure of that one.
	box := "From a@b Mon Feb  2 09:14:00 2026\n" + large + "\nFrom a@b Mon Feb  2 09:14:00 2026\n" + plainHead + "\nsmall\n"
	var errs []error
	_, err := small.Extract(t.Context(), extract.Input{Reader: strings.NewReader(box), Part: func(_ context.Context, in extract.Input) error {
		_, err := io.ReadAll(in.Reader)
		errs = append(errs, err)
		return nil
	}})
	if err != nil || len(errs) != 2 || !errors.Is(errs[0], extract.ErrTooLarge) || errs[1] != nil {
		t.Errorf("%v, parts %v", err, errs)
	}
	// A text that is too large for a body is a part.
	huge := strings.Repeat("a line of text\n", 1<<20+1<<18)
	g, err := read(t.Context(), mail.Extractor{}, body(huge))
	if err != nil || g.Content != plainHead || len(g.Parts) != 1 || len(g.Warnings) != 1 || !strings.HasSuffix(g.Parts[0], "| text/plain | "+huge) {
		t.Errorf("%v, content %.200q, %d parts, warnings %q", err, g.Content, len(g.Parts), g.Warnings)
	}
	// Without Part, what is left out is named.
	text, err := mail.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(plainHead + "Content-Type: image/png; name=a.png\n\nPNG\n")})
	if err != nil || len(text.Warnings) != 1 || !strings.Contains(text.Warnings[0], "a.png (image/png)") {
		t.Errorf("%q %v", text.Warnings, err)
	}
}

// Signatures around each other are opened up to a number: each may hold the whole message anew.
func TestManySignatures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{3: nil, 50: extract.ErrTooLarge} {
		inner := "\r\nIt came.\r\n"
		for range n {
			const signed, data = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
			size := string(binary.BigEndian.AppendUint32(nil, uint32(len(inner))))
			inner = "\x30\x80" + signed + "\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80" + data + "\xa0\x80\x04\x84" + size + inner + "\x00\x00\x00\x00\x31\x00\x00\x00\x00\x00\x00\x00"
			inner = "Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(inner, "=", "=3D")
		}
		g, err := read(t.Context(), mail.Extractor{}, plainHead+inner)
		if !errors.Is(err, want) || want == nil && !strings.HasSuffix(g.Content, "It came.\n") {
			t.Errorf("%d: %q, error = %v, want %v", n, g.Content, err, want)
		}
	}
}

// What is ASCII in a header says nothing of the charset of the rest.
func TestRawHeader(t *testing.T) {
	t.Parallel()
	g, err := read(t.Context(), mail.Extractor{}, "From: a@b\nSubject: Re: =?utf-8?q?one?= \xd7\xcf\xdb\nContent-Type: text/plain; charset=koi8-r\n\nb\n")
	if err != nil || g.Title != "Re: one вош" {
		t.Errorf("%q, %v", g.Title, err)
	}
}

// TestHostileSizes reads what would take ages if any step took the square of the time.
func TestHostileSizes(t *testing.T) {
	t.Parallel()
	n := soak.Pick(1<<18, 1<<22)
	repeat := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for _, raw := range []string{
		"Subject: x\n" + repeat(" y\n") + "\nb", "Subject: x\n" + repeat("Content-Type: multipart/x; boundary=z\n") + "\n" + repeat("--y\n"),
		"From: " + repeat(":") + "\nSubject: x\n\nb", "From: " + repeat("(") + "\nSubject: x\n\nb", "Subject: " + repeat("=?a?q?") + "\nFrom: x\n\nb",
		body(repeat("-----BEGIN PGP MESSAGE-----\n")), body(repeat("begin 644 a\n\n")), body(repeat("begin 644 a\n#0V%T\n")),
		plainHead + "Content-Type: text/html\n\n" + repeat("<a b='\">"), plainHead + "Content-Type: text/html\n\n" + repeat("<!-"),
		plainHead + "Content-Type: text/plain; format=flowed\n\n" + repeat(">"), plainHead + "Content-Transfer-Encoding: quoted-printable\n\n" + repeat("=  "),
		plainHead + "Content-Type: multipart/mixed; boundary=-\n\n" + repeat("---"), repeat("a\n") + plainHead, plainHead + repeat("a\n"),
		"From a@b 10:15 2026\n" + plainHead + "\n" + repeat("\nFrom a@b 10:15 2026\nSubject: x\n"),
		plainHead + "Date: " + repeat("(") + "\n\n", plainHead + "X: " + repeat("x") + "\n\n", plainHead + "Content-Type: text/plain" + repeat(";a=b") + "\n\nb",
	} {
		done := make(chan error, 1)
		go func() {
			_, err := read(t.Context(), mail.Extractor{}, raw)
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, extract.ErrUnsupported) && !errors.Is(err, extract.ErrTooLarge) {
				t.Errorf("%.60q: %v", raw, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%.60q takes more than a minute", raw)
		}
	}
}

func FuzzExtract(f *testing.F) {
	for _, seed := range []string{
		plainHead + "\nIt came.\n",
		plainHead + "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nIt came.\n--x\nContent-Type: message/rfc822\n\nSubject: I\n\nHello\n--x--\n",
		plainHead + "Content-Type: multipart/alternative; boundary=\"x\"\n\n--x\nContent-Type: text/html; charset=utf-7\n\n<p>+AGE-<b\n--x\nContent-Transfer-Encoding: quoted-printable\n\n=C3=\n=A4 \n--x\n",
		"From a@b Mon Feb  2 09:14:00 2026\nContent-Length: 5\n" + plainHead + "\n>From\n\nFrom a@b Mon Feb  2 09:14:00 2026\n" + plainHead + "\nb\n",
		plainHead + "\nbegin 644 a\n#0V%T\n`\nend\n-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n-----BEGIN PGP SIGNATURE-----\n",
		"Subject: =?utf-8?B?w4RwZmVsIA==?= =?iso-2022-jp?Q?=1B$B%F?=\nFrom: \"a (b\" <c@d>, E:f;\nDate: 2 Feb 26\nContent-Disposition: attachment; filename*0*=a'b'%41; filename*1=\"\\\"\n\nx",
		plainHead + "Content-Type: application/pkcs7-mime\n\n" + cms("\r\nIt came.\r\n"),
		plainHead + "Content-Type: application/ms-tnef\n\n" + winmail,
		"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		first, err := read(t.Context(), mail.Extractor{}, raw)
		second, err2 := read(t.Context(), mail.Extractor{}, raw)
		if diff := cmp.Diff(first, second); diff != "" || (err == nil) != (err2 == nil) {
			t.Errorf("not the same twice: %v %v %s", err, err2, diff)
		}
		if err != nil {
			for _, known := range []error{extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Errorf("an error of no known kind: %v", err)
		}
		for _, s := range append(append(first.Warnings, first.Content, first.Title, first.Author), first.Parts...) {
			if name, _, _ := strings.Cut(s, " | "); !utf8.ValidString(name) {
				t.Errorf("not UTF-8: %q", s)
			}
		}
		if strings.ContainsAny(first.Title+first.Author, "\n\r\x00") {
			t.Errorf("title %q, author %q", first.Title, first.Author)
		}
	})
}
