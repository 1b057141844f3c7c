package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
)

// file is a file to add.
type file struct {
	path     string // as people know it: the argument and what is below it
	absolute string
	source   string // the absolute path of the argument
	key      string
	named    bool // an argument itself, not found in a folder
	size     int64
	open     func() (fs.File, error)
	err      error // why it cannot be read, if that is known already
	// describe, if not nil, fills in what is known of the document.
	describe func(*llmemory.Document)
	// stored, if not nil, is called when the document is stored, or is found to be stored already.
	stored func(*llmemory.Added)
}

// skipped is something in a folder that is not added, with the reason.
type skipped struct {
	file
	reason, why string
}

// gathered is what the arguments of add stand for.
type gathered struct {
	files   []file
	skipped []skipped
	// clashes are the paths of files whose keys were alike and became their absolute paths.
	clashes []string
	roots   []*os.Root
	folders []string          // absolute paths of the arguments that are folders, each once
	given   map[string]string // what they are called in the arguments
	partial []string          // those of them of which a part could not be read
}

func (g *gathered) close() {
	for _, r := range g.roots {
		_ = r.Close() // only read from
	}
}

// gather finds the files that the arguments name, without reading any. A folder stands for the regular files below it, hidden
// ones and what symbolic links lead to aside; the files of a folder cannot lead out of it. A file named twice counts once.
func gather(arguments []string) (*gathered, error) {
	g := &gathered{given: map[string]string{}}
	for _, argument := range arguments {
		if err := g.add(argument); err != nil {
			g.close()
			return nil, err
		}
	}
	g.settleKeys()
	return g, nil
}

func (g *gathered) add(argument string) error {
	absolute, err := filepath.Abs(argument)
	if err != nil {
		return fmt.Errorf("find %s: %w", argument, err)
	}
	single := file{path: argument, absolute: absolute, source: absolute, key: filepath.Base(absolute), named: true}
	info, err := os.Stat(argument) // an argument may be a symbolic link: the user chose it
	switch {
	case err != nil:
		single.err = err
	case info.IsDir():
		root, err := os.OpenRoot(absolute)
		if err != nil {
			single.err = err
			break
		}
		g.roots = append(g.roots, root)
		if !slices.Contains(g.folders, absolute) {
			g.folders = append(g.folders, absolute)
			g.given[absolute] = argument
		}
		g.walk(folder{root}, argument, absolute)
		return nil
	case !info.Mode().IsRegular():
		single.err = errNotFile
	default:
		single.size = info.Size()
	}
	single.open = func() (fs.File, error) { return os.OpenFile(argument, os.O_RDONLY|nonBlocking, 0) }
	g.files = append(g.files, single)
	return nil
}

// errNotFile is what is wrong with an argument that is a pipe, a socket or a device: reading it might never end.
var errNotFile = errors.New("is neither a regular file nor a folder; to add what a program writes, use \"-\"")

// folder is the tree below a directory, out of which nothing in it can lead.
type folder struct{ root *os.Root }

// Open implements [fs.FS].
func (f folder) Open(name string) (fs.File, error) {
	return f.root.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
}

// walk adds the files of a folder. Their keys begin with the folder's name, so that they do not depend on where the program is
// started.
func (g *gathered) walk(tree fs.FS, argument, absolute string) {
	base := filepath.Base(absolute)
	if base == string(filepath.Separator) {
		base = ""
	}
	// The callback handles every error itself.
	_ = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		f := file{
			path:     filepath.Join(argument, filepath.FromSlash(name)),
			absolute: filepath.Join(absolute, filepath.FromSlash(name)),
			source:   absolute,
			key:      path.Join(base, name),
		}
		hidden := name != "." && strings.HasPrefix(path.Base(name), ".")
		switch {
		case err != nil:
			f.err = err
			g.files = append(g.files, f)
			g.partial = append(g.partial, absolute)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden:
		case d.Type()&fs.ModeSymlink != 0:
			g.skipped = append(g.skipped, skipped{f, "symlink", "is a symbolic link"})
		case !d.Type().IsRegular():
			g.skipped = append(g.skipped, skipped{f, "not_a_file", "is no regular file"})
		default:
			f.open = func() (fs.File, error) { return tree.Open(name) }
			if info, err := d.Info(); err == nil { // only to tell how far the work is
				f.size = info.Size()
			}
			g.files = append(g.files, f)
		}
		return nil
	})
}

// settleKeys drops files that were named twice and gives files whose keys are alike their absolute paths as keys.
func (g *gathered) settleKeys() {
	seen := map[string]int{}
	files := g.files[:0]
	for _, f := range g.files {
		if at, twice := seen[f.absolute]; twice {
			files[at].named = files[at].named || f.named
			continue
		}
		seen[f.absolute] = len(files)
		files = append(files, f)
	}
	g.files = files
	uses := map[string]int{}
	for _, f := range files {
		uses[f.key]++
	}
	for i := range files {
		if f := &files[i]; uses[f.key] > 1 {
			f.key = filepath.ToSlash(f.absolute)
			g.clashes = append(g.clashes, f.path)
		}
	}
}
