package chunk

import "strings"

// slides cuts between pages first: what is on one slide belongs together.
func (b *builder) slides(t Text) error {
	pages := t.Pages
	if pages == nil {
		for at := 0; ; {
			n := strings.IndexByte(b.text[at:], '\f')
			if n < 0 {
				break
			}
			at += n + 1
			pages = append(pages, at)
		}
	}
	if t.Markup == "markdown" {
		b.pages = pages
		return b.markdown()
	}
	at := 0
	for _, page := range pages {
		if page <= at || page >= len(b.text) || !border(b.text, page) {
			continue
		}
		if err := b.paragraphs(at, page, pageStrength); err != nil {
			return err
		}
		at = page
	}
	return b.paragraphs(at, len(b.text), pageStrength)
}

// border reports whether an offset is not inside a character.
func border(s string, at int) bool { return at >= len(s) || s[at]&0xC0 != 0x80 }
