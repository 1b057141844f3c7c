// Package pdf reads the text of PDF files by PDFium, the PDF engine of the Chromium browser, run as WebAssembly: no cgo, and
// a file that breaks PDFium breaks no more than the bounded memory that it runs in.
//
//	text, err := (&pdf.Extractor{}).Extract(ctx, extract.Input{Reader: f})
//
// PDFium is large: it takes seconds to compile for a machine, once where [Extractor.Cache] names a folder, then a tenth of a
// second in each process. Package sandbox runs an Extractor in a child process on top, which is what package all does.
package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klippa-app/go-pdfium/enums"
	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/llmemory/llmemory/extract"
)

// Version names the PDFium and the compiler that this program holds: what is in a cache is good for the same version. The
// compiler goes by what the program's build says of it, which in tests is nothing.
func Version() string {
	pdfium, compiler := "dev", "dev"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch {
			case d.Path == "github.com/klippa-app/go-pdfium":
				pdfium = d.Version
			case d.Path == "github.com/tetratelabs/wazero":
				compiler = d.Version
			}
		}
	}
	return "pdfium-" + pdfium + "-wazero-" + compiler
}

// Extractor reads PDF. Its zero value is ready. It is safe for concurrent use: each document is read by an instance of PDFium
// of its own, so a host bounds how many it reads at once.
type Extractor struct {
	// Cache is a folder to keep the compiled PDFium in (about 22 MB), made if it is not there; programs that share it must
	// trust each other. Defaults to "": every process compiles anew.
	Cache string
	// MaxSource is the most bytes a file may have; a larger one is [extract.ErrTooLarge]. Defaults to
	// [extract.DefaultMaxSource].
	MaxSource int64
	// MaxMemory is how many bytes PDFium may use for one document, besides the file itself; one that needs more is
	// [extract.ErrTooLarge]. Defaults to 512 MiB, at least 32 MiB.
	MaxMemory int64
	// Timeout is how long one document may take, once PDFium is ready; past it is [extract.ErrTimeout]. Defaults to 30 s.
	Timeout time.Duration

	mu     sync.Mutex
	engine *engine
}

// Start gets PDFium ready, which the first Extract does otherwise. It fills the cache.
func (x *Extractor) Start() error {
	_, err := x.start()
	return err
}

func (x *Extractor) start() (*engine, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.engine == nil {
		e, err := newEngine(x.Cache, orDefault(x.MaxMemory, 512<<20))
		if err != nil {
			return nil, err
		}
		x.engine = e
	}
	return x.engine, nil
}

// Close lets go of PDFium. No Extract may be under way; a later one starts it again.
func (x *Extractor) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.engine == nil {
		return nil
	}
	e := x.engine
	x.engine = nil
	return e.close()
}

// Extract implements [extract.Extractor]. The text is plain, page after page; lines are the page's, a word that a line's end
// divides is whole again, and a blank line stands between paragraphs. Values of form fields and what annotations say follow
// the text of their page. Files embedded in the document are its parts. The errors are
//
//   - [extract.ErrUnsupported]: not a PDF
//   - [extract.ErrEncrypted]: it takes a password to open (one that only restricts printing and the like is no hindrance)
//   - [extract.ErrNoText]: pages, but no text on them: scanned
//   - [extract.ErrDamaged], [extract.ErrTooLarge], [extract.ErrTimeout]
func (x *Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	if err := ctx.Err(); err != nil {
		return extract.Text{}, err
	}
	src, err := in.Open(ctx, x.MaxSource)
	if err != nil {
		return extract.Text{}, err
	}
	text, err := x.open(ctx, src, in)
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	return text, err
}

func (x *Extractor) open(ctx context.Context, src *extract.Source, in extract.Input) (extract.Text, error) {
	head := make([]byte, 1024)
	n, err := src.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return extract.Text{}, err
	}
	if !bytes.Contains(head[:n], []byte("%PDF-")) {
		return extract.Text{}, fmt.Errorf("%w: not a PDF", extract.ErrUnsupported)
	}
	e, err := x.start()
	if err != nil {
		return extract.Text{}, err
	}
	timeout := orDefault(x.Timeout, 30*time.Second)
	limited, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	var files []embedded
	text, err := x.extract(limited, e, src, in, &files)
	switch {
	case len(files) > 0:
		return handOver(ctx, in, text, err, files)
	case err == nil:
		return text, nil
	case ctx.Err() != nil:
		return extract.Text{}, ctx.Err()
	case limited.Err() != nil:
		return extract.Text{}, fmt.Errorf("%w: more than %v for a PDF of %d bytes", extract.ErrTimeout, timeout, src.Size())
	}
	return extract.Text{}, err
}

