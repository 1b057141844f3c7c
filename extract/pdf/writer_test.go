package pdf_test

import (
	"bytes"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

// pdfFile is a PDF in the making: numbered objects, of which a test may spoil any.
type pdfFile struct {
	objects []string // the first is object 1
	info    string   // the document information dictionary, without its brackets
	catalog string   // further entries of the catalog
	pages   []int    // object numbers
	font    int
	hebrew  int // a font that has the Hebrew letters in place of a, b, …
	crypt   *crypt
}

// newPDF begins a file with a font that maps every two-byte code to the character of the same number.
func newPDF() *pdfFile {
	f := &pdfFile{objects: make([]string, 2)} // 1 the catalog, 2 the page tree
	toUnicode := f.stream("", `/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CMapName /Test def /CMapType 2 def
1 begincodespacerange <0000> <ffff> endcodespacerange
256 beginbfrange
`+ranges256()+`endbfrange endcmap end end`)
	descriptor := f.add("<</Type/FontDescriptor/FontName/Test/Flags 4/FontBBox[0 -200 1000 800]/ItalicAngle 0/Ascent 800/Descent -200/CapHeight 700/StemV 80>>")
	cid := f.add(fmt.Sprintf("<</Type/Font/Subtype/CIDFontType2/BaseFont/Test/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 500/FontDescriptor %d 0 R>>", descriptor))
	f.font = f.add(fmt.Sprintf("<</Type/Font/Subtype/Type0/BaseFont/Test/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>", cid, toUnicode))
	toHebrew := f.stream("", `/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CMapName /Hebrew def /CMapType 2 def
1 begincodespacerange <00> <ff> endcodespacerange
2 beginbfrange <20> <5f> <0020> <61> <7b> <05d0> endbfrange endcmap end end`)
	f.hebrew = f.add(fmt.Sprintf("<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode %d 0 R>>", toHebrew))
	return f
}

// ranges256 maps each code to itself; a range of a CMap may not cross the last byte.
func ranges256() string {
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, "<%02x00> <%02xff> <%02x00>\n", i, i, i)
	}
	return b.String()
}

// add adds an object and returns its number.
func (f *pdfFile) add(body string) int {
	f.objects = append(f.objects, body)
	return len(f.objects)
}

// stream adds a stream, with further entries of its dictionary.
func (f *pdfFile) stream(dict, body string) int {
	return f.add(fmt.Sprintf("<<%s/Length %d>>\nstream\n%s\nendstream", dict, len(body), body))
}

// text is a line to draw with its left end at x, y.
type text struct {
	x, y, size float64
	s          string
}

// drawn is Hebrew text to draw with its left end at x, y, in letters that have a shape.
func drawn(x, y, size float64, s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'א' && r <= 'ת' {
			return 'a' + r - 'א'
		}
		return r
	}, s)
	return fmt.Sprintf("BT /H %g Tf %g %g Td (%s) Tj ET\n", size, x, y, s)
}

// show draws lines.
func show(lines ...text) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "BT /F %g Tf %g %g Td <", l.size, l.x, l.y)
		for _, u := range utf16.Encode([]rune(l.s)) {
			fmt.Fprintf(&b, "%04x", u)
		}
		b.WriteString("> Tj ET\n")
	}
	return b.String()
}

// column is a block of lines, one below the other.
func column(x, y, size float64, lines ...string) []text {
	var list []text
	for _, l := range lines {
		list = append(list, text{x, y, size, l})
		y -= size * 1.2
	}
	return list
}

// page adds a page with a content stream and further entries.
func (f *pdfFile) page(content, entries string) int {
	c := f.stream("", content)
	n := f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F %d 0 R/H %d 0 R>>>>/Contents %d 0 R%s>>", f.font, f.hebrew, c, entries))
	f.pages = append(f.pages, n)
	return n
}

