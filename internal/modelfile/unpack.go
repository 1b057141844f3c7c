package modelfile

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// errAbsent is that a place does not have the model's files.
var errAbsent = errors.New("does not have the model's files")

// copyFile writes a file of a model from r, and fails unless it is the very file.
func copyFile(ctx context.Context, f File, r io.Reader, dir string) (err error) {
	target := filepath.Join(dir, filepath.FromSlash(f.Path)) // a path of the model's, not one that came from elsewhere
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), &cancelled{ctx, io.LimitReader(r, f.Bytes+1)})
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if err := f.verify(n, sum.Sum(nil)); err != nil {
		return err
	}
	return out.Sync()
}

func (f *File) verify(n int64, sum []byte) error {
	switch got := hex.EncodeToString(sum); {
	case n > f.Bytes:
		return fmt.Errorf("%s: %w: has more than %d bytes", f.Path, ErrChecksum, f.Bytes)
	case n < f.Bytes:
		return fmt.Errorf("%s: %w: has %d bytes and not %d", f.Path, ErrChecksum, n, f.Bytes)
	case got != f.SHA256:
		return fmt.Errorf("%s: %w: SHA-256 is %s and not %s", f.Path, ErrChecksum, got, f.SHA256)
	}
	return nil
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// copyFolder copies a model's files from a folder.
func copyFolder(ctx context.Context, m *Model, from fs.FS, dir string) error {
	for _, f := range m.Files {
		if info, err := fs.Stat(from, f.Path); err != nil || info.IsDir() {
			return fmt.Errorf("%w: %s is missing", errAbsent, f.Path)
		}
	}
	for _, f := range m.Files {
		r, err := from.Open(f.Path)
		if err != nil {
			return err
		}
		err = copyFile(ctx, f, r, dir)
		_ = r.Close() // only read from
		if err != nil {
			return err
		}
	}
	return nil
}

// unpack takes a model's files out of an archive: from wherever in it they lie together, or from an archive within it. Nothing is
// ever written but the model's own files, whatever the archive calls what it holds.
func unpack(ctx context.Context, m *Model, archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("is no archive: %w", err)
	}
	defer z.Close() //nolint:errcheck // only read from
	if found := find(m, &z.Reader); found != nil {
		return copyEntries(ctx, m, found, dir)
	}
	for _, e := range z.File {
		if path.Ext(e.Name) != ".zip" || e.UncompressedSize64 > uint64(2*m.Bytes()+1<<20) {
			continue
		}
		err := unpackInner(ctx, m, e, dir)
		if !errors.Is(err, errAbsent) {
			return err
		}
	}
	return errAbsent
}

func unpackInner(ctx context.Context, m *Model, e *zip.File, dir string) (err error) {
	tmp, err := os.CreateTemp(dir, ".inner-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = tmp.Close() // it is removed
		_ = os.Remove(tmp.Name())
	}()
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	defer r.Close()                                                                                     //nolint:errcheck // only read from
	n, err := io.Copy(tmp, &cancelled{ctx, io.LimitReader(r, int64(min(e.UncompressedSize64, 1<<62)))}) //nolint:gosec // bounded
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	z, err := zip.NewReader(tmp, n)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", e.Name, errAbsent, err)
	}
	found := find(m, z)
	if found == nil {
		return errAbsent
	}
	return copyEntries(ctx, m, found, dir)
}

// find returns the entries of a model's files, in their order, that lie in one folder; nil if there is no such folder.
func find(m *Model, z *zip.Reader) []*zip.File {
	byName := map[string]*zip.File{}
	for _, e := range z.File {
		byName[strings.ReplaceAll(e.Name, `\`, "/")] = e
	}
	weights := m.weights()
	for _, e := range z.File {
		name := strings.ReplaceAll(e.Name, `\`, "/")
		folder, ok := strings.CutSuffix(name, weights.Path)
		if !ok || folder != "" && !strings.HasSuffix(folder, "/") {
			continue
		}
		found := make([]*zip.File, len(m.Files))
		whole := true
		for i, f := range m.Files {
			found[i] = byName[folder+f.Path]
			whole = whole && found[i] != nil
		}
		if whole {
			return found
		}
	}
	return nil
}

func copyEntries(ctx context.Context, m *Model, entries []*zip.File, dir string) error {
	for i, e := range entries {
		r, err := e.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		err = copyFile(ctx, m.Files[i], r, dir)
		_ = r.Close() // only read from
		if err != nil {
			return err
		}
	}
	return nil
}