// extract reads one document by an instance of its own; an instance that fails to open it, or breaks off, is followed by
// another that reads what mend makes of the file.
func (x *Extractor) extract(ctx context.Context, e *engine, src *extract.Source, in extract.Input, files *[]embedded) (extract.Text, error) {
	text, err := e.read(ctx, src, in, files)
	if !errors.Is(err, extract.ErrDamaged) || ctx.Err() != nil {
		return text, err
	}
	mended, ok := mend(src)
	if !ok {
		return text, err
	}
	in.Reader = bytes.NewReader(mended)
	again, aerr := x.again(ctx, e, in, files)
	if aerr != nil {
		return text, err
	}
	again.Warnings = append([]string{"the file is damaged: its list of pages is lost; the pages that could be found are read in the order in which they lie in the file"}, again.Warnings...)
	return again, nil
}

// again reads what mend has made.
func (x *Extractor) again(ctx context.Context, e *engine, in extract.Input, files *[]embedded) (extract.Text, error) {
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer src.Close() //nolint:errcheck // it is in memory
	return e.read(ctx, src, in, files)
}

// read opens the document and reads it page by page.
func (e *engine) read(ctx context.Context, src *extract.Source, in extract.Input, files *[]embedded) (text extract.Text, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = extract.Text{}, fmt.Errorf("%w: PDFium's binding broke off: %v at %s", extract.ErrDamaged, p, firstFrame(debug.Stack()))
		}
	}()
	inst, err := e.start(ctx)
	if err != nil {
		return extract.Text{}, err
	}
	defer inst.Close() //nolint:errcheck // an instance that was stopped says so
	defer context.AfterFunc(ctx, inst.cancel)()
	opened, err := inst.OpenDocument(&requests.OpenDocument{FileReader: io.NewSectionReader(src, 0, src.Size()), FileReaderSize: src.Size()})
	if err != nil {
		return extract.Text{}, inst.openError(err)
	}
	d := &document{ctx: ctx, inst: inst, ref: opened.Document, max: in.MaxBytes}
	defer d.close()
	text, err = d.read()
	if in.Part != nil && (err == nil || errors.Is(err, extract.ErrNoText)) {
		*files = d.embedded()
	}
	return text, err
}

// openError says in the words of package extract why a document does not open.
func (i instance) openError(err error) error {
	switch {
	case errors.Is(err, pdferrors.ErrPassword):
		return fmt.Errorf("%w: the PDF opens with a password only", extract.ErrEncrypted)
	case errors.Is(err, pdferrors.ErrSecurity):
		return fmt.Errorf("%w: the PDF is encrypted in a way that is not known, such as for the holder of a certificate", extract.ErrEncrypted)
	}
	return i.brokeOff("open the PDF", err)
}

// brokeOff makes an extract error of one of PDFium's, among them that of WebAssembly code that ran into a trap, as it does when
// it gets no more memory.
func (i instance) brokeOff(what string, err error) error {
	msg, _, _ := strings.Cut(err.Error(), "\n") // the rest is a trace of WebAssembly functions
	if i.memory != nil && i.memory.denied {
		return fmt.Errorf("%w: %s: PDFium needs more memory than it may have: %s", extract.ErrTooLarge, what, msg)
	}
	return fmt.Errorf("%w: %s: %s", extract.ErrDamaged, what, msg)
}

// firstFrame is the place in a stack that panicked, for people.
func firstFrame(stack []byte) string {
	_, after, _ := bytes.Cut(stack, []byte("panic("))
	lines := bytes.SplitN(after, []byte("\n"), 6)
	if len(lines) < 4 {
		return "an unknown place"
	}
	return strings.TrimSpace(string(lines[3]))
}

// document is an open PDF on its way to text.
type document struct {
	ctx   context.Context
	inst  instance
	ref   references.FPDF_DOCUMENT
	max   int
	bytes int // of text so far
	form  *references.FPDF_FORMHANDLE
}

