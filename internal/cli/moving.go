package cli

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/transfer"
)

const movedJSON = `

With --json:
  {"documents","created","updated","unchanged","kept","failed","skipped","verified",
   "generations":[{"provider","model","dimensions","profile"}],
   "owners":[{"owner","documents","leaves","parents","vectors"}]}
where owners count what was read, vectors for each generation in turn.`

const exportHelp = `
Writes the documents of the owner to FILE, or to standard output: one line of JSON
for each, with its passages, vectors, dates and metadata. If FILE ends in .gz it is
compressed. FILE is there when it is complete, and not before. With --all-owners it
has what all owners have.` + movedJSON

const importHelp = `
Stores what "export" wrote: the documents that the file has of the owner, or with
--all-owners those of all. They come with the ids, dates, passages and vectors they
had; nothing is embedded anew but what had no vector, by "embed". A compressed file
is known by its content.

A document that is there already, just so, is left alone: a command that was
interrupted is simply given again. One that differs is replaced, unless it was
changed later than the one in the file; --if-exists says otherwise. In the end what
was written is read back and compared; the exit code is 1 if it differs.

A line of the file that was damaged ends the run, and is named; what stands before
it is stored then. Documents that are refused are reported, and the others stored;
the exit code is then 4.` + movedJSON

const copyHelp = `
Copies the documents of the owner from one database to another, as "export" and
"import" would, without a file between. The one that is not named is the one of
--db. It may be interrupted, and given again.

  llmemory copy --to postgres://localhost/app
  llmemory copy --from old.db --all-owners` + movedJSON

func (a *app) exportCommand() *cobra.Command {
	return a.command("export [FILE | -]", "Write documents to a file, vectors included", exportHelp, cobra.MaximumNArgs(1), a.export)
}

func (a *app) importCommand() *cobra.Command {
	return a.command("import FILE | -", "Store the documents of an exported file", importHelp, exactlyOne("FILE, or - for standard input"), a.importFile)
}

func (a *app) copyCommand() *cobra.Command {
	return a.command("copy", "Copy documents to another database, vectors included", copyHelp, cobra.NoArgs, a.copy)
}

// transferOptions reads the flags of a move.
func (a *app) transferOptions() (transfer.Options, error) {
	o := transfer.Options{Owner: a.opts.owner, ToOwner: a.opts.toOwner, NoVectors: a.opts.noVectors}
	if a.opts.allOwners {
		if o.ToOwner != "" {
			return o, usagef("--to-owner goes with one owner, not with --all-owners")
		}
		o.Owner, o.AllOwners = "", true
	}
	switch a.opts.ifExists {
	case "newer", "":
	case string(llmemory.Update), string(llmemory.Skip), string(llmemory.Refuse):
		o.IfExists = llmemory.IfExists(a.opts.ifExists)
	default:
		return o, usagef("--if-exists %q: must be newer, update, skip or error", a.opts.ifExists)
	}
	return o, nil
}

// moving is one run of export, import or copy.
type moving struct {
	*app
	opts     transfer.Options
	progress *progress
}

func (a *app) moving() (*moving, error) {
	opts, err := a.transferOptions()
	if err != nil {
		return nil, err
	}
	m := &moving{app: a, opts: opts, progress: a.progress()}
	m.opts.Report = m.report
	m.opts.Failed = func(f transfer.Failure) {
		m.progress.clear()
		where := ""
		if f.Line > 0 {
			where = fmt.Sprintf("line %d, ", f.Line)
		}
		a.note("%sowner %s, origin %s, %s: %v", where, shown(f.Owner), shown(f.OriginID), shown(f.Key), f.Err)
	}
	return m, nil
}

func (m *moving) report(p transfer.Progress) {
	switch {
	case p.ToVerify > 0:
		m.progress.show("%d of %d compared", p.Verified, p.ToVerify)
	case p.Total > 0:
		m.progress.show("%d of %d documents", p.Documents, p.Total)
	default:
		m.progress.show("%s, owner %s", plural(int(p.Documents), "document"), plain(p.Owner))
	}
}

