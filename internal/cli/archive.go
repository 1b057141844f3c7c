package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
)

const archiveHelp = `
An archive is a folder of entities, which are folders of files at any depth. Each
file has a sidecar beside it: a JSON object in a file of the same name but for the
extension, "2024-05-31-offer.json" for "2024-05-31-offer.pdf", with the member "id"
and optionally "source", "workflow", "mimetype" and "date". What an entity receives
in streams lies below its folder "streams".

Every entity is an owner of its own: none ever sees another one's documents.`

const archiveIndexHelp = `
Adds the files of an archive that have a sidecar, each entity's for the owner of that
name, and updates those that changed. Files of every format are read that "add"
reads; whether one changed is told by its content.

A document has the sidecar's id as origin and key, so it stays the same if its files
are renamed. Its date is the one in its path (YYYY-MM-DD), else the sidecar's "date". Its metadata
are source, workflow and mimetype from the sidecar, archive_path, entity, and stream.

The sidecar's member "llmemory" tells what was done: {"indexed_at","document_id",
"chunks_created"}. It is written when the document was, and nothing else of the
sidecar is changed. The document_id is null for a container, such as a zip archive.

With --prune, documents are deleted whose file or sidecar has gone, or whose sidecar
has another id now: of entities whose folder is there and could be read as a whole.

Sidecars that are no JSON object or have no id are skipped, and standard error says
so; hidden files and folders, and symbolic links, are skipped, too. If several files
have the name of one sidecar, its mimetype says which one it is of; if it does not,
that one fails. The exit code is 4 if some files failed. "llmemory runs --owner ENTITY" lists what became of them.

With --json each document is a line, as with "add --json". --owner has no effect.`

const archiveSearchHelp = `
Finds passages in the documents of one entity, as "llmemory search" does, and tells
in which file of the archive they are. --owner has no effect.

With --json the answer is that of "search --json", with "entity", and with an
"archive_path" in each hit.`

func (a *app) archiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Index and search an archive of files with sidecars",
		Long:  "Index and search an archive of files with sidecars.\n" + archiveHelp,
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("name a subcommand of archive") },
	}
	cmd.AddCommand(
		a.command("index", "Add or update the files of an archive", archiveIndexHelp, cobra.NoArgs, a.archiveIndex),
		a.command("search QUERY", "Find passages in an entity's files", archiveSearchHelp, atLeastOne("word to search for"), a.archiveSearch),
	)
	return cmd
}

// archiveSearch is search for the owner that an entity is.
func (a *app) archiveSearch(ctx context.Context, args []string) error {
	if a.opts.entity == "" {
		return usagef("--entity names the entity to search")
	}
	where, err := a.where()
	if err != nil {
		return err
	}
	if len(a.opts.sources) > 0 {
		values := make([]any, len(a.opts.sources))
		for i, s := range a.opts.sources {
			values[i] = s
		}
		where.Metadata = llmemory.And(where.Metadata, llmemory.Meta("source").In(values...))
	}
	a.opts.owner = a.opts.entity
	return a.find(ctx, strings.Join(args, " "), where)
}

// archivePath is the file of the archive that a document comes from.
func archivePath(d *llmemory.StoredDocument) string {
	name, _ := d.Metadata["archive_path"].(string)
	return name
}

// entity is a folder of an archive, and what is to be done in it.
type entity struct {
	name           string
	path, absolute string // as given, and whole
	files          []file
	skipped        []skipped
	unsure         []string // absolute paths of what is there, though it may not be known of which document
	partial        bool     // a part of it could not be read
}

// archive is an archive that is being indexed.
type archive struct {
	*app
	n         *addition
	roots     []*os.Root // of the entities, out of which nothing in them can lead
	unwritten int        // sidecars of which the documents were stored
	refused   int        // entities that cannot be owners
}

