package modelfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Store is a folder of models, a folder each.
type Store struct {
	// Dir is the folder; it need not be there yet.
	Dir string
}

// Path is where a model's files are, or will be.
func (s Store) Path(m *Model) string { return filepath.Join(s.Dir, m.Name) }

// Has tells whether a model is there, by the sizes of its files: [Store.Verify] also reads them.
func (s Store) Has(m *Model) bool {
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(s.Path(m), filepath.FromSlash(f.Path)))
		if err != nil || !info.Mode().IsRegular() || info.Size() != f.Bytes {
			return false
		}
	}
	return true
}

// Verify reads a model's files and compares them with their pins. The error wraps [fs.ErrNotExist] if the model is not there, and
// [ErrChecksum] if a file is not what it should be.
func (s Store) Verify(ctx context.Context, m *Model) error {
	for _, f := range m.Files {
		if err := s.verifyFile(ctx, m, f); err != nil {
			return err
		}
	}
	return nil
}

func (s Store) verifyFile(ctx context.Context, m *Model, f File) error {
	r, err := os.Open(filepath.Join(s.Path(m), filepath.FromSlash(f.Path)))
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read from
	sum := sha256.New()
	n, err := io.Copy(sum, &cancelled{ctx, r})
	if err != nil {
		return err
	}
	return f.verify(n, sum.Sum(nil))
}

// Entry is a model that a store has.
type Entry struct {
	// Name is the name of its folder, Path the folder.
	Name, Path string
	// Model is what is known of it, nil for a folder that somebody else put there.
	Model *Model
	// Bytes is the size of its files.
	Bytes int64
}

// List returns the models of the store: known ones that are whole, and other folders with a configuration and weights.
func (s Store) List() ([]Entry, error) {
	folders, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []Entry
	for _, d := range folders {
		e := Entry{Name: d.Name(), Path: filepath.Join(s.Dir, d.Name())}
		if strings.HasPrefix(e.Name, ".") {
			continue
		}
		if m, err := Find(e.Name); err == nil && m.Name == e.Name {
			if e.Model = m; !s.Has(m) {
				continue
			}
		} else if !exists(filepath.Join(e.Path, "config.json")) || !exists(filepath.Join(e.Path, "model.safetensors")) {
			continue
		}
		err := filepath.WalkDir(e.Path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // what cannot be read is not counted
			}
			if info, err := d.Info(); err == nil {
				e.Bytes += info.Size()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock keeps other processes from pulling the same model. waiting is called once if it has to wait.
func (s Store) lock(ctx context.Context, m *Model, waiting func()) (release func(), err error) {
	path := filepath.Join(s.Dir, "."+m.Name+".lock")
	for told := false; ; {
		release, err := tryLock(path)
		if err != nil || release != nil {
			return release, err
		}
		if !told {
			told = true
			waiting()
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// The beginnings of the names of what is not done yet.
func (s Store) newPrefix(m *Model) string  { return "." + m.Name + ".new-" }
func (s Store) oldPrefix(m *Model) string  { return "." + m.Name + ".old-" }
func (s Store) partPrefix(m *Model) string { return "." + m.Name + ".part-" }

// sweep removes what interrupted pulls left, under the lock.
func (s Store) sweep(m *Model, prefixes ...string) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return // it is tidied another time
	}
	for _, e := range entries {
		for _, p := range prefixes {
			if strings.HasPrefix(e.Name(), p) {
				_ = os.RemoveAll(filepath.Join(s.Dir, e.Name())) // likewise
			}
		}
	}
}

// install puts a finished folder in its place, in one step that cannot be half done.
func (s Store) install(m *Model, dir string) error {
	final := s.Path(m)
	if _, err := os.Lstat(final); err == nil { // there, but not as it should be
		old, err := os.MkdirTemp(s.Dir, s.oldPrefix(m)+"*")
		if err != nil {
			return err
		}
		if err := os.Rename(final, filepath.Join(old, m.Name)); err != nil {
			return err
		}
	}
	if err := os.Rename(dir, final); err != nil {
		return fmt.Errorf("put the model in its place: %w", err)
	}
	if d, err := os.Open(s.Dir); err == nil {
		_ = d.Sync() // where that is possible, the name survives a power loss too
		_ = d.Close()
	}
	return nil
}
