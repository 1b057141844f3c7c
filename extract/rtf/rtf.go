// Package rtf turns Rich Text Format into Markdown text. It reads what the specification of RTF 1.9.1 calls the document area, as
// Word, LibreOffice and WordPad write it.
package rtf

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/llmemory/llmemory/extract"
)

// Limits of what is read.
const (
	MaxBytes  = 256 << 20 // of a file, pictures included
	maxGroups = 1000      // that are open at the same time
	maxFonts  = 10_000
)

// Extractor reads RTF: headings by outline level and style, lists with their numbers, tables, links, footnotes, comments, text boxes,
// and headers and footers once each. Deleted and hidden text, pictures and objects are left out.
type Extractor struct{}

// Extract implements [extract.Extractor].
func (Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, MaxBytes)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	raw, err := src.Bytes()
	if err != nil {
		return extract.Text{}, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \r\n\t"), []byte(`{\rtf`)) {
		return extract.Text{}, fmt.Errorf("%w: not an RTF document", extract.ErrUnsupported)
	}
	p := newParser(raw, in.MaxBytes)
	if err := p.run(ctx); err != nil {
		return extract.Text{}, err
	}
	p.finish()
	content, err := p.w.Text("an empty RTF document")
	if err != nil {
		return extract.Text{}, err
	}
	return extract.Text{
		Content: content, Type: cmp.Or(in.Type, "docx"), Format: "rtf", Markup: "markdown",
		Title: p.info["title"], Author: p.info["author"], Language: p.language(), Date: p.date, Warnings: p.warnings,
	}, nil
}

// next reads the next token. It returns false at the end.
func (p *parser) next() bool {
	for p.at < len(p.raw) {
		switch c := p.raw[p.at]; c {
		case '{':
			p.at++
			p.token = token{kind: open}
			return true
		case '}':
			p.at++
			p.token = token{kind: closed}
			return true
		case '\r', '\n':
			p.at++
		case '\\':
			p.at++
			return p.control()
		default:
			start := p.at
			for p.at < len(p.raw) && strings.IndexByte("{}\\\r\n", p.raw[p.at]) < 0 {
				p.at++
			}
			p.token = token{kind: chars, text: p.raw[start:p.at]}
			return true
		}
	}
	return false
}

// control reads what follows a backslash.
func (p *parser) control() bool {
	if p.at >= len(p.raw) {
		return false
	}
	c := p.raw[p.at]
	if c|0x20 < 'a' || c|0x20 > 'z' {
		p.at++
		p.token = token{kind: symbol, word: string(rune(c))}
		if c == '\'' && p.at+2 <= len(p.raw) {
			p.token = token{kind: hex, n: unhex(p.raw[p.at])<<4 | unhex(p.raw[p.at+1])}
			p.at += 2
		}
		return true
	}
	start := p.at
	for p.at < len(p.raw) && p.at-start < 40 && p.raw[p.at]|0x20 >= 'a' && p.raw[p.at]|0x20 <= 'z' {
		p.at++
	}
	p.token = token{kind: word, word: string(p.raw[start:p.at]), n: -1}
	negative := p.at < len(p.raw) && p.raw[p.at] == '-'
	digits := p.at
	if negative {
		digits++
	}
	n, end := 0, digits
	for end < len(p.raw) && p.raw[end] >= '0' && p.raw[end] <= '9' {
		n = min(n*10+int(p.raw[end]-'0'), 1<<31-1)
		end++
	}
	if end > digits {
		if p.at = end; negative {
			n = -n
		}
		p.token.n, p.token.given = n, true
	}
	if p.at < len(p.raw) && p.raw[p.at] == ' ' {
		p.at++
	}
	if p.token.word == "bin" {
		p.at = min(len(p.raw), p.at+max(0, p.token.n))
	}
	return true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 0
}

type tokenKind uint8

const (
	open   tokenKind = iota // {
	closed                  // }
	word                    // \word with a number or without
	symbol                  // \ and one character
	hex                     // \'hh
	chars                   // text
)

type token struct {
	kind  tokenKind
	word  string
	n     int
	given bool // n was given
	text  []byte
}

// stamp is a date as it is read.
type stamp struct{ year, month, day, hour, minute int }

func (s stamp) time() time.Time {
	if s.year < 1 || s.year > 9999 || s.month < 1 || s.month > 12 || s.day < 1 || s.day > 31 {
		return time.Time{}
	}
	return time.Date(s.year, time.Month(s.month), s.day, s.hour%24, s.minute%60, 0, 0, time.UTC)
}