func (d *document) close() {
	if d.form != nil && d.ctx.Err() == nil {
		_, _ = d.inst.FPDFDOC_ExitFormFillEnvironment(&requests.FPDFDOC_ExitFormFillEnvironment{FormHandle: *d.form})
	}
}

func (d *document) read() (extract.Text, error) {
	count, err := d.inst.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: d.ref})
	if err != nil {
		return extract.Text{}, d.inst.brokeOff("count the pages", err)
	}
	if count.PageCount <= 0 {
		return extract.Text{}, fmt.Errorf("%w: no page in it", extract.ErrDamaged)
	}
	if count.PageCount > maxPages {
		return extract.Text{}, fmt.Errorf("%w: %d pages, at most %d are read", extract.ErrTooLarge, count.PageCount, maxPages)
	}
	text := extract.Text{Type: "pdf", Format: "pdf"}
	d.describe(&text)
	pages := make([]page, count.PageCount)
	var broken []int
	var cause error
	for i := range pages {
		p, err := d.page(i)
		if err := d.ctx.Err(); err != nil {
			return extract.Text{}, err
		}
		if errors.Is(err, extract.ErrTooLarge) {
			return extract.Text{}, err
		}
		if err != nil {
			broken, cause = append(broken, i+1), err
			if len(broken) == i+1 && len(broken) >= maxBroken {
				return extract.Text{}, err
			}
		}
		pages[i] = p
	}
	if len(broken) == len(pages) {
		return extract.Text{}, cause
	}
	words := lexicon(pages)
	var b strings.Builder
	var silent, glyphs []int
	for i, p := range pages {
		body := p.text(words)
		if b.Len() > 0 && body != "" {
			b.WriteString(between(b.String(), body))
		}
		text.Pages = append(text.Pages, b.Len())
		b.WriteString(body)
		if p.images && p.empty() {
			silent = append(silent, i+1)
		}
		if p.glyphs {
			glyphs = append(glyphs, i+1)
		}
		if d.max > 0 && b.Len() > d.max {
			return extract.Text{}, fmt.Errorf("%w: must be at most %d bytes", extract.ErrTooLarge, d.max)
		}
	}
	text.Content = b.String()
	if strings.TrimSpace(text.Content) == "" {
		return extract.Text{}, noText(len(pages), len(silent), len(glyphs), broken)
	}
	if len(silent) > 0 {
		text.Warnings = append(text.Warnings, fmt.Sprintf("%s without a text layer (OCR is needed to read them): %s of %d", plural(len(silent), "page"), ranges(silent), len(pages)))
	}
	if len(glyphs) > 0 {
		text.Warnings = append(text.Warnings, fmt.Sprintf("%s whose glyphs stand for no known characters (OCR is needed to read them): %s of %d", plural(len(glyphs), "page"), ranges(glyphs), len(pages)))
	}
	if len(broken) > 0 {
		text.Warnings = append(text.Warnings, fmt.Sprintf("%s could not be read: %s of %d (%v)", plural(len(broken), "page"), ranges(broken), len(pages), cause))
	}
	return text, nil
}

// noText says why a PDF that opens holds no text.
func noText(pages, images, glyphs int, broken []int) error {
	what := fmt.Sprintf("%s without a text layer", plural(pages, "page"))
	switch {
	case glyphs > 0:
		what = fmt.Sprintf("%s, %d of them with glyphs that stand for no known characters: OCR is needed", plural(pages, "page"), glyphs)
	case images > 0:
		what += ", scanned: OCR is needed"
	default:
		what += " nor image: OCR is needed if anything is drawn on them"
	}
	if len(broken) > 0 {
		what += fmt.Sprintf(" (%d of them could not be read)", len(broken))
	}
	return fmt.Errorf("%w: %s", extract.ErrNoText, what)
}

const (
	maxPages  = 100_000
	maxBroken = 100     // pages at the beginning that cannot be read before the rest is not tried
	maxLaid   = 100_000 // characters of a page whose places are looked at
	maxLooked = 100     // characters of a page of which it is asked whether they are known
	maxNotes  = 2_000   // annotations of a page
)

