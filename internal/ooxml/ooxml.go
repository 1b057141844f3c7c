// Package ooxml opens documents of the Office Open XML formats (ECMA-376, transitional and strict): their parts, the relationships
// between them, and what they say of themselves.
package ooxml

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/cfb"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/fault"
	"github.com/llmemory/llmemory/internal/safezip"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// spaces are the namespaces and the prefixes that they have here.
var spaces = func() map[string]string {
	const transitional, strict = "http://schemas.openxmlformats.org/", "http://purl.oclc.org/ooxml/"
	m := map[string]string{
		"http://schemas.openxmlformats.org/package/2006/relationships":            "pr",
		"http://schemas.openxmlformats.org/package/2006/metadata/core-properties": "cp",
		"http://schemas.openxmlformats.org/markup-compatibility/2006":             "mc",
		"http://purl.org/dc/elements/1.1/":                                        "dc",
		"http://purl.org/dc/terms/":                                               "dcterms",
		"urn:schemas-microsoft-com:vml":                                           "v",
		"http://schemas.microsoft.com/office/word/2010/wordprocessingShape":       "wps",
		"http://schemas.microsoft.com/office/powerpoint/2018/8/main":              "p188",
		"http://schemas.microsoft.com/office/drawing/2010/main":                   "a14",
	}
	for name, prefix := range map[string]string{
		"wordprocessingml": "w", "presentationml": "p", "spreadsheetml": "x", "drawingml": "a", "officeDocument/math": "m",
		"officeDocument/relationships": "r", "drawingml/chart": "c", "drawingml/diagram": "dgm", "drawingml/wordprocessingDrawing": "wp",
		"drawingml/picture": "pic",
	} {
		root, rest, _ := strings.Cut(name, "/")
		old := transitional + root + "/2006/" + rest
		if rest == "" {
			old, rest = transitional+root+"/2006/main", "main"
		}
		m[old], m[strict+root+"/"+rest] = prefix, prefix
	}
	return m
}()

// Package is an open document.
type Package struct {
	ctx   context.Context
	zip   *safezip.Archive
	cells int // of charts read so far
}

// Relation is a reference from a part.
type Relation struct {
	ID       string
	Kind     string // the last word of its type, such as "slide"
	Target   string // the name of a part, or a URL
	External bool
}

// Read opens a document, lets read make text of it, and adds what the document says of itself, and the type that the caller knows.
func Read(ctx context.Context, in extract.Input, read func(p *Package) (extract.Text, error)) (extract.Text, error) {
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }() // nothing that was written can be lost
	p, err := open(ctx, src)
	if err != nil {
		return extract.Text{}, err
	}
	text, err := read(p)
	if err != nil {
		return extract.Text{}, err
	}
	core := p.core()
	text.Title, text.Author, text.Date = core.title, core.author, core.date
	text.Language = cmp.Or(core.language, text.Language)
	text.Type = cmp.Or(in.Type, text.Type)
	return text, nil
}

func open(ctx context.Context, src *extract.Source) (*Package, error) {
	if file, err := cfb.Open(src, src.Size()); err == nil { // encrypted documents lie in a container of the old format
		if file.Has("EncryptedPackage") {
			return nil, fmt.Errorf("%w: the document needs a password", fault.Encrypted)
		}
		return nil, fmt.Errorf("%w: a document of the old binary format", fault.Unsupported)
	}
	z, err := safezip.Open(src, src.Size(), safezip.Limits{})
	if err != nil {
		return nil, err
	}
	return &Package{ctx: ctx, zip: z}, nil
}

// Has tells whether there is a part.
func (p *Package) Has(part string) bool { return p.zip.File(part) != nil }

// Walk reads a part. A part that is not there is an empty one.
func (p *Package) Walk(part string, f func(r *xmlwalk.Reader) error) (err error) {
	file := p.zip.File(part)
	if file == nil {
		return nil
	}
	in, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // what there was to know of it has been told when it was read
	if err := f(xmlwalk.New(p.ctx, in, spaces)); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}

// Content returns what a part holds, nil if there is no such part.
func (p *Package) Content(part string) ([]byte, error) { return p.zip.ReadFile(part) }

// Relations returns the references from a part, "" for the document as a whole, in their order.
func (p *Package) Relations(part string) ([]Relation, error) {
	var out []Relation
	dir, base := path.Split(part)
	err := p.Walk(dir+"_rels/"+base+".rels", func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "pr:Relationship" {
					return nil
				}
				rel := Relation{ID: e.Get("Id"), Kind: path.Base(e.Get("Type")), Target: e.Get("Target"), External: e.Get("TargetMode") == "External"}
				if !rel.External {
					rel.Target, _, _ = strings.Cut(rel.Target, "#")
					if strings.HasPrefix(rel.Target, "/") {
						rel.Target = path.Clean(rel.Target)[1:]
					} else {
						rel.Target = path.Join(dir, rel.Target)
					}
				}
				out = append(out, rel)
				return nil
			})
		})
	})
	return out, err
}

// Main returns the part that a document begins with: that of the relationship "officeDocument", or fallback.
func (p *Package) Main(fallback string) (string, error) {
	rels, err := p.Relations("")
	if err != nil && !errors.Is(err, fault.Damaged) {
		return "", err
	}
	for _, rel := range rels {
		if rel.Kind == "officeDocument" && p.Has(rel.Target) {
			return rel.Target, nil
		}
	}
	if p.Has(fallback) {
		return fallback, nil
	}
	return "", fmt.Errorf("%w: the main part is missing", fault.Damaged)
}

// core is what a document says of itself.
type core struct {
	title, author, language string
	date                    time.Time // of the last change, else of its making
}

// core reads what the document says of itself. What cannot be read is left out.
func (p *Package) core() core {
	var c core
	var made time.Time
	part := "docProps/core.xml"
	rels, err := p.Relations("")
	if err == nil {
		for _, rel := range rels {
			if rel.Kind == "core-properties" {
				part = rel.Target
			}
		}
	}
	err = p.Walk(part, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				s, err := r.Text(4096)
				s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
				switch e.Tag {
				case "dc:title":
					c.title = s
				case "dc:creator":
					c.author = s
				case "dc:language":
					c.language = docmeta.Language(s)
				case "dcterms:modified":
					c.date = docmeta.Date(s)
				case "dcterms:created":
					made = docmeta.Date(s)
				}
				return err
			})
		})
	})
	if c.date.IsZero() {
		c.date = made
	}
	if err != nil {
		return core{}
	}
	switch c.title { // what programs write where they are given none
	case "Word Document", "PowerPoint Presentation":
		c.title = ""
	}
	return c
}

// Diagram returns the texts of a SmartArt diagram whose data are in a part, point by point.
func (p *Package) Diagram(part string) ([]string, error) {
	var out []string
	if part == "" {
		return nil, nil
	}
	err := p.Walk(part, func(r *xmlwalk.Reader) error {
		var b strings.Builder
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			switch e.Tag {
			case "a:t":
				s, err := r.Text(1 << 16)
				b.WriteString(s)
				return err
			case "a:br":
				b.WriteByte(' ')
			}
			err := r.Each(in)
			if e.Tag == "a:p" {
				if s := strings.TrimSpace(b.String()); s != "" {
					out = append(out, s)
				}
				b.Reset()
			}
			return err
		}
		return r.Each(in)
	})
	return out, err
}