func (a *app) export(ctx context.Context, args []string) error {
	path := "-"
	if len(args) > 0 {
		path = args[0]
	}
	switch {
	case path == "":
		return usagef("FILE is empty")
	case path == "-" && a.opts.json:
		return usagef("--json goes with a FILE: standard output takes the documents")
	}
	m, err := a.moving()
	if err != nil {
		return err
	}
	memory, closer, err := a.existing(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	if path == "-" {
		r, err := transfer.Export(ctx, memory, a.stdout, m.opts)
		m.progress.clear()
		if err == nil {
			a.note("%s", summary(r))
		}
		return err
	}
	r, err := m.exportTo(ctx, memory, path)
	m.progress.clear()
	if err != nil {
		return err
	}
	if a.opts.json {
		return a.printMoved(r)
	}
	a.printf("%s\n", summary(r))
	return nil
}

// exportTo writes a file under another name, and gives it its own when it is complete. A device or a pipe is written to as it is.
func (m *moving) exportTo(ctx context.Context, memory *llmemory.Memory, path string) (_ *transfer.Result, err error) {
	var file *os.File
	rename := func() error { return nil }
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, usagef("%s is a folder", shown(path))
		}
		if file, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			return nil, err
		}
	} else {
		if file, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"); err != nil {
			return nil, err
		}
		rename = func() error { return errors.Join(file.Sync(), file.Close(), os.Rename(file.Name(), path)) }
		defer func() {
			if err != nil {
				_ = os.Remove(file.Name())
			}
		}()
	}
	defer file.Close() //nolint:errcheck // where it matters rename has closed it
	var w io.Writer = file
	finish := func() error { return nil }
	if strings.HasSuffix(path, ".gz") {
		z := gzip.NewWriter(file)
		w, finish = z, z.Close
	}
	r, err := transfer.Export(ctx, memory, w, m.opts)
	if err == nil {
		err = finish()
	}
	if err == nil {
		err = rename()
	}
	return r, err
}

func (a *app) importFile(ctx context.Context, args []string) error {
	m, err := a.moving()
	if err != nil {
		return err
	}
	var in io.Reader = &interruptible{ctx, a.stdin}
	if args[0] != "-" {
		file, err := os.Open(args[0])
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", shown(args[0]), llmemory.ErrNotFound)
		}
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // only read from
		in = file
		if info, err := file.Stat(); err == nil && !info.Mode().IsRegular() {
			in = &interruptible{ctx, file}
		}
	}
	if in, err = unpacked(in); err != nil {
		return fmt.Errorf("%s: %w", shown(args[0]), err)
	}
	memory, closer, err := a.open(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	r, err := transfer.Import(ctx, memory, in, m.opts)
	m.progress.clear()
	var fault *transfer.LineError
	if errors.As(err, &fault) {
		err = fmt.Errorf("%s: %w", shown(args[0]), err)
	}
	if err == nil && r.Documents() == 0 && r.Skipped > 0 {
		err = fmt.Errorf("documents of owner %q: %w; the file has %s of others: name the --owner, or say --all-owners",
			a.opts.owner, llmemory.ErrNotFound, plural(int(r.Skipped), "document"))
	}
	return m.conclude(r, err)
}

// unpacked returns what a compressed file holds, and any other as it is.
func unpacked(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return in, nil // whatever is wrong with it, reading it tells
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", llmemory.ErrCorrupt, err)
	}
	return z, nil
}

// interruptible gives up a read when the context ends. The read itself cannot be cancelled: the program is about to end.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	type answer struct {
		bytes []byte
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		b := make([]byte, min(len(p), 64<<10))
		n, err := r.in.Read(b)
		done <- answer{b[:n], err}
	}()
	select {
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case got := <-done:
		return copy(p, got.bytes), got.err
	}
}

