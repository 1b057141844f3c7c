package archive

import (
	"archive/tar"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/charset"
	"github.com/llmemory/llmemory/internal/safezip"
)

// zip walks a zip file.
func (w *walk) zip(ctx context.Context) error {
	w.format = "zip"
	z, err := safezip.Open(w.src, w.src.Size(), safezip.Limits{
		Entries: w.Entries, Total: w.Total + 1, Ratio: w.Ratio, Floor: w.Floor, Mixed: true,
	})
	if err != nil {
		return err
	}
	var files []*safezip.File
	var bytes int64
	for _, f := range z.Files {
		if ok, why := w.wanted(f.Name, f.Mode, f.Size); !ok {
			if why != "" {
				w.warn("%q skipped: %s", f.Name, why)
			}
			continue
		}
		if f.Size > w.Floor && f.Size/w.Ratio > f.Packed {
			return fmt.Errorf("%w: a member unpacks to more than %d times its size", extract.ErrTooLarge, w.Ratio)
		}
		if bytes += f.Size; bytes > w.Total {
			return fmt.Errorf("%w: unpacks to more than %d bytes", extract.ErrTooLarge, w.Total)
		}
		r, err := f.Open()
		switch {
		case errors.Is(err, extract.ErrEncrypted):
			w.locked++
			w.warn("%q skipped: it needs a password", f.Name)
			continue
		case errors.Is(err, extract.ErrUnsupported):
			w.unread++
			w.warn("%q skipped: its compression is not read", f.Name)
			continue
		case err != nil:
			return err
		}
		_ = r.Close() // nothing has been read
		files = append(files, f)
	}
	if err := w.take(len(z.Files), bytes); err != nil {
		return err
	}
	names := decodeNames(files)
	for i, f := range files {
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = w.part(ctx, names[i], r)
		_ = r.Close() // what was wrong with the member, its reader has been told
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeNames returns the names of members in UTF-8. Those in another charset are guessed together.
func decodeNames(files []*safezip.File) []string {
	var odd strings.Builder
	for _, f := range files {
		if !utf8.ValidString(f.Name) {
			odd.WriteString(f.Name + "\n")
		}
	}
	name := ""
	if r, err := charset.Decode([]byte(odd.String()), ""); err == nil && odd.Len() > 0 {
		name = r.Charset
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
		if !utf8.ValidString(f.Name) {
			if r, err := charset.Decode([]byte(f.Name), name); err == nil {
				names[i] = r.Text
			}
		}
	}
	return names
}

// wanted tells whether a member is a file to be handed on, and if not, why, unless nobody would ask.
func (w *walk) wanted(name string, mode fs.FileMode, size int64) (ok bool, why string) {
	if mode.IsDir() {
		return false, ""
	}
	base := path.Base(name)
	if base == ".DS_Store" || strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(base, "._") {
		return false, "" // what macOS puts beside the files
	}
	w.found++
	switch {
	case mode&fs.ModeSymlink != 0:
		return false, "a link"
	case !mode.IsRegular():
		return false, "a device"
	case size > w.Member:
		return false, fmt.Sprintf("unpacks to more than %d bytes", w.Member)
	}
	return true, ""
}

// compressed walks a compressed tar, or hands on the file that was compressed.
func (w *walk) compressed(ctx context.Context) (err error) {
	compression := w.format
	r, err := w.decompress(compression)
	if err != nil {
		return err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return errors.Join(err, r.close())
	}
	if isTar(head[:n]) {
		w.format = "tar"
		if err := r.close(); err != nil {
			return err
		}
		return w.tar(ctx, compression)
	}
	size, err := io.Copy(io.Discard, withContext{ctx, r})
	size += int64(n)
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	w.found++
	if size > w.Member {
		return fmt.Errorf("%w: unpacks to more than %d bytes", extract.ErrTooLarge, w.Member)
	}
	if err := w.take(1, size); err != nil {
		return err
	}
	if r, err = w.decompress(compression); err != nil {
		return err
	}
	name := r.name
	if name == "" {
		name = path.Base(strings.ReplaceAll(w.in.Name, `\`, "/"))
		if ext := path.Ext(name); len(ext) > 1 {
			name = strings.TrimSuffix(name, ext)
		}
	}
	defer func() { err = cmp.Or(err, r.close()) }()
	return w.part(ctx, name, r)
}

// tar goes through a tar, and if there is nothing against it through it again, handing on its files.
func (w *walk) tar(ctx context.Context, compression string) error {
	var bytes int64
	entries := 0
	err := w.eachInTar(ctx, compression, func(h *tar.Header, _ io.Reader) error {
		if entries++; entries > w.Entries {
			return fmt.Errorf("%w: more than %d members", extract.ErrTooLarge, w.Entries)
		}
		if kind(h).IsRegular() && h.Size <= w.Member {
			if bytes += h.Size; bytes > w.Total {
				return fmt.Errorf("%w: unpacks to more than %d bytes", extract.ErrTooLarge, w.Total)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.take(entries, bytes); err != nil {
		return err
	}
	return w.eachInTar(ctx, compression, func(h *tar.Header, r io.Reader) error {
		if h.Typeflag == tar.TypeXGlobalHeader {
			return nil
		}
		if ok, why := w.wanted(h.Name, kind(h), h.Size); !ok {
			if why != "" {
				w.warn("%q skipped: %s", h.Name, why)
			}
			return nil
		}
		return w.part(ctx, strings.ToValidUTF8(h.Name, "\uFFFD"), r)
	})
}

// kind is the type of a member. Hard links are links here: what they point to comes by itself.
func kind(h *tar.Header) fs.FileMode {
	switch h.Typeflag {
	case tar.TypeReg, '\x00', tar.TypeGNUSparse, tar.TypeCont:
		if strings.HasSuffix(h.Name, "/") {
			return fs.ModeDir
		}
		return 0
	case tar.TypeDir:
		return fs.ModeDir
	case tar.TypeLink, tar.TypeSymlink:
		return fs.ModeSymlink
	}
	return fs.ModeDevice
}

// eachInTar calls f with each member.
func (w *walk) eachInTar(ctx context.Context, compression string, f func(*tar.Header, io.Reader) error) (err error) {
	var r io.Reader = io.NewSectionReader(w.src, 0, w.src.Size())
	if compression != "" {
		d, err := w.decompress(compression)
		if err != nil {
			return err
		}
		defer func() { err = cmp.Or(err, d.close()) }()
		r = d
	}
	t := tar.NewReader(withContext{ctx, r})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && (h == nil || !errors.Is(err, tar.ErrInsecurePath)) {
			return tarError(err)
		}
		if err := f(h, tarMember{t}); err != nil {
			return err
		}
	}
}

// tarMember reads a member and says what is wrong with the archive.
type tarMember struct{ r io.Reader }

func (t tarMember) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		err = tarError(err)
	}
	return n, err
}

// tarError says what an error of the tar reader means, which hands on those of what it reads from.
func tarError(err error) error {
	var pe *fs.PathError
	for _, known := range []error{extract.ErrTooLarge, extract.ErrDamaged, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.As(err, &pe) {
		return err
	}
	return fmt.Errorf("%w: tar: %w", extract.ErrDamaged, err)
}

// withContext ends when its context does.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (c withContext) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// inflated is a decompressed stream that knows how much it has made of how much.
type inflated struct {
	format string
	name   string // that the stream says it had
	r      io.Reader
	packed *counter
	out    int64
	walk   *walk
	close  func() error
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// maxWindow and maxDictionary are how much memory a zstd frame and a block of xz may ask for: what the highest of their usual levels take.
const (
	maxWindow     = 32 << 20
	maxDictionary = 64 << 20
)

func (w *walk) decompress(compression string) (*inflated, error) {
	i := &inflated{format: compression, packed: &counter{r: io.NewSectionReader(w.src, 0, w.src.Size())}, walk: w, close: func() error { return nil }}
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(i.packed)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", extract.ErrDamaged, err)
		}
		i.r, i.name = z, z.Name
	case "bzip2":
		i.r = bzip2.NewReader(i.packed)
	case "xz":
		var err error
		if w.xz == nil {
			w.xz, err = xz.NewReader(i.packed, maxDictionary)
		} else { // its dictionary, which may be large, is there already
			err = w.xz.Reset(i.packed)
		}
		if err != nil {
			return nil, xzError(err)
		}
		i.r = w.xz
	case "zstd":
		z, err := zstd.NewReader(i.packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", extract.ErrDamaged, err)
		}
		i.r, i.close = z, func() error { z.Close(); return nil }
	}
	return i, nil
}

// xzError says what an error of the xz reader means, which hands on those of what it reads from.
func xzError(err error) error {
	kind := extract.ErrDamaged
	switch {
	case errors.Is(err, xz.ErrMemlimit):
		kind = extract.ErrTooLarge
	case errors.Is(err, xz.ErrOptions), errors.Is(err, xz.ErrUnsupportedCheck):
		kind = extract.ErrUnsupported
	}
	return fmt.Errorf("%w: %w", kind, err)
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	i.out += int64(n)
	switch {
	case i.out > i.walk.Floor && i.out/i.walk.Ratio > i.packed.n:
		return 0, fmt.Errorf("%w: unpacks to more than %d times its size", extract.ErrTooLarge, i.walk.Ratio)
	case i.out > i.walk.Total+1<<20*16: // what a tar has beside its files
		return 0, fmt.Errorf("%w: unpacks to more than %d bytes", extract.ErrTooLarge, i.walk.Total)
	case err == nil, err == io.EOF:
		return n, err
	case i.format == "xz":
		return n, xzError(err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return n, fmt.Errorf("%w: %w", extract.ErrTooLarge, err)
	}
	return n, fmt.Errorf("%w: %w", extract.ErrDamaged, err)
}

// maxName is how many bytes of a name are kept, the last.
const maxName = 400

// harmless makes a relative path that stays below where it starts of any name, and says whether it had to change it.
func harmless(name string) (string, bool) {
	slashed := strings.ReplaceAll(name, `\`, "/")
	changed := slashed != name
	if len(slashed) >= 2 && slashed[1] == ':' && unicode.IsLetter(rune(slashed[0])) {
		slashed, changed = slashed[2:], true
	}
	if strings.HasPrefix(slashed, "/") {
		changed = true
	}
	var parts []string
	for part := range strings.SplitSeq(slashed, "/") {
		switch part {
		case "", ".":
		case "..":
			changed = true
		default:
			parts = append(parts, part)
		}
	}
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			changed = true
			return '_'
		}
		return r
	}, strings.Join(parts, "/"))
	if len(clean) > maxName {
		at := len(clean) - maxName
		for !utf8.RuneStart(clean[at]) {
			at++
		}
		clean, changed = strings.TrimLeft(clean[at:], "/"), true
	}
	if clean == "" {
		clean, changed = "unnamed", true
	}
	return clean, changed
}

// numbered is a name for a file whose own is taken.
func numbered(name string, n int) string {
	clean, _ := harmless(name)
	ext := path.Ext(clean)
	return strings.TrimSuffix(clean, ext) + " (" + strconv.Itoa(n) + ")" + ext
}
