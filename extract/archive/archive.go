// Package archive walks archives and compressed files: zip, tar, and gzip, bzip2, xz and zstd around a tar or around a single file. What
// lies within is handed on as documents of their own; nothing is written to disk.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/therootcompany/xz"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/fault"
	"github.com/llmemory/llmemory/internal/safezip"
)

// The defaults of Extractor.
const (
	DefaultEntries = 10_000
	DefaultTotal   = 1 << 30
	DefaultMember  = extract.DefaultMaxSource
	DefaultNested  = 1
)

// Extractor reads archives. Its zero value is ready.
//
// Each file in an archive goes to Input.Part in the order of the archive, with its path as name. Names that lead out of the archive
// (absolute, or with "..") are cut to what is harmless; links, devices and members that need a password are skipped; the warnings
// tell of all of them. The result is a container and has no text.
//
// Before the first part an archive is gone through: one that is cut short or over a limit is refused with [extract.ErrDamaged] or
// [extract.ErrTooLarge] and hands on nothing. An archive all of whose members need a password is [extract.ErrEncrypted], one without
// files [extract.ErrNoText]. What is unpacked is counted again while it is read, and archives in an archive count towards the limits
// of the outermost.
type Extractor struct {
	Entries int   // members, default 10,000
	Total   int64 // bytes that all members unpack to, default 1 GiB
	Member  int64 // bytes that one member unpacks to, default 256 MiB; larger ones are skipped
	Nested  int   // archives that may lie in one another, beyond the outermost; default 1, none if negative
	// Ratio and Floor: what is unpacked may be at most Ratio times as large as it was packed, once it is larger than Floor. Default
	// 100 and 4 MiB.
	Ratio, Floor int64
}

// maxWarnings is how many warnings an archive tells before it only counts them.
const maxWarnings = 50

// allowance is what is left of the limits of the outermost archive.
type allowance struct {
	entries, bytes *atomic.Int64
	level          int // how many archives lie around
}

type allowanceKey struct{}

// walk is the reading of one archive.
type walk struct {
	Extractor
	in       extract.Input
	src      *extract.Source
	left     allowance
	names    map[string]bool
	warnings []string
	untold   int
	format   string
	xz       *xz.Reader // of the pass before, or nil
	found    int        // files, skipped ones included
	locked   int        // files that need a password
	unread   int        // files compressed in a way that is not read
	given    int        // files handed on
}

// Extract implements [extract.Extractor].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	x = x.orDefault()
	left, within := ctx.Value(allowanceKey{}).(allowance)
	if !within {
		left = allowance{entries: &atomic.Int64{}, bytes: &atomic.Int64{}}
		left.entries.Store(int64(x.Entries))
		left.bytes.Store(x.Total)
	}
	if left.level > max(x.Nested, 0) {
		return extract.Text{}, fmt.Errorf("%w: archives in archives are read %d deep", extract.ErrTooLarge, max(x.Nested, 0))
	}
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }() // nothing that was written can be lost
	w := &walk{Extractor: x, in: in, src: src, left: left, names: map[string]bool{}}
	if err := w.run(ctx); err != nil {
		return extract.Text{}, err
	}
	if w.given == 0 {
		switch {
		case w.locked > 0:
			return extract.Text{}, fmt.Errorf("%w: all members need a password", extract.ErrEncrypted)
		case w.unread > 0:
			return extract.Text{}, fmt.Errorf("%w: all members are compressed in a way that is not read", extract.ErrUnsupported)
		case w.found == 0:
			return extract.Text{}, fmt.Errorf("%w: an archive without files", extract.ErrNoText)
		}
	}
	if w.untold > 0 {
		w.warnings = append(w.warnings, fmt.Sprintf("and %d more", w.untold))
	}
	t := extract.Text{Type: "unknown", Format: w.format, Container: true, Warnings: w.warnings}
	if in.Type != "" {
		t.Type = in.Type
	}
	return t, nil
}