// page reads one page.
func (d *document) page(i int) (p page, err error) {
	loaded, err := d.inst.FPDF_LoadPage(&requests.FPDF_LoadPage{Document: d.ref, Index: i})
	if err != nil {
		return page{}, d.inst.brokeOff("open page "+strconv.Itoa(i+1), err)
	}
	ref := requests.Page{ByReference: &loaded.Page}
	defer d.inst.FPDF_ClosePage(&requests.FPDF_ClosePage{Page: loaded.Page}) //nolint:errcheck // says nothing of the text
	tp, err := d.inst.FPDFText_LoadPage(&requests.FPDFText_LoadPage{Page: ref})
	if err != nil {
		return page{}, d.inst.brokeOff("read page "+strconv.Itoa(i+1), err)
	}
	count, err := d.inst.FPDFText_CountChars(&requests.FPDFText_CountChars{TextPage: tp.TextPage})
	if err == nil && d.unknown(tp.TextPage, count.Count) {
		p.glyphs, count.Count = true, 0
	}
	if err == nil && count.Count > maxLaid { // too many to look at each: as PDFium orders them
		if d.max > 0 && d.bytes+count.Count/4 > d.max { // a line takes two of PDFium's characters for one of ours
			return page{}, fmt.Errorf("%w: must be at most %d bytes", extract.ErrTooLarge, d.max)
		}
		got, gerr := d.inst.FPDFText_GetText(&requests.FPDFText_GetText{TextPage: tp.TextPage, StartIndex: 0, Count: count.Count})
		if gerr == nil {
			p.lines = plainLines(got.Text)
		}
		err = gerr
	}
	if _, cerr := d.inst.FPDFText_ClosePage(&requests.FPDFText_ClosePage{TextPage: tp.TextPage}); err == nil {
		err = cerr
	}
	if err == nil && count.Count > 0 && count.Count <= maxLaid {
		got, gerr := d.inst.GetPageTextStructured(&requests.GetPageTextStructured{Page: ref, Mode: requests.GetPageTextStructuredModeChars})
		if gerr == nil {
			p.lines = layOut(got.Chars)
		}
		err = gerr
	}
	if err != nil {
		return page{}, d.inst.brokeOff("read page "+strconv.Itoa(i+1), err)
	}
	for _, l := range p.lines {
		d.bytes += len(l.text)
	}
	p.notes = d.notes(ref)
	if p.empty() && !p.glyphs {
		p.images = d.hasImage(ref)
	}
	return p, nil
}

// unknown tells whether most of so many characters of a page are none: they are glyphs of a font that does not say which characters it
// draws, and what PDFium has for them are their numbers.
func (d *document) unknown(page references.FPDF_TEXTPAGE, count int) bool {
	bad, looked := 0, min(count, maxLooked)
	for i := range looked {
		at := int(int64(i) * int64(count) / int64(looked))
		e, err := d.inst.FPDFText_HasUnicodeMapError(&requests.FPDFText_HasUnicodeMapError{TextPage: page, Index: at})
		if err != nil {
			return false
		}
		if e.HasUnicodeMapError {
			bad++
		}
	}
	return bad*10 > looked*6
}

// hasImage tells whether an image is drawn on the page.
func (d *document) hasImage(ref requests.Page) bool {
	count, err := d.inst.FPDFPage_CountObjects(&requests.FPDFPage_CountObjects{Page: ref})
	if err != nil {
		return false
	}
	for i := range min(count.Count, 500) {
		o, err := d.inst.FPDFPage_GetObject(&requests.FPDFPage_GetObject{Page: ref, Index: i})
		if err != nil {
			return false
		}
		kind, err := d.inst.FPDFPageObj_GetType(&requests.FPDFPageObj_GetType{PageObject: o.PageObject})
		if err != nil {
			return false
		}
		if kind.Type == enums.FPDF_PAGEOBJ_IMAGE || kind.Type == enums.FPDF_PAGEOBJ_FORM {
			return true
		}
	}
	return false
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// ranges writes ascending numbers shortly: 1, 3–5.
func ranges(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		if b.Len() > 200 {
			b.WriteString("…")
			break
		}
		b.WriteString(strconv.Itoa(list[i]))
		if j > i {
			b.WriteString("–" + strconv.Itoa(list[j]))
		}
		i = j + 1
	}
	return b.String()
}

func orDefault[T int64 | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}
