package all

import (
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/docx"
	"github.com/llmemory/llmemory/extract/epub"
	"github.com/llmemory/llmemory/extract/html"
	"github.com/llmemory/llmemory/extract/odf"
	"github.com/llmemory/llmemory/extract/pptx"
	"github.com/llmemory/llmemory/extract/rtf"
	"github.com/llmemory/llmemory/extract/xls"
	"github.com/llmemory/llmemory/extract/xlsx"
)

// office returns our own extractor of a format of office programs, pages or books, or nil.
func office(format string) extract.Extractor {
	switch format {
	case "docx":
		return docx.Extractor{}
	case "epub":
		return epub.Extractor{}
	case "html":
		return html.Extractor{}
	case "odt", "ods", "odp":
		return odf.Extractor{}
	case "pptx":
		return pptx.Extractor{}
	case "rtf":
		return rtf.Extractor{}
	case "xls":
		return xls.Extractor{}
	case "xlsx":
		return xlsx.Extractor{}
	}
	return nil
}
