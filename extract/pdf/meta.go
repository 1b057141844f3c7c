package pdf

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/structs"

	"github.com/llmemory/llmemory/extract"
)

// describe fills in what the document says of itself; what cannot be read is left out.
func (d *document) describe(t *extract.Text) {
	t.Title = named(d.meta("Title"))
	t.Author = named(d.meta("Author"))
	if t.Date = parseDate(d.meta("ModDate")); t.Date.IsZero() {
		t.Date = parseDate(d.meta("CreationDate"))
	}
	if l, err := d.inst.FPDFCatalog_GetLanguage(&requests.FPDFCatalog_GetLanguage{Document: d.ref}); err == nil {
		t.Language = language(l.Language)
	}
}

// named is s unless it is what programs write where they are given no title or author.
func named(s string) string {
	switch strings.ToLower(strings.Trim(s, "()[]")) {
	case "untitled", "anonymous", "unspecified", "unknown", "title", "author":
		return ""
	}
	return s
}

// meta returns an entry of the document information, on one line, at most 512 bytes.
func (d *document) meta(tag string) string {
	m, err := d.inst.FPDF_GetMetaText(&requests.FPDF_GetMetaText{Document: d.ref, Tag: tag})
	if err != nil || !utf8.ValidString(m.Value) {
		return ""
	}
	s := oneLine(m.Value)
	if len(s) > 512 {
		s = s[:512]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return strings.TrimSpace(s)
}

// parseDate reads a date as PDF writes it, D:YYYYMMDDHHmmSSOHH'mm', cut off after any part; zero if it is none.
func parseDate(s string) time.Time {
	s = strings.TrimPrefix(strings.TrimSpace(s), "D:")
	digits := s
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = s[:i]
	}
	const layout = "20060102150405"
	zone := strings.NewReplacer("'", "", ":", "").Replace(s[len(digits):])
	if zone != "" && len(digits) < len(layout) {
		return time.Time{}
	}
	if len(digits) > len(layout) {
		digits = digits[:len(layout)]
	}
	if len(digits) < 4 || len(digits)%2 != 0 {
		return time.Time{}
	}
	t, err := time.Parse(layout[:len(digits)], digits)
	if err != nil || t.Year() < 1900 {
		return time.Time{}
	}
	if len(zone) >= 5 {
		if offset, err := time.Parse("-0700", zone[:5]); err == nil {
			_, seconds := offset.Zone()
			t = t.Add(-time.Duration(seconds) * time.Second)
		}
	}
	return t
}

// language is the ISO 639-1 code of a language tag such as en-US, "" if it has none.
func language(tag string) string {
	tag, _, _ = strings.Cut(strings.TrimRight(tag, "\x00"), "-")
	tag = strings.ToLower(strings.TrimSpace(tag))
	if len(tag) != 2 || tag[0] < 'a' || tag[0] > 'z' || tag[1] < 'a' || tag[1] > 'z' {
		return ""
	}
	return tag
}

// notes returns the form fields of a page that have a value, each as "name: value", and what its annotations say.
func (d *document) notes(ref requests.Page) []string {
	count, err := d.inst.FPDFPage_GetAnnotCount(&requests.FPDFPage_GetAnnotCount{Page: ref})
	if err != nil {
		return nil
	}
	var notes []string
	for i := range min(count.Count, maxNotes) {
		a, err := d.inst.FPDFPage_GetAnnot(&requests.FPDFPage_GetAnnot{Page: ref, Index: i})
		if err != nil {
			continue
		}
		note := ""
		kind, err := d.inst.FPDFAnnot_GetSubtype(&requests.FPDFAnnot_GetSubtype{Annotation: a.Annotation})
		get := func(key string) string {
			v, err := d.inst.FPDFAnnot_GetStringValue(&requests.FPDFAnnot_GetStringValue{Annotation: a.Annotation, Key: key})
			if err != nil {
				return ""
			}
			return oneLine(v.Value)
		}
		switch {
		case err != nil:
		case kind.Subtype == enums.FPDF_ANNOT_SUBTYPE_WIDGET:
			name, value := get("TU"), get("V")
			if name == "" {
				name = get("T")
			}
			if name == "" || value == "" { // what several widgets share is in the field above them
				name, value = d.field(a.Annotation, name, value)
			}
			if value != "" && value != "Off" {
				note = strings.TrimPrefix(name+": "+value, ": ")
			}
		case kind.Subtype != enums.FPDF_ANNOT_SUBTYPE_LINK && kind.Subtype != enums.FPDF_ANNOT_SUBTYPE_POPUP:
			note = get("Contents")
		}
		if note != "" && (len(notes) == 0 || notes[len(notes)-1] != note) {
			notes = append(notes, note)
		}
		_, _ = d.inst.FPDFPage_CloseAnnot(&requests.FPDFPage_CloseAnnot{Annotation: a.Annotation})
	}
	return notes
}

// field completes the name and the value of a form field.
func (d *document) field(a references.FPDF_ANNOTATION, name, value string) (string, string) {
	if d.form == nil {
		form, err := d.inst.FPDFDOC_InitFormFillEnvironment(&requests.FPDFDOC_InitFormFillEnvironment{
			Document: d.ref,
			FormFillInfo: structs.FPDF_FORMFILLINFO{ // those that there have to be
				FFI_Invalidate:         func(references.FPDF_PAGE, float64, float64, float64, float64) {},
				FFI_SetCursor:          func(enums.FXCT) {},
				FFI_SetTimer:           func(int, func(int)) int { return 0 },
				FFI_KillTimer:          func(int) {},
				FFI_GetLocalTime:       func() structs.FPDF_SYSTEMTIME { return structs.FPDF_SYSTEMTIME{} },
				FFI_GetPage:            func(references.FPDF_DOCUMENT, int) *references.FPDF_PAGE { return nil },
				FFI_GetRotation:        func(references.FPDF_PAGE) enums.FPDF_PAGE_ROTATION { return enums.FPDF_PAGE_ROTATION_NONE },
				FFI_ExecuteNamedAction: func(string) {},
			},
		})
		if err != nil {
			return name, value
		}
		d.form = &form.FormHandle
	}
	if v, err := d.inst.FPDFAnnot_GetFormFieldValue(&requests.FPDFAnnot_GetFormFieldValue{FormHandle: *d.form, Annotation: a}); err == nil && value == "" {
		value = oneLine(v.FormFieldValue)
	}
	if n, err := d.inst.FPDFAnnot_GetFormFieldName(&requests.FPDFAnnot_GetFormFieldName{FormHandle: *d.form, Annotation: a}); err == nil && name == "" {
		name = oneLine(n.FormFieldName)
	}
	return name, value
}

// oneLine is clean for text of several lines.
func oneLine(s string) string {
	return clean(strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ").Replace(s))
}