func (x Extractor) orDefault() Extractor {
	set := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	if x.Entries <= 0 {
		x.Entries = DefaultEntries
	}
	if x.Nested == 0 {
		x.Nested = DefaultNested
	}
	set(&x.Total, DefaultTotal)
	set(&x.Member, DefaultMember)
	set(&x.Ratio, safezip.DefaultRatio)
	set(&x.Floor, safezip.DefaultFloor)
	return x
}

func (w *walk) run(ctx context.Context) error {
	head := make([]byte, min(512, w.src.Size()))
	n, err := w.src.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch head = head[:n]; {
	case isZip(head):
		return w.zip(ctx)
	case isTar(head):
		w.format = "tar"
		return w.tar(ctx, "")
	}
	if format := compression(head); format != "" {
		w.format = format
		return w.compressed(ctx)
	}
	return fmt.Errorf("%w: no archive that is read", extract.ErrUnsupported)
}

func isZip(head []byte) bool {
	return len(head) >= 4 && (string(head[:4]) == "PK\x03\x04" || string(head[:4]) == "PK\x05\x06")
}

// isTar tells a tar by the magic of POSIX, or, as the oldest have none, by the checksum of its first header.
func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	if string(head[257:262]) == "ustar" {
		return true
	}
	said, err := strconv.ParseUint(strings.Trim(string(head[148:156]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := uint64(8 * ' ') // the checksum itself counts as spaces
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return sum == said
}

func compression(head []byte) string {
	for magic, format := range map[string]string{"\x1f\x8b": "gzip", "BZh": "bzip2", "\xfd7zXZ\x00": "xz", "\x28\xb5\x2f\xfd": "zstd"} {
		if len(head) >= len(magic) && string(head[:len(magic)]) == magic {
			return format
		}
	}
	return ""
}

// warn tells of a member.
func (w *walk) warn(format string, args ...any) {
	if len(w.warnings) >= maxWarnings {
		w.untold++
		return
	}
	w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
}

// take takes the entries and bytes of an archive that has been gone through from what is left, if there is enough.
func (w *walk) take(entries int, bytes int64) error {
	if left := w.left.entries.Add(-int64(entries)); left < 0 {
		return fmt.Errorf("%w: more than %d members", extract.ErrTooLarge, w.Entries)
	}
	if bytes > w.left.bytes.Load() {
		return fmt.Errorf("%w: unpacks to more than %d bytes", extract.ErrTooLarge, w.Total)
	}
	return nil
}

// part hands a member on. The reader counts.
func (w *walk) part(ctx context.Context, name string, r io.Reader) error {
	w.given++
	if w.in.Part == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	clean, changed := harmless(name)
	if w.names[clean] {
		changed = true
		for n := 2; w.names[clean]; n++ {
			clean = numbered(name, n)
		}
	}
	w.names[clean] = true
	if changed {
		w.warn("%q is taken as %q", name, clean)
	}
	limited := &counted{r: r, walk: w}
	inner := w.left
	inner.level++
	err := w.in.Part(context.WithValue(extract.Within(ctx), allowanceKey{}, inner), extract.Input{Reader: limited, Name: clean, MaxBytes: w.in.MaxBytes, Part: w.in.Part})
	if err == nil {
		err = limited.exceeded // what is over the limits of the whole ends it, whoever was told of it
	}
	return err
}

// counted takes what is read of a member from what is left.
type counted struct {
	r        io.Reader
	walk     *walk
	read     int64
	exceeded error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.read > c.walk.Member {
		return 0, fmt.Errorf("%w: a member unpacks to more than %d bytes", fault.TooLarge, c.walk.Member)
	}
	if c.walk.left.bytes.Add(-int64(n)) < 0 {
		c.exceeded = fmt.Errorf("%w: the archive unpacks to more than %d bytes", fault.TooLarge, c.walk.Total)
		return 0, c.exceeded
	}
	return n, err
}