func (a *app) archiveIndex(ctx context.Context, _ []string) error {
	template := llmemory.Document{IfExists: llmemory.Update, Embed: llmemory.Embed(a.opts.embed), Reread: a.opts.reread()}
	if err := checkEmbed(template.Embed); err != nil {
		return err
	}
	x := &archive{app: a}
	defer x.close()
	entities, err := x.scan(ctx)
	if err != nil {
		return err
	}
	memory, closer, err := a.open(ctx, template.Embed != llmemory.EmbedNever)
	if err != nil {
		return err
	}
	defer closer()
	n := a.newAddition(memory, template)
	n.each, x.n = true, n
	for _, e := range entities {
		n.expect(e.files)
	}
	for _, e := range entities {
		if err = x.index(ctx, e); err != nil {
			break
		}
	}
	switch {
	case a.opts.dryRun:
		n.progress.clear()
		err = n.concludeDry(ctx, err)
	default:
		err = n.finish(ctx, err)
	}
	if err == nil && x.unwritten+x.refused > 0 {
		err = &partlyError{fmt.Sprintf("%s not written, %s not indexed", plural(x.unwritten, "sidecar"), plural(x.refused, "folder"))}
	}
	return err
}

func (x *archive) close() {
	for _, r := range x.roots {
		_ = r.Close() // only renamed in, which is done
	}
}

// archiveFolder is the archive to index.
func (a *app) archiveFolder() (string, error) {
	dir := a.opts.archivePath
	if dir == "" {
		home := a.env("HOME")
		if home == "" {
			return "", usagef("--archive-path names the archive")
		}
		dir = filepath.Join(home, "Archive")
	}
	return dir, nil
}

// scan reads the folders and the sidecars of the archive.
func (x *archive) scan(ctx context.Context) ([]entity, error) {
	dir, err := x.archiveFolder()
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read from
	children, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the archive %s: %w", dir, err)
	}
	var entities []entity
	for _, d := range children {
		if x.opts.entity != "" && d.Name() != x.opts.entity || strings.HasPrefix(d.Name(), ".") {
			continue
		}
		if !d.IsDir() {
			if d.Type()&fs.ModeSymlink != 0 {
				x.note("skipped %s: is a symbolic link", shown(filepath.Join(dir, d.Name())))
			}
			continue
		}
		sub, err := root.OpenRoot(d.Name())
		if err != nil {
			x.note("%s: %v", shown(filepath.Join(dir, d.Name())), err)
			x.refused++
			continue
		}
		x.roots = append(x.roots, sub)
		e, err := x.scanEntity(ctx, sub, filepath.Join(dir, d.Name()), filepath.Join(absolute, d.Name()))
		if err != nil {
			return nil, err
		}
		entities = append(entities, e)
	}
	if x.opts.entity != "" && len(entities) == 0 && x.refused == 0 {
		return nil, fmt.Errorf("entity %q in %s: %w", x.opts.entity, dir, llmemory.ErrNotFound)
	}
	return entities, nil
}

