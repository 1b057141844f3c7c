package pdf

import (
	"bytes"
	"context"
	"strconv"

	"github.com/klippa-app/go-pdfium/requests"

	"github.com/llmemory/llmemory/extract"
)

// embedded is a file in a document.
type embedded struct {
	name string
	data []byte
}

const (
	maxEmbedded      = 1_000
	maxEmbeddedBytes = 128 << 20 // in all
)

// embedded returns the files in the document, those that can be read and as many as there may be.
func (d *document) embedded() []embedded {
	count, err := d.inst.FPDFDoc_GetAttachmentCount(&requests.FPDFDoc_GetAttachmentCount{Document: d.ref})
	if err != nil {
		return nil
	}
	var list []embedded
	size := 0
	for i := range min(count.AttachmentCount, maxEmbedded) {
		a, err := d.inst.FPDFDoc_GetAttachment(&requests.FPDFDoc_GetAttachment{Document: d.ref, Index: i})
		if err != nil {
			continue
		}
		file, err := d.inst.FPDFAttachment_GetFile(&requests.FPDFAttachment_GetFile{Attachment: a.Attachment})
		if err != nil || len(file.Contents) == 0 {
			continue
		}
		if size += len(file.Contents); size > maxEmbeddedBytes {
			break
		}
		e := embedded{name: "attachment " + strconv.Itoa(i+1), data: bytes.Clone(file.Contents)}
		if n, err := d.inst.FPDFAttachment_GetName(&requests.FPDFAttachment_GetName{Attachment: a.Attachment}); err == nil {
			if name := oneLine(n.Name); name != "" {
				e.name = name
			}
		}
		list = append(list, e)
	}
	return list
}

// handOver gives the host the files that are in a document. One that is nothing else, as a portfolio is, is their container.
func handOver(ctx context.Context, in extract.Input, text extract.Text, err error, files []embedded) (extract.Text, error) {
	if err != nil { // no text
		text = extract.Text{Type: "pdf", Format: "pdf", Container: true, Warnings: []string{err.Error()}}
	}
	for _, f := range files {
		part := extract.Input{Reader: bytes.NewReader(f.data), Name: f.name, MaxBytes: in.MaxBytes}
		if err := in.Part(extract.Within(ctx), part); err != nil {
			return extract.Text{}, err
		}
	}
	return text, nil
}