// scanned adds a page that is nothing but an image.
func (f *pdfFile) scanned() {
	image := f.stream("/Type/XObject/Subtype/Image/Width 2/Height 2/ColorSpace/DeviceGray/BitsPerComponent 8", "\x00\xff\xff\x00")
	c := f.stream("", "q 600 0 0 800 0 0 cm /I Do Q")
	f.pages = append(f.pages, f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</XObject<</I %d 0 R>>>>/Contents %d 0 R>>", image, c)))
}

// bytes writes the file.
func (f *pdfFile) bytes() []byte {
	if f.objects[0] == "" {
		f.objects[0] = "<</Type/Catalog/Pages 2 0 R" + f.catalog + ">>"
	}
	if f.objects[1] == "" {
		var kids strings.Builder
		for _, p := range f.pages {
			fmt.Fprintf(&kids, "%d 0 R ", p)
		}
		f.objects[1] = fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]>>", len(f.pages), kids.String())
	}
	info, encrypt := 0, 0
	if f.info != "" {
		info = f.add("<<" + f.info + ">>")
	}
	if f.crypt != nil {
		for i := range f.objects {
			f.objects[i] = f.crypt.object(i+1, f.objects[i])
		}
		encrypt = f.add(f.crypt.dict())
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	at := make([]int, len(f.objects))
	for i, o := range f.objects {
		at[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, a := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", a)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R", len(at)+1)
	if info > 0 {
		fmt.Fprintf(&b, "/Info %d 0 R", info)
	}
	if encrypt > 0 {
		fmt.Fprintf(&b, "/Encrypt %d 0 R/ID[<%x><%x>]", encrypt, fileID, fileID)
	}
	fmt.Fprintf(&b, ">>\nstartxref\n%d\n%%%%EOF\n", xref)
	return b.Bytes()
}

// deflate compresses a stream's body.
func deflate(t testing.TB, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const fileID = "0123456789abcdef"

// crypt is the standard security handler of PDF 1.7 (ISO 32000-1, 7.6): RC4 or AES with a key of 128 bits.
type crypt struct {
	aes        bool
	key        []byte
	owner, usr []byte
}

var padding = []byte("\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A")

// newCrypt derives the keys of algorithms 2, 3 and 5.
func newCrypt(user, owner string, withAES bool) *crypt {
	pad := func(s string) []byte { return append([]byte(s), padding...)[:32] }
	turns := func(key, data []byte) []byte {
		out := bytes.Clone(data)
		for i := range 20 {
			k := bytes.Clone(key)
			for j := range k {
				k[j] ^= byte(i)
			}
			c, _ := rc4.NewCipher(k)
			c.XORKeyStream(out, out)
		}
		return out
	}
	hash := md5.Sum(pad(owner))
	for range 50 {
		hash = md5.Sum(hash[:])
	}
	c := &crypt{aes: withAES, owner: turns(hash[:], pad(user))}
	h := md5.New()
	h.Write(pad(user))
	h.Write(c.owner)
	h.Write([]byte{0xfc, 0xff, 0xff, 0xff}) // the permissions, -4
	h.Write([]byte(fileID))
	key := h.Sum(nil)
	for range 50 {
		sum := md5.Sum(key)
		key = sum[:]
	}
	c.key = key
	u := md5.Sum(append(bytes.Clone(padding), fileID...))
	c.usr = append(turns(c.key, u[:]), make([]byte, 16)...)
	return c
}

func (c *crypt) dict() string {
	method := "V2"
	if c.aes {
		method = "AESV2"
	}
	return fmt.Sprintf("<</Filter/Standard/V 4/R 4/Length 128/P -4/O<%x>/U<%x>/CF<</StdCF<</CFM/%s/AuthEvent/DocOpen/Length 16>>>>/StmF/StdCF/StrF/StdCF>>", c.owner, c.usr, method)
}

// object encrypts the stream of an object; objects of encrypted tests hold no strings but in streams.
func (c *crypt) object(n int, body string) string {
	head, rest, ok := strings.Cut(body, "\nstream\n")
	if !ok {
		return body
	}
	data := []byte(strings.TrimSuffix(rest, "\nendstream"))
	k := append(bytes.Clone(c.key), byte(n), byte(n>>8), byte(n>>16), 0, 0)
	if c.aes {
		k = append(k, "sAlT"...)
	}
	sum := md5.Sum(k)
	var out []byte
	if c.aes {
		block, _ := aes.NewCipher(sum[:])
		fill := 16 - len(data)%16
		data = append(data, bytes.Repeat([]byte{byte(fill)}, fill)...)
		out = bytes.Repeat([]byte("i"), 16)
		enc := make([]byte, len(data))
		cipher.NewCBCEncrypter(block, out).CryptBlocks(enc, data)
		out = append(out, enc...)
	} else {
		rc, _ := rc4.NewCipher(sum[:])
		out = make([]byte, len(data))
		rc.XORKeyStream(out, data)
	}
	cut := strings.LastIndex(head, "/Length ")
	return fmt.Sprintf("%s/Length %d>>\nstream\n%s\nendstream", head[:cut], len(out), out)
}
