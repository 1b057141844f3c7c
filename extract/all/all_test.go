package all_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/extracttest"
)

// zipOf makes a zip file of names and contents, in turn.
func zipOf(t testing.TB, members ...string) string {
	t.Helper()
	return string(extracttest.Zip(t, members...))
}

func TestDetect(t *testing.T) {
	t.Parallel()
	types := "[Content_Types].xml"
	for name, tc := range map[string]struct{ content, name, media, want string }{
		"pdf":                   {"%PDF-1.7\n…", "a.txt", "", "pdf"},
		"pdf after junk":        {"\x00\x01junk\n%PDF-1.4\n", "", "", "pdf"},
		"text about pdf":        {"The magic is %PDF-1.4, mind you.", "", "", "text"},
		"docx":                  {zipOf(t, types, "<x/>", "word/document.xml", "<x/>"), "", "", "docx"},
		"docx, types last":      {zipOf(t, "word/document.xml", "<x/>", types, "<x/>"), "a.zip", "", "docx"},
		"pptx":                  {zipOf(t, types, "<x/>", "ppt/presentation.xml", "<x/>"), "", "", "pptx"},
		"xlsx":                  {zipOf(t, types, "<x/>", "xl/workbook.xml", "<x/>"), "", "", "xlsx"},
		"odt":                   {zipOf(t, "mimetype", "application/vnd.oasis.opendocument.text"), "", "", "odt"},
		"epub":                  {zipOf(t, "mimetype", "application/epub+zip"), "", "", "epub"},
		"jar":                   {zipOf(t, "META-INF/MANIFEST.MF", "x"), "", "", "program"},
		"zip":                   {zipOf(t, "a.txt", "x"), "a.docx", "", "zip"},
		"rtf":                   {`{\rtf1 hello}`, "a.doc", "", "rtf"},
		"png":                   {"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a.txt", "text/plain", "image"},
		"m4a":                   {"\x00\x00\x00\x20ftypmp42\x00\x00\x00\x00mp42isom", "a.m4a", "", "audio"},
		"mp4":                   {"\x00\x00\x00\x20ftypmp42\x00\x00\x00\x00mp42isom", "a", "", "video"},
		"feed without head":     {"<rss version=\"2.0\"><channel/></rss>", "", "", "xml"},
		"xml without head":      {"<feed xmlns=\"http://www.w3.org/2005/Atom\"/>", "", "", "xml"},
		"elf":                   {"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00", "", "", "program"},
		"random":                {"\x00\x91\x07\x1a\xff\x00\x03", "a.md", "", "binary"},
		"html":                  {"\n<!-- c -->\n<!DOCTYPE html><p>x", "", "", "html"},
		"html fragment by name": {"<p>x</p>", "a.html", "", "html"},
		"html by type":          {"<p>x</p>", "", "text/html; charset=utf-8", "html"},
		"xhtml":                 {`<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">`, "", "", "html"},
		"utf-16 unmarked":       {"T\x00h\x00e\x00 \x00s\x00h\x00i\x00p\x00s\x00.\x00", "", "", "text"},
		"html in utf-16":        {"\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", "", "", "html"},
		"markdown with html":    {"<html>\n\n# A", "README.md", "", "markdown"},
		"xml":                   {`<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"/>`, "", "", "xml"},
		"json":                  {`{"a": [1, 2]}`, "", "", "json"},
		"not json":              {"[1] Smith, J., A paper", "", "", "text"},
		"notebook":              {`{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`, "", "", "notebook"},
		"jsonl":                 {"{\"a\":1}\n{\"a\":2}\n", "", "", "jsonl"},
		"csv by name":           {"a;b\n1;2\n", "a.csv", "", "csv"},
		"csv by content":        {"a,b\n1,2\n3,4\n", "", "", "csv"},
		"prose with commas":     {"one, two\nthree, four\nfive, six\n", "", "", "text"},
		"mail":                  {"Return-Path: <a@b>\nFrom: a@b\nSubject: x\n y\nDate: z\n\nbody", "", "", "email"},
		"mbox":                  {"From a@b Thu Nov 26 20:07:57 2026\nSubject: x\n\nbody", "", "", "mbox"},
		"letter":                {"From: me\nHello there", "a.txt", "", "text"},
		"go":                    {"package p\n", "p.go", "", "code"},
		"script":                {"#!/bin/sh\necho\n", "run", "", "code"},
		"markdown":              {"# Title\n\n- one\n- two\n", "", "", "markdown"},
		"latin-1":               {"caf\xe9 au lait, s'il vous pla\xeet", "", "", "text"},
		"gzip":                  {"\x1f\x8b\x08\x00", "", "", "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, err := extract.Input{Reader: strings.NewReader(tc.content)}.Open(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			k, err := all.Detect(src, tc.name, tc.media)
			if err != nil || k.Format != tc.want {
				t.Errorf("Detect() = %v, %v, want %s", k, err, tc.want)
			}
		})
	}
}

func TestCustomGoesFirst(t *testing.T) {
	t.Parallel()
	ocr := extract.Func(func(_ context.Context, in extract.Input) (extract.Text, error) {
		return extract.Text{Content: "read from " + in.Media}, nil
	})
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	for _, key := range []string{"image", "image/png", "image/*"} {
		x := all.Extractor{Custom: map[string]extract.Extractor{key: ocr}}
		text, err := x.Extract(t.Context(), extract.Input{Reader: strings.NewReader(png)})
		if err != nil || text.Content != "read from image/png" || text.Format != "image" {
			t.Errorf("%s: %+v, %v", key, text, err)
		}
	}
	_, err := all.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(png)})
	if !errors.Is(err, extract.ErrUnsupported) || !strings.Contains(err.Error(), "image (image/png)") {
		t.Errorf("without: %v", err)
	}
}

// An error of Part ends the extraction and is returned as it is: what becomes of a part is for the caller to tell.
func TestPartError(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"mail": []byte("From: a@example.org\nTo: b@example.org\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\ntext\n--x\n" +
			"Content-Disposition: attachment; filename=a.txt\n\na\n--x--\n"),
		"mailbox": []byte("From a@b Thu Jan  1 00:00:00 1970\nSubject: s\n\ntext\n\nFrom a@b Thu Jan  1 00:00:00 1970\nSubject: t\n\ntext\n"),
		"zip":     extracttest.Zip(t, "a.txt", "text"),
		"tar":     extracttest.Tar(t, "a.txt", "text"),
		"gzip":    extracttest.Gzip(t, []byte("text")),
		"tar.gz":  extracttest.Gzip(t, extracttest.Tar(t, "a.txt", "text")),
	}
	for name, raw := range files {
		bad := errors.New("not taken")
		_, err := all.Extractor{}.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(raw), Part: func(context.Context, extract.Input) error { return bad }})
		if err != bad { //nolint:errorlint // it is this very one
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// What was said of the charset is heard even where the format is another than was said.
func TestCharsetIsHeard(t *testing.T) {
	t.Parallel()
	for media, name := range map[string]string{"text/plain; charset=koi8-r": "a.csv", "text/csv; charset=koi8-r": "a.csv", "Text/Plain; Charset=\"KOI8-R\"": "a.md"} {
		text, err := all.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader("\xc1\xc2,\xd7\n"), Name: name, Media: media})
		if err != nil || text.Content != "аб,в\n" || len(text.Warnings) > 0 {
			t.Errorf("%s: %q, %q, %v", media, text.Content, text.Warnings, err)
		}
	}
}
