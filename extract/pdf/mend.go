package pdf

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"github.com/llmemory/llmemory/extract"
)

// maxMend is the size of the largest file that is searched for pages.
const maxMend = 64 << 20

var object = regexp.MustCompile(`(\d{1,8})\s+\d{1,5}\s+obj\b`)

// mend makes a file of which PDFium finds no pages readable: it appends a new page tree with every page object that lies in
// the file, and a new catalog, behind
// the end of whatever is cut off. PDFium then rebuilds the table of objects, in which the last of a number counts. Whether there
// was anything to mend is the second result.
func mend(src *extract.Source) ([]byte, bool) {
	if src.Size() > maxMend {
		return nil, false
	}
	raw, err := src.Bytes()
	if err != nil {
		return nil, false
	}
	var kids bytes.Buffer
	count, top := 0, 0
	for _, m := range object.FindAllSubmatchIndex(raw, -1) {
		n, err := strconv.Atoi(string(raw[m[2]:m[3]]))
		if err != nil {
			continue
		}
		top = max(top, n)
		body := raw[m[1]:min(len(raw), m[1]+4096)]
		if end := bytes.Index(body, []byte("endobj")); end >= 0 {
			body = body[:end]
		}
		if isPage(body) && count < maxPages {
			fmt.Fprintf(&kids, "%d 0 R ", n)
			count++
		}
	}
	if count == 0 {
		return nil, false
	}
	out := bytes.NewBuffer(raw)
	fmt.Fprintf(out, "\nendstream\nendobj\n%d 0 obj\n<</Type/Pages/Count %d/Kids[%s]>>\nendobj\n", top+1, count, kids.Bytes())
	fmt.Fprintf(out, "%d 0 obj\n<</Type/Catalog/Pages %d 0 R>>\nendobj\n", top+2, top+1)
	fmt.Fprintf(out, "trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n0\n%%%%EOF\n", top+3, top+2)
	return out.Bytes(), true
}

// isPage tells whether the beginning of an object is that of a page.
func isPage(body []byte) bool {
	for {
		i := bytes.Index(body, []byte("/Type"))
		if i < 0 {
			return false
		}
		body = bytes.TrimLeft(body[i+len("/Type"):], " \t\r\n\f\x00")
		if rest, ok := bytes.CutPrefix(body, []byte("/Page")); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n\f\x00/<>[(")) {
			return true
		}
	}
}