// scanEntity finds the files of an entity and the sidecars that go with them. The error is not nil only if the run is to end.
func (x *archive) scanEntity(ctx context.Context, root *os.Root, dir, absolute string) (entity, error) {
	g := &gathered{}
	g.walk(folder{root}, dir, absolute)
	e := entity{name: filepath.Base(absolute), path: dir, absolute: absolute, skipped: g.skipped, partial: len(g.partial) > 0}
	contents := map[string][]file{} // by path without extension
	var sidecars []file
	for _, f := range g.files {
		switch {
		case f.err != nil:
			e.files = append(e.files, f)
		case strings.EqualFold(path.Ext(f.key), ".json"):
			sidecars = append(sidecars, f)
		default:
			contents[stem(f.key)] = append(contents[stem(f.key)], f)
		}
	}
	ids := map[string]string{} // paths of sidecars
	for _, side := range sidecars {
		if err := ctx.Err(); err != nil {
			return e, err
		}
		beside := contents[stem(side.key)]
		s, err := x.readSidecar(side)
		var skip *skipError
		switch {
		case errors.As(err, &skip):
		case err != nil:
			side.err = err
			e.files = append(e.files, side)
			delete(contents, stem(side.key))
			continue
		case len(beside) == 0:
			skip = &skipError{"no_content", "is a sidecar of no file"}
		case ids[s.id] != "":
			side.err = fmt.Errorf("%w: %s has the same id", llmemory.ErrConflict, ids[s.id])
			e.files = append(e.files, side)
			delete(contents, stem(side.key))
			continue
		}
		if skip != nil {
			e.skipped = append(e.skipped, skipped{side, skip.reason, skip.why})
			delete(contents, stem(side.key)) // its fault has been told of
			continue
		}
		delete(contents, stem(side.key))
		ids[s.id] = side.path
		f, err := x.choose(ctx, s, beside)
		if err != nil {
			side.err = err
			e.files = append(e.files, side)
			continue
		}
		meta := s.metadata(f.key)
		date := dateOf(f.key, s)
		f.describe = func(d *llmemory.Document) {
			d.OriginID, d.Key, d.Media, d.Metadata, d.Date = s.id, s.id, s.mimetype, meta, date
		}
		name := strings.TrimPrefix(side.key, e.name+"/")
		f.stored = func(r *llmemory.Added) { x.mark(root, name, side.path, s, r) }
		e.files = append(e.files, f)
	}
	for _, f := range g.files {
		if slices.ContainsFunc(contents[stem(f.key)], func(c file) bool { return c.key == f.key }) {
			e.skipped = append(e.skipped, skipped{f, noSidecar, "has no sidecar"})
		} else {
			e.unsure = append(e.unsure, f.absolute)
		}
	}
	return e, nil
}

// noSidecar is why files are skipped that have none.
const noSidecar = "no_sidecar"

// stem is a path without its extension.
func stem(key string) string { return strings.TrimSuffix(key, path.Ext(key)) }

// choose returns the file that a sidecar is of: the only one of its name, or the one that is what the sidecar says.
func (x *archive) choose(ctx context.Context, s *sidecar, beside []file) (file, error) {
	if len(beside) == 1 {
		return beside[0], nil
	}
	var found, names []string
	at := 0
	for i := range beside {
		names = append(names, path.Base(beside[i].key))
		if s.mimetype == "" {
			continue
		}
		if media, err := mediaOf(ctx, &beside[i]); err == nil && media == baseMedia(s.mimetype) {
			found, at = append(found, names[i]), i
		} else if ctx.Err() != nil {
			return file{}, ctx.Err()
		}
	}
	if len(found) == 1 {
		return beside[at], nil
	}
	return file{}, fmt.Errorf("%w: may be of %s, and its mimetype does not say of which", llmemory.ErrConflict, strings.Join(names, ", "))
}

// mediaOf is the MIME type that a file has by its content and its name.
func mediaOf(ctx context.Context, f *file) (string, error) {
	r, err := openFile(f)
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // only read from
	src, err := extract.Input{Reader: r}.Open(ctx, 0)
	if err != nil {
		return "", err
	}
	defer src.Close() //nolint:errcheck // only read from
	kind, err := all.Detect(src, path.Base(f.key), "")
	if kind.Media != "" {
		err = nil // damaged, but known
	}
	return kind.Media, err
}

func baseMedia(s string) string {
	base, _, err := mime.ParseMediaType(s)
	if err != nil {
		return strings.ToLower(s)
	}
	return base
}

// maxSidecar is how many bytes a sidecar may have.
const maxSidecar = 1 << 20