func (a *app) copy(ctx context.Context, _ []string) error {
	o := &a.opts
	switch {
	case o.copyFrom == "" && o.copyTo == "":
		return usagef("name the database to copy --from, or --to, or both")
	case o.copyFrom == "" && o.fromSchema != "", o.copyTo == "" && o.toSchema != "":
		return usagef("--from-schema and --to-schema go with --from and --to; --schema is that of --db")
	}
	m, err := a.moving()
	if err != nil {
		return err
	}
	home := a.opts
	at := func(db, schema string) (place, string, error) {
		if a.opts = home; db != "" {
			a.opts.db, a.opts.schema, a.opts.readURLs = db, schema, nil
		}
		p, err := a.place()
		return p, a.opts.schema, err
	}
	source, sourceSchema, err := at(o.copyFrom, o.fromSchema)
	if err != nil {
		return err
	}
	from, closeFrom, err := a.existing(ctx, false)
	if err != nil {
		return err
	}
	defer closeFrom()
	target, targetSchema, err := at(home.copyTo, home.toSchema)
	if err != nil {
		return err
	}
	if source == target && sourceSchema == targetSchema && home.toOwner == "" {
		return usagef("--from and --to are the same database; within one, documents go to another owner (--to-owner)")
	}
	to, closeTo, err := a.open(ctx, false)
	if err != nil {
		return err
	}
	defer closeTo()
	a.opts = home
	r, err := transfer.Copy(ctx, from, to, m.opts)
	m.progress.clear()
	return m.conclude(r, err)
}

// conclude tells what was moved and turns it into the run's error.
func (m *moving) conclude(r *transfer.Result, err error) error {
	stored := r.Created + r.Updated
	var differs *transfer.VerifyError
	switch {
	case errors.Is(err, context.Canceled):
		if stored > 0 {
			m.note("%s stored; the same command goes on from there", plural(int(stored), "document"))
		}
		return err
	case errors.As(err, &differs), err != nil && stored == 0:
		return err
	case err != nil:
		return &partlyError{fmt.Sprintf("%s stored, then: %v", plural(int(stored), "document"), err)}
	}
	if m.app.opts.json {
		err = m.printMoved(r)
	} else {
		m.printf("%s\n", summary(r))
		m.printf("%d created, %d updated, %d unchanged, %d kept, %d failed; verified\n", r.Created, r.Updated, r.Unchanged, r.Kept, r.Failed)
	}
	switch {
	case err != nil:
		return err
	case r.Kept > 0 && m.opts.IfExists == "":
		m.note("%s of the target changed later and left alone; --if-exists update replaces them", plural(int(r.Kept), "document"))
	}
	switch {
	case r.Failed == 0:
		return nil
	case r.Failed < r.Documents():
		return &partlyError{fmt.Sprintf("%d of %s failed", r.Failed, plural(int(r.Documents()), "document"))}
	}
	return errReported
}

// summary says what was read.
func summary(r *transfer.Result) string {
	var sum transfer.Counts
	vectors := int64(0)
	for _, c := range r.Owners {
		sum.Documents += c.Documents
		sum.Leaves += c.Leaves
		sum.Parents += c.Parents
		for _, n := range c.Vectors {
			vectors += n
		}
	}
	text := fmt.Sprintf("%s, %s, %s, %s", plural(int(sum.Documents), "document"), plural(int(sum.Leaves), "passage"),
		plural(int(sum.Parents), "section"), plural(int(vectors), "vector"))
	if len(r.Owners) > 1 {
		text += fmt.Sprintf(" of %d owners", len(r.Owners))
	}
	return text
}

func (a *app) printMoved(r *transfer.Result) error {
	type generation struct {
		Provider   string           `json:"provider"`
		Model      string           `json:"model"`
		Dimensions int              `json:"dimensions"`
		Profile    llmemory.Profile `json:"profile"`
	}
	generations := []generation{}
	for _, g := range r.Generations {
		generations = append(generations, generation{g.Model.Provider, g.Model.Model, g.Model.Dimensions, g.Profile})
	}
	return a.printJSON(struct {
		Documents   int64             `json:"documents"`
		Created     int64             `json:"created"`
		Updated     int64             `json:"updated"`
		Unchanged   int64             `json:"unchanged"`
		Kept        int64             `json:"kept"`
		Failed      int64             `json:"failed"`
		Skipped     int64             `json:"skipped"`
		Verified    bool              `json:"verified"`
		Generations []generation      `json:"generations"`
		Owners      []transfer.Counts `json:"owners"`
	}{r.Documents(), r.Created, r.Updated, r.Unchanged, r.Kept, r.Failed, r.Skipped, r.Verified, generations, list(r.Owners)})
}
