// Package epub turns books (EPUB 2 and 3) into Markdown text. Scripts are never run and nothing that a book refers to is fetched.
package epub

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/htmltext"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/safezip"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// maxDocument is how many bytes a document of a book may have.
const maxDocument = 64 << 20

// Extractor reads EPUB: the documents of the book in reading order, each as package html reads a page, whole. Tables of contents that
// the book marks as such are left out; links within the book are only their text. A book whose text is encrypted is refused.
type Extractor struct{}

var spaces = map[string]string{
	"urn:oasis:names:tc:opendocument:xmlns:container": "c", "http://www.idpf.org/2007/opf": "opf", "http://purl.org/dc/elements/1.1/": "dc",
	"http://www.w3.org/2001/04/xmlenc#": "enc",
}

// Extract implements [extract.Extractor].
func (Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	zip, err := safezip.Open(src, src.Size(), safezip.Limits{})
	if err != nil {
		return extract.Text{}, err
	}
	b := &book{ctx: ctx, zip: zip, items: map[string]item{}, encrypted: map[string]bool{}}
	if err := b.open(); err != nil {
		return extract.Text{}, err
	}
	w := &mdtext.Writer{Max: in.MaxBytes}
	if err := b.write(w); err != nil {
		return extract.Text{}, err
	}
	content, err := w.Text("a book of pictures")
	if err != nil {
		return extract.Text{}, err
	}
	return extract.Text{
		Content: content, Type: cmp.Or(in.Type, "text"), Format: "epub", Markup: "markdown", Title: b.title, Author: strings.Join(b.authors, ", "),
		Language: b.language, Date: b.date(), Warnings: b.warnings,
	}, nil
}

type item struct {
	name, media string
	contents    bool // a table of contents
}

type book struct {
	ctx       context.Context
	zip       *safezip.Archive
	items     map[string]item
	spine     []string
	encrypted map[string]bool
	title     string
	authors   []string
	language  string
	published time.Time
	modified  time.Time
	warnings  []string
}

func (b *book) date() time.Time {
	if b.modified.IsZero() {
		return b.published
	}
	return b.modified
}

// walk reads a part from its root element on.
func (b *book) walk(part string, f func(r *xmlwalk.Reader) error) error {
	file := b.zip.File(part)
	if file == nil {
		return nil
	}
	in, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // what there was to know of it has been told when it was read
	r := xmlwalk.New(b.ctx, in, spaces)
	if err := r.Each(func(xmlwalk.Element) error { return f(r) }); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}

// open reads what the book consists of.
func (b *book) open() error {
	root := ""
	if err := b.walk("META-INF/container.xml", func(r *xmlwalk.Reader) error {
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			if e.Tag == "c:rootfile" || e.Tag == "rootfile" {
				root = cmp.Or(root, e.Get("full-path"))
			}
			return r.Each(in)
		}
		return r.Each(in)
	}); err != nil {
		return err
	}
	if root = strings.TrimPrefix(path.Clean("/"+root), "/"); b.zip.File(root) == nil {
		return fmt.Errorf("%w: the package document is missing", extract.ErrDamaged)
	}
	if err := b.walk("META-INF/encryption.xml", func(r *xmlwalk.Reader) error {
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			if e.Tag == "enc:CipherReference" {
				b.encrypted[resolve("", e.Get("URI"))] = true
			}
			return r.Each(in)
		}
		return r.Each(in)
	}); err != nil {
		return err
	}
	return b.walk(root, func(r *xmlwalk.Reader) error {
		return r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "opf:metadata":
				return b.metadata(r)
			case "opf:manifest":
				return r.Each(func(e xmlwalk.Element) error {
					if e.Tag == "opf:item" {
						b.items[e.Get("id")] = item{
							name: resolve(path.Dir(root), e.Get("href")), media: e.Get("media-type"),
							contents: strings.Contains(" "+e.Get("properties")+" ", " nav "),
						}
					}
					return nil
				})
			case "opf:spine":
				return r.Each(func(e xmlwalk.Element) error {
					if e.Tag == "opf:itemref" {
						b.spine = append(b.spine, e.Get("idref"))
					}
					return nil
				})
			}
			return nil
		})
	})
}

// resolve returns the name of a member that a reference from a folder names.
func resolve(dir, href string) string {
	href, _, _ = strings.Cut(href, "#")
	if plain, err := url.PathUnescape(href); err == nil {
		href = plain
	}
	return strings.TrimPrefix(path.Join("/", dir, href), "/")
}

func (b *book) metadata(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "opf:dc-metadata":
			return b.metadata(r)
		case "dc:title", "dc:creator", "dc:language", "dc:date", "opf:meta":
		default:
			return nil
		}
		s, err := r.Text(4096)
		s = mdtext.OneLine(strings.ToValidUTF8(s, ""))
		switch {
		case s == "":
		case e.Tag == "dc:title":
			b.title = cmp.Or(b.title, s)
		case e.Tag == "dc:creator" && len(b.authors) < 20:
			b.authors = append(b.authors, s)
		case e.Tag == "dc:language":
			b.language = cmp.Or(b.language, docmeta.Language(s))
		case e.Tag == "dc:date" && b.published.IsZero():
			b.published = docmeta.Date(s)
		case e.Tag == "opf:meta" && e.Get("property") == "dcterms:modified":
			b.modified = docmeta.Date(s)
		}
		return err
	})
}

// write writes the documents in reading order, each once.
func (b *book) write(w *mdtext.Writer) error {
	seen := map[string]bool{}
	missing := 0
	for _, id := range b.spine {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		it, ok := b.items[id]
		if !ok || it.contents || seen[it.name] {
			continue
		}
		seen[it.name] = true
		if it.media != "" && it.media != "application/xhtml+xml" && it.media != "text/html" && it.media != "text/x-oeb1-document" {
			continue
		}
		if b.encrypted[it.name] {
			return fmt.Errorf("%w: the text of the book is protected", extract.ErrEncrypted)
		}
		file := b.zip.File(it.name)
		if file == nil {
			missing++
			continue
		}
		if file.Size > maxDocument {
			return fmt.Errorf("%w: a document of more than %d bytes", extract.ErrTooLarge, maxDocument)
		}
		raw, err := file.ReadAll()
		if err != nil {
			return err
		}
		page, warnings, err := htmltext.Decode(raw, "")
		if err != nil {
			return fmt.Errorf("%s: %w", it.name, err)
		}
		for _, s := range warnings {
			b.warn(s)
		}
		b.document(w, htmltext.XHTML(page))
		if w.Full() {
			return nil
		}
	}
	if missing > 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("%d documents of the book are missing", missing))
	}
	return nil
}

// warn adds a warning, once.
func (b *book) warn(s string) {
	if !slices.Contains(b.warnings, s) {
		b.warnings = append(b.warnings, s)
	}
}

func (b *book) document(w *mdtext.Writer, page string) {
	doc, ok := htmltext.Parse(page)
	if ok {
		htmltext.Write(w, doc, htmltext.Options{Whole: true})
		return
	}
	b.warn("a document too large or too deeply nested: read without its structure")
	htmltext.Flat(page, func(paragraph string) bool {
		w.Paragraph(paragraph)
		return !w.Full()
	})
}