// readSidecar reads the sidecar in a file. What is no sidecar is a [skipError].
func (x *archive) readSidecar(f file) (*sidecar, error) {
	r, err := openFile(&f)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read from
	raw, err := io.ReadAll(io.LimitReader(r, maxSidecar+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > maxSidecar:
		return nil, &skipError{"sidecar", "is too large for a sidecar"}
	}
	s, err := parseSidecar(raw)
	if err != nil {
		return nil, &skipError{"sidecar", err.Error()}
	}
	return s, nil
}

// metadata are those of the document in a file of the archive.
func (s *sidecar) metadata(key string) map[string]any {
	parts := strings.Split(key, "/")
	m := map[string]any{"archive_path": key, "entity": parts[0]}
	for name, value := range map[string]string{"source": s.source, "workflow": s.workflow, "mimetype": s.mimetype} {
		if value != "" {
			m[name] = value
		}
	}
	if len(parts) > 3 && parts[1] == "streams" {
		stream := parts[2 : len(parts)-1]
		if at := slices.IndexFunc(stream, year.MatchString); at >= 0 {
			stream = stream[:at]
		}
		if len(stream) > 0 {
			m["stream"] = strings.Join(stream, "/")
		}
	}
	return m
}

var (
	year  = regexp.MustCompile(`^\d{4}$`)
	dated = regexp.MustCompile(`(?:^|[^0-9])(\d{4}-\d\d-\d\d)(?:[^0-9]|$)`)
)

// dateOf is the date of a document: the last one in its path, else what its sidecar says. The zero time means that there is none.
func dateOf(key string, s *sidecar) time.Time {
	parts := strings.Split(key, "/")
	for _, part := range slices.Backward(parts[1:]) {
		if m := dated.FindStringSubmatch(part); m != nil {
			if day, err := time.Parse(time.DateOnly, m[1]); err == nil && day.Year() > 0 {
				return day
			}
		}
	}
	if date, err := parseDate("date", s.date, false); err == nil && date.Year() > 0 && date.Year() <= 9999 {
		return date
	}
	return time.Time{}
}

// index adds the files of an entity for the owner of its name. The error is not nil if the run cannot go on.
func (x *archive) index(ctx context.Context, e entity) error {
	if len(e.files)+len(e.skipped) == 0 {
		return nil
	}
	n := x.n
	owner := n.memory.Owner(e.name)
	var invalid *llmemory.InvalidError
	switch _, err := owner.Runs(ctx, &llmemory.RunsOptions{Limit: 1}); {
	case errors.As(err, &invalid):
		x.note("%s: %v", shown(e.absolute), err)
		x.refused++
		return nil
	case err != nil:
		return err
	}
	n.begin(owner, owner.LogRun(archiveOrigin, []string{e.absolute}), e.skipped)
	err := n.run(ctx, e.files, false)
	if err == nil && n.opts.prune {
		err = x.prune(ctx, e)
	}
	if end := n.end(ctx, err == nil); err == nil {
		err = end
	}
	return err
}

// archiveOrigin is the origin of the runs over archives; their documents have others.
const archiveOrigin = "archive"

// prune deletes the documents of an entity whose file or sidecar has gone.
func (x *archive) prune(ctx context.Context, e entity) error {
	for _, path := range e.unsure {
		if _, seen := x.n.seen[path]; !seen {
			x.n.seen[path] = sight{status: llmemory.Skipped}
		}
	}
	for i := range e.skipped {
		if s := &e.skipped[i]; s.reason == noSidecar {
			delete(x.n.seen, s.absolute)
		}
	}
	return x.n.pruneFolder(ctx, archiveOrigin, e.absolute, e.path, !e.partial)
}

// mark writes into a sidecar what became of its file, if that is not there yet.
func (x *archive) mark(root *os.Root, name, shownAs string, read *sidecar, r *llmemory.Added) {
	if r.Status == llmemory.Unchanged && read.marked(r) {
		return
	}
	if err := x.rewrite(root, name, read.id, r); err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		x.unwritten++
		x.n.progress.clear()
		x.note("%s: the document is stored, but the sidecar was not written: %v", shown(shownAs), err)
	}
}

// rewrite puts a new file in the place of a sidecar, at once and with the same permissions.
func (x *archive) rewrite(root *os.Root, name, id string, r *llmemory.Added) (err error) {
	// It may have changed since it was read.
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is no regular file any more")
	}
	now, err := x.readSidecar(file{open: func() (fs.File, error) { return folder{root}.Open(name) }})
	if err != nil {
		return err
	}
	if now.id != id {
		return errors.New("has another id now")
	}
	raw := now.with(r, time.Now())
	temporary := path.Join(path.Dir(name), fmt.Sprintf(".llmemory-%d-%d.tmp", os.Getpid(), time.Now().UnixNano()))
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temporary) // the first error counts
		}
	}()
	_, err = f.Write(raw)
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return root.Rename(temporary, name)
}
