package migrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is one migration.
type File struct {
	Version int64
	Name    string // "create_notes" of 001_create_notes.sql
	Up      Script
	// Down undoes Up; nil if there is no down file.
	Down *Script
}

// Script is the content of one file.
type Script struct {
	Path string
	// Text is the content, as written.
	Text string
	// Checksum identifies the content: SHA-256 in hexadecimal, with line ends
	// normalised and white space around it dropped, before templates are rendered,
	// so that it is the same in every schema and checkout.
	Checksum string
	// NoTransaction says that the file asks to be run outside a transaction.
	NoTransaction bool
}

const (
	suffix        = ".sql"
	downSuffix    = ".down.sql"
	noTransaction = "-- pgdbm:no-transaction"
)

// Load reads the migrations of one folder, in order of version. Every fault of
// every file is reported at once, in an error that wraps [ErrFiles].
func Load(fsys fs.FS) ([]File, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	var (
		faults []error
		files  = map[int64]*File{}
		downs  = map[int64]Script{}
	)
	fault := func(file, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{file}, args...)...))
	}
	for _, e := range entries {
		file := e.Name()
		if e.IsDir() || path.Ext(file) != suffix {
			continue
		}
		base, down := strings.CutSuffix(file, downSuffix)
		if !down {
			base = strings.TrimSuffix(file, suffix)
		}
		version, name, err := parseName(base)
		if err != nil {
			fault(file, "%w", err)
			continue
		}
		content, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		script, err := newScript(file, string(content))
		if err != nil {
			fault(file, "%w", err)
			continue
		}
		if down {
			if old, ok := downs[version]; ok {
				fault(file, "version %d is already undone by %s", version, old.Path)
				continue
			}
			downs[version] = script
			continue
		}
		if old, ok := files[version]; ok {
			fault(file, "version %d is already used by %s", version, old.Up.Path)
			continue
		}
		files[version] = &File{Version: version, Name: name, Up: script}
	}
	for version, script := range downs {
		f, ok := files[version]
		switch {
		case !ok:
			fault(script.Path, "there is no version %d to undo", version)
		case strings.TrimSuffix(script.Path, downSuffix) != strings.TrimSuffix(f.Up.Path, suffix):
			fault(script.Path, "its name differs from that of %s", f.Up.Path)
		default:
			f.Down = &script
		}
	}
	if len(files) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("the folder has no migration (NNN_name.sql)"))
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, fmt.Errorf("%w: %w", ErrFiles, errors.Join(faults...))
	}
	out := make([]File, 0, len(files))
	for _, f := range files {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(a.Version, b.Version) })
	return out, nil
}

// parseName splits NNN_name.
func parseName(base string) (int64, string, error) {
	number, name, ok := strings.Cut(base, "_")
	if !ok || number == "" || name == "" {
		return 0, "", errors.New("the name is not of the form NNN_name.sql or NNN_name.down.sql")
	}
	for i := range len(number) {
		if number[i] < '0' || number[i] > '9' {
			return 0, "", errors.New("the name does not start with a number and an underscore")
		}
	}
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil || version == 0 || version == math.MaxInt64 {
		return 0, "", fmt.Errorf("version %s is out of range", number)
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '_' && r != '-' {
			return 0, "", fmt.Errorf("the name holds %q; letters, digits, _ and - are allowed", r)
		}
	}
	return version, name, nil
}

func newScript(file, text string) (Script, error) {
	if !utf8.ValidString(text) {
		return Script{}, errors.New("the content is not valid UTF-8")
	}
	// An editor's byte order mark is no part of SQL.
	text = strings.TrimPrefix(text, "\ufeff")
	s := Script{Path: file, Text: text, Checksum: Checksum(text)}
	first, _, _ := strings.Cut(text, "\n")
	s.NoTransaction = strings.TrimRight(first, " \t\r") == noTransaction
	return s, nil
}

// Checksum returns the identity of a file's content; see [Script].
func Checksum(text string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))))
	return hex.EncodeToString(sum[:])
}
