package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
)

const addHelp = `
Adds files, folders with all that is below them, and with "-" what standard
input brings: documents of many formats, mail and mailboxes, and what lies in
archives. Adding again updates: what did not change is left alone, unread.

In folders hidden files, symbolic links and what holds no text are skipped, and
standard error says so. A file that cannot be read is reported, and the others
are added; the exit code is then 4. "llmemory runs" lists what became of every file
of every run. Attachments and members of archives become
documents of their own, each with an outcome of its own.

A document is known by its owner, origin and key. The key of a file is its path
from the named folder on, the folder's name included: "docs/a/b.md" for a/b.md
after "add docs", "add ./docs/" and "add /srv/docs" alike. The key of a file that
is named itself is its base name. Files of one call whose keys would be alike
get their absolute paths as keys, and standard error says so. What comes from
standard input has --key, else --name, else a hash of its content as key.

With --prune, documents that came from a named folder and whose file has gone are
deleted: those that the ledger knows to be from that folder and origin, and only
after the whole folder was read. With --dry-run nothing is stored, and the outcomes
are what they would be, with what embedding would take.

A file that failed because of what is in it fails again unread, until it or this
program changes; what failed for a reason that may have gone, such as a timeout, is
tried again each time. With --retry-failed everything that failed is.

With --watch it stays and follows the folders: what changes is added as soon as it
has been left alone for half a second, and with --prune, what goes is deleted. Once a
minute all files are looked at, too. Ctrl-C ends it, with exit code 130 as it ends
everything; what was stored stays.

With --context-model a language model writes a line of context for each passage that is
new, which is searched and embedded with it. --dry-run tells what that would cost, and
--context-budget ends it; the documents are stored all the same.

With --json each document is a line:
  {"path","document_id","status","chunks","chunks_reused","embedded","pending","error"}
and with a context model "contexts" and "no_context" count passages that got a line or are
without. status is created, updated, unchanged, failed, skipped or removed. Those that
failed or were skipped have a "reason", too: unsupported, damaged, encrypted, no_text, too_large, timeout,
not_a_file, symlink, gone, denied, unreadable, invalid, conflict or unavailable.`

func (a *app) addCommand() *cobra.Command {
	help := addHelp + "\n\nTypes are " + strings.Join(typeNames(), ", ") + ":\nlabels to search by; the text is read as its file's name and content say."
	return a.command("add PATH... | -", "Add or update documents", help, atLeastOne("PATH, or - for standard input"), a.add)
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name at least one %s", what)
		}
		if slices.Contains(args, "") {
			return usagef("an argument is empty")
		}
		return nil
	}
}

// Batches end at these marks, so that a run of any size needs the memory of one batch.
const (
	batchDocuments = 64
	bareDocuments  = 900 // where no vectors are made, which is so fast that nobody waits for the outcome; each holds an open file
	batchBytes     = 16 << 20
)

// sight is what a run has seen of a file.
type sight struct {
	status   llmemory.Status
	document string // that there is of it; "" if there is none, or the file has not been looked at
}

// addition is one run of add.
type addition struct {
	*app
	memory   *llmemory.Memory
	owner    *llmemory.Owner
	log      *llmemory.RunLog
	seen     map[string]sight // files and what lies within them, by absolute path
	stored   map[string]bool  // documents that were seen
	plan     plan
	notes    notes
	template llmemory.Document // what the flags say of every document
	each     bool              // documents have origins of their own, so that what is wrong with one is no flag's fault
	progress *progress
	total    int
	far      advance

	batch    batch
	finished int // files that are done with
	done     map[llmemory.Status]int
	skipped  int
	pending  int   // passages that wait for a vector
	embedErr error // the first
	watched  pass
}

// pass is what an addition needs to know that is one of many of the same folders. The zero value is of one that stands alone.
type pass struct {
	told    map[string]string // why files have no document, by absolute path, as was told; nil if there are no other passes
	later   bool              // it is not the first: only what is new is told
	partial bool              // only some of the files are looked at: only what is new enters the ledger
}

// batch are documents that are added together.
type batch struct {
	documents []llmemory.Document
	files     []*file
	open      []io.Closer // their readers
	bytes     int64
}

func (b *batch) put(f *file, d llmemory.Document, r io.Closer) {
	b.documents, b.files, b.open = append(b.documents, d), append(b.files, f), append(b.open, r)
	b.bytes += f.size
}

// release closes the files.
func (b *batch) release() {
	for _, r := range b.open {
		_ = r.Close() // only read from
	}
	*b = batch{}
}

func (a *app) add(ctx context.Context, args []string) error {
	template, err := a.template()
	if err != nil {
		return err
	}
	stdin := slices.Contains(args, "-")
	paths := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "-" })
	if a.opts.follow {
		return a.watch(ctx, template, args)
	}
	g, err := gather(paths)
	if err != nil {
		return err
	}
	defer g.close()
	if a.opts.prune && len(g.folders) == 0 && !slices.ContainsFunc(g.files, func(f file) bool { return f.err != nil }) {
		return usagef("--prune deletes what has gone from a folder, and none is named")
	}
	total := len(g.files)
	if stdin {
		total++
	}
	if (a.opts.key != "" || a.opts.name != "") && (total > 1 || len(g.files) == 1 && !g.files[0].named) {
		return usagef("--key and --name go with a single document")
	}
	for _, p := range g.clashes {
		a.note("%s: another file has the same key; its absolute path is its key", shown(p))
	}
	memory, closer, err := a.open(ctx, template.Embed != llmemory.EmbedNever)
	if err != nil {
		return err
	}
	defer closer()
	n := a.newAddition(memory, template)
	n.expect(g.files)
	n.total = total
	owner := memory.Owner(a.opts.owner)
	n.begin(owner, owner.LogRun(template.OriginID, sources(g, stdin)), g.skipped)
	err = n.run(ctx, g.files, stdin)
	if err == nil && a.opts.prune {
		err = n.prune(ctx, g)
	}
	if end := n.end(ctx, err == nil); err == nil {
		err = end
	}
	if a.opts.dryRun {
		n.progress.clear()
		return n.concludeDry(ctx, err)
	}
	return n.finish(ctx, err)
}

func (a *app) newAddition(memory *llmemory.Memory, template llmemory.Document) *addition {
	n := &addition{app: a, memory: memory, template: template, progress: a.progress(), done: map[llmemory.Status]int{},
		seen: map[string]sight{}, stored: map[string]bool{}}
	n.far.embeds = a.model != nil && template.Embed == llmemory.EmbedNow
	a.onEmbedded = n.embedded
	return n
}

// begin sets for whom files are added and in which run, and tells what is skipped.
func (n *addition) begin(owner *llmemory.Owner, log *llmemory.RunLog, list []skipped) {
	n.owner, n.log = owner, log
	for i := range list {
		s := &list[i]
		n.skip(&s.file, nil, s.reason, s.why)
	}
}

// expect counts files that are to come.
func (n *addition) expect(files []file) {
	n.total += len(files)
	for i := range files {
		n.far.total += float64(files[i].size)
	}
}

// finish does what is left to do when the files are added, or the run was stopped by err, and sums up.
func (n *addition) finish(ctx context.Context, err error) error {
	if err == nil && (n.pending > 0 || n.notes.err != nil) {
		err = ctx.Err() // the documents are stored, but their vectors or lines of context were cut short
	}
	if err == nil && n.embedErr == nil {
		err = n.catchUp(ctx, nil)
	}
	n.progress.clear()
	return n.conclude(err)
}

// sources are the files and folders that were named, as the ledger knows them.
func sources(g *gathered, stdin bool) (out []string) {
	for i := range g.files {
		if f := &g.files[i]; f.named {
			out = append(out, f.absolute)
		}
	}
	out = append(out, g.folders...)
	if stdin {
		out = append(out, "-")
	}
	return out
}

// end ends the run in the ledger. What was done is written although the user has had enough.
func (n *addition) end(ctx context.Context, complete bool) error {
	if n.opts.dryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerTime)
	defer cancel()
	run, err := n.log.End(ctx, complete)
	switch {
	case err != nil:
		return fmt.Errorf("write the ledger: %w", err)
	case run == nil && complete:
		n.remark("nothing changed since the last run, so none is recorded")
	case run != nil:
		n.remark("this is run %d: \"llmemory runs %d\" lists its files", run.ID, run.ID)
	}
	return nil
}

// ledgerTime is how long an interrupted run may take to say what it did.
const ledgerTime = 10 * time.Second

// remark tells what only those want to know who asked for more.
func (n *addition) remark(format string, args ...any) {
	if n.opts.verbose {
		n.progress.clear()
		n.note(format, args...)
	}
}

// template reads the flags that hold for every document.
func (a *app) template() (llmemory.Document, error) {
	o := &a.opts
	d := llmemory.Document{OriginID: o.origin, Language: o.language, IfExists: llmemory.IfExists(o.ifExists),
		Embed: llmemory.Embed(o.embed), Reread: o.reread()}
	var err error
	if o.kind != "" {
		if d.Type, err = llmemory.ParseType(o.kind); err != nil {
			return d, err
		}
	}
	if o.language != "" && !analysis.Supported(o.language) {
		return d, usagef("--language %q: must be one of %s", o.language, strings.Join(analysis.New().Languages(), ", "))
	}
	switch d.IfExists {
	case llmemory.Update, llmemory.Skip, llmemory.Refuse:
	default:
		return d, usagef("--if-exists %q: must be update, skip or error", o.ifExists)
	}
	if err := checkEmbed(d.Embed); err != nil {
		return d, err
	}
	if d.Date, err = parseDate("date", o.date, false); err != nil {
		return d, err
	}
	keys, values, err := parseMeta(o.meta)
	if err != nil {
		return d, err
	}
	for i, k := range keys {
		if _, twice := d.Metadata[k]; twice {
			return d, usagef("--meta %s is given twice", k)
		}
		if d.Metadata == nil {
			d.Metadata = map[string]any{}
		}
		d.Metadata[k] = values[i]
	}
	return d, nil
}

// reread says which files are read although what would become of them is known.
func (o *options) reread() llmemory.Reread {
	if o.retryFailed {
		return llmemory.RereadFailed
	}
	return llmemory.RereadNone
}

func checkEmbed(e llmemory.Embed) error {
	switch e {
	case llmemory.EmbedNow, llmemory.EmbedLater, llmemory.EmbedNever:
		return nil
	}
	return usagef("--embed %q: must be now, later or never", e)
}

func (n *addition) run(ctx context.Context, files []file, stdin bool) error {
	defer n.batch.release()
	defer n.keepAlive(ctx)()
	failed, err := n.failedWithin(ctx)
	if err != nil {
		return err
	}
	for i := range files {
		f := &files[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := openFile(f)
		if err != nil {
			n.refuse(f, llmemory.Added{Err: err})
			n.far.total -= float64(f.size)
			continue
		}
		d := n.template
		d.Key, d.Name, d.Source = f.key, filepath.Base(f.absolute), r
		if n.opts.name != "" {
			d.Name = n.opts.name
		}
		if n.opts.key != "" {
			d.Key = n.opts.key
		}
		if failed[f.absolute] {
			d.Reread = llmemory.RereadAll
		}
		if f.describe != nil {
			f.describe(&d)
		}
		if err := n.queue(ctx, f, d, r); err != nil {
			return err
		}
	}
	// Standard input may take its time; what is there is stored before.
	if err := n.flush(ctx); err != nil || !stdin {
		return err
	}
	source, err := n.readStdin(ctx)
	standard := &file{path: "-", absolute: "-", source: "-", named: true}
	if err != nil {
		if ctx.Err() == nil {
			n.refuse(standard, llmemory.Added{Err: err})
		}
		return ctx.Err()
	}
	d := n.template
	d.Key, d.Name, d.Source = n.opts.key, n.opts.name, source
	if err := n.queue(ctx, standard, d, source); err != nil {
		return err
	}
	return n.flush(ctx)
}

// aliveEvery is how often the ledger is told that a run goes on.
const aliveEvery = 15 * time.Second

// keepAlive tells the ledger that the run goes on until what it returns is called.
func (n *addition) keepAlive(ctx context.Context) (stop func()) {
	if n.opts.dryRun {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	log, done := n.log, make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, cmp.Or(n.beat, aliveEvery)) {
			_ = log.Alive(ctx) // if the database is away, whoever has something to store tells
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// failedWithin returns, if what failed is to be read again, the paths of all that something failed within: where such a file has not
// changed, nothing else would look into it.
func (n *addition) failedWithin(ctx context.Context) (map[string]bool, error) {
	if n.template.Reread == llmemory.RereadNone {
		return nil, nil
	}
	runs, err := n.owner.Runs(ctx, &llmemory.RunsOptions{Limit: 1000})
	if err != nil {
		return nil, err
	}
	within := map[string]bool{}
	for i := range runs {
		err := eachRunFile(ctx, n.owner, runs[i].ID, withoutDocument, func(f *llmemory.RunFile) {
			for at := strings.LastIndexByte(f.Path, '/'); at > 0; at = strings.LastIndexByte(f.Path[:at], '/') {
				within[f.Path[:at]] = true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return within, nil
}

// skipError is why a file of a folder is left out.
type skipError struct{ reason, why string }

func (e *skipError) Error() string { return e.why }

// openFile opens a file. In a folder, what has gone or is no file any more since the folder was read is skipped; a file that is named
// must be good.
func openFile(f *file) (fs.File, error) {
	if f.err != nil {
		return nil, f.err
	}
	r, err := f.open()
	if errors.Is(err, fs.ErrNotExist) && !f.named {
		return nil, &skipError{"gone", "is gone"}
	}
	if err != nil {
		return nil, err
	}
	// What it is now counts, not what it was when its folder was read.
	info, err := r.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular() && f.named:
		err = errNotFile
	case !info.Mode().IsRegular():
		err = &skipError{"not_a_file", "is no regular file"}
	default:
		return r, nil
	}
	_ = r.Close() // nothing was read
	return nil, err
}

// readStdin reads standard input. A read cannot be cancelled, so an interrupted one is abandoned: the program is about to end.
func (n *addition) readStdin(ctx context.Context) (*extract.Source, error) {
	type answer struct {
		source *extract.Source
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		source, err := extract.Input{Reader: n.stdin}.Open(ctx, 0)
		done <- answer{source, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case got := <-done:
		return got.source, got.err
	}
}

func (n *addition) queue(ctx context.Context, f *file, d llmemory.Document, r io.Closer) error {
	n.batch.put(f, d, r)
	most := batchDocuments
	if !n.far.embeds {
		most = bareDocuments
	}
	if len(n.batch.documents) < most && n.batch.bytes < batchBytes {
		return nil
	}
	return n.flush(ctx)
}

// flush adds what is queued and prints what became of it. The error is not nil if the run cannot go on.
func (n *addition) flush(ctx context.Context) error {
	if len(n.batch.documents) == 0 {
		return nil
	}
	n.show()
	n.far.begin(n.batch.files)
	add := n.owner.AddMany
	if n.opts.dryRun {
		add = n.owner.Preview
	}
	results, err := add(ctx, n.batch.documents)
	n.far.end(results)
	n.progress.clear()
	for i, r := range results {
		f := n.batch.files[i]
		if n.mistaken(r.Err) {
			return r.Err
		}
		n.parts(ctx, f, &r)
		switch {
		case r.Status == "", r.Err != nil && ctx.Err() != nil: // not reached, or cut short
			continue
		case r.Err != nil && n.watched.told != nil && isAway(err): // it is tried again
			continue
		case r.Err != nil && err != nil: // the whole batch was stopped, which is told once
			n.done[llmemory.Failed]++
			n.enter(f, &r, llmemory.Failed, reasonOf(r.Err), r.Err)
			n.line(f.path, r.DocumentID, llmemory.Failed, reasonOf(r.Err), r.Err)
		case r.Err != nil:
			n.refuse(f, r)
		case r.DocumentID == "": // a container: its parts have been told of
			n.warn(f.path, &r)
			n.seen[f.absolute] = sight{status: llmemory.Updated}
			n.mark(f, &r)
		default:
			n.added(f, r)
			n.mark(f, &r)
		}
		n.finished++
	}
	n.batch.release()
	n.show()
	if n.opts.dryRun {
		return err
	}
	// The documents are stored: now it is true. An interruption leaves this to the end.
	if written := n.log.Flush(ctx); err == nil && ctx.Err() == nil && written != nil {
		err = fmt.Errorf("write the ledger: %w", written)
	}
	return err
}

// mark lets a file know what was stored of it.
func (n *addition) mark(f *file, r *llmemory.Added) {
	if f.stored != nil && !n.opts.dryRun {
		f.stored(r)
	}
}

// parts tells what became of what lies within a file.
func (n *addition) parts(ctx context.Context, f *file, r *llmemory.Added) {
	for i := range r.Parts {
		p := &r.Parts[i]
		name := p.Key[strings.LastIndexByte(p.Key, '/')+1:]
		if inner, ok := strings.CutPrefix(p.Key, r.Key+"/"); ok && r.Key != "" {
			name = inner
		}
		part := *f
		part.path, part.absolute, part.named = f.path+"/"+name, f.absolute+"/"+name, false
		n.parts(ctx, &part, p)
		switch {
		case p.Status == "", p.Err != nil && ctx.Err() != nil:
		case p.Err != nil:
			n.refuse(&part, *p)
		case p.DocumentID == "":
			n.warn(part.path, p)
			n.seen[part.absolute] = sight{status: llmemory.Updated}
		default:
			n.added(&part, *p)
		}
	}
}

// enter notes an outcome for the ledger, and tells whether it is to be told.
func (n *addition) enter(f *file, r *llmemory.Added, status llmemory.Status, reason string, err error) bool {
	n.seen[f.absolute] = sight{status: status}
	entry := llmemory.RunFile{Source: f.source, Path: f.absolute, DocumentID: r.DocumentID, Outcome: status, Reason: reason, Chunks: r.Chunks,
		SourceHash: r.SourceHash}
	if err != nil {
		entry.Message = err.Error()
	} else {
		n.seen[f.absolute] = sight{status, r.DocumentID}
		n.stored[r.DocumentID] = true
		if reason == "" {
			entry.Reason, entry.Message = noteOutcome(r)
		}
	}
	news := n.news(&entry)
	if news || !n.watched.partial {
		n.log.Note(entry, r.Embedded)
	}
	return news
}

// news tells whether an outcome is to be told. In folders that are watched it is told once, and what stays as it is only at first.
func (n *addition) news(entry *llmemory.RunFile) bool {
	told := n.watched.told
	if told == nil {
		return true
	}
	before, bad := told[entry.Path]
	switch entry.Outcome {
	case llmemory.Failed, llmemory.Skipped:
		now := entry.Reason + ": " + entry.Message
		told[entry.Path] = now
		return !bad || now != before
	}
	delete(told, entry.Path)
	return entry.Outcome != llmemory.Unchanged || !n.watched.later
}

// catchUp makes the vectors that earlier runs left behind: because they were interrupted, or had no model. In a file they can only
// be this user's; a server's queue is for "embed". Enough is that of embedQueue.
func (n *addition) catchUp(ctx context.Context, enough func() bool) error {
	if p, err := n.place(); err != nil || !p.isFile() || n.model == nil || n.template.Embed != llmemory.EmbedNow {
		return err
	}
	waiting, err := waitingPassages(ctx, n.memory)
	if err != nil {
		return err
	}
	done, err := n.embedQueue(ctx, n.memory, n.progress, waiting, enough)
	n.progress.clear()
	if done.Embedded > 0 {
		n.note("%s of earlier runs embedded", plural(done.Embedded, "passage"))
	}
	switch {
	case errors.Is(err, errEnough):
		return err
	case err != nil && ctx.Err() == nil:
		n.embedErr = err // the documents are stored
		return nil
	case err != nil:
		return err
	}
	left, err := waitingPassages(ctx, n.memory)
	if err == nil && left > 0 {
		n.note("%s still without a vector: another process is at them, or one was killed less than a minute ago; run \"llmemory embed\" then",
			plural(int(left), "passage"))
	}
	return err
}

// embedded is called whenever passages have their vectors.
func (n *addition) embedded(passages int) {
	n.far.embedded(passages)
	n.show()
}

// show tells how far the work is.
func (n *addition) show() {
	n.progress.show("%d of %s%s", n.finished, plural(n.total, "file"), n.far.String())
}

// advance measures how far a run of add is, in bytes of files, and how fast it goes. Files that are embedded take far longer than
// others, so what is embedded of a batch counts as soon as it is.
type advance struct {
	mu             sync.Mutex
	embeds         bool    // what is new gets vectors at once
	total, done    float64 // bytes
	batch, partial float64 // bytes of the batch that is being added, and what is done of it by estimate
	passages       int     // embedded
	known, chunks  float64 // bytes of files that were embedded whole, and their passages
	whole, vectors pace
}

// passageBytes is about what a passage has of its file, until there is something to go by.
const passageBytes = 800

func (a *advance) begin(files []*file) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.batch, a.partial = 0, 0
	for _, f := range files {
		a.batch += float64(f.size)
	}
	a.mark()
}

func (a *advance) embedded(passages int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	each := float64(passageBytes)
	if a.chunks > 0 {
		each = a.known / a.chunks
	}
	a.passages += passages
	a.partial = min(a.partial+each*float64(passages), a.batch)
	a.mark()
}

func (a *advance) end(results []llmemory.Added) {
	a.mu.Lock()
	defer a.mu.Unlock()
	embedded := 0
	for _, r := range results {
		embedded += r.Embedded
	}
	if embedded > 0 {
		a.known, a.chunks = a.known+a.batch, a.chunks+float64(embedded)
	}
	a.done, a.batch, a.partial = a.done+a.batch, 0, 0
	a.mark()
}

func (a *advance) mark() {
	now := time.Now()
	a.whole.at(now, a.done+a.partial)
	a.vectors.at(now, float64(a.passages))
}

// String is what is told after the number of documents.
func (a *advance) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := ""
	if a.passages > 0 {
		text = fmt.Sprintf(", %s embedded, %.0f a second", plural(a.passages, "passage"), a.vectors.rate())
	}
	if a.passages == 0 && a.whole.rate() > 0 {
		text = fmt.Sprintf(", %.0f kB a second", a.whole.rate()/1000)
	}
	if a.embeds && a.passages == 0 { // what is only looked at, as it is known already, says nothing of the rest
		return text
	}
	if rest := a.total - a.done - a.partial; rest > 0 && a.whole.rate() > 0 {
		text += fmt.Sprintf(", %s left", a.whole.left(rest))
	}
	return text
}

// mistaken tells whether an error is a flag's fault, such as an origin that is too long, which every document has.
func (n *addition) mistaken(err error) bool {
	var invalid *llmemory.InvalidError
	if n.each || !errors.As(err, &invalid) {
		return false
	}
	switch invalid.Field {
	case "content":
		return false
	case "key":
		return n.opts.key != ""
	case "name":
		return n.opts.name != ""
	}
	return true
}

// addedJSON is a line of add --json.
type addedJSON struct {
	Path         string          `json:"path"`
	DocumentID   string          `json:"document_id"`
	Status       llmemory.Status `json:"status"`
	Chunks       int             `json:"chunks"`
	ChunksReused int             `json:"chunks_reused"`
	Embedded     int             `json:"embedded"`
	Pending      int             `json:"pending"`
	Contexts     int             `json:"contexts,omitempty"`
	NoContext    int             `json:"no_context,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	Error        *string         `json:"error"`
}

// reasonOf says in a word why a file was not added.
func reasonOf(err error) string {
	var content *llmemory.ContentError
	var skip *skipError
	switch {
	case errors.As(err, &skip):
		return skip.reason
	case errors.As(err, &content):
		return string(content.Reason)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "interrupted"
	case errors.Is(err, errNotFile):
		return "not_a_file"
	case errors.Is(err, fs.ErrNotExist):
		return "gone"
	case errors.Is(err, fs.ErrPermission):
		return "denied"
	case errors.Is(err, llmemory.ErrConflict):
		return "conflict"
	case errors.Is(err, llmemory.ErrInvalid):
		return "invalid"
	case errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCommitUnknown), errors.Is(err, llmemory.ErrClosed):
		return "unavailable"
	}
	return "unreadable"
}

func (n *addition) added(f *file, r llmemory.Added) {
	path := f.path
	n.done[r.Status]++
	news := n.enter(f, &r, r.Status, "", nil)
	n.plan.add(&r)
	n.notes.add(&r)
	n.pending += r.Pending
	if n.embedErr == nil {
		n.embedErr = r.EmbedErr
	}
	if !news {
		return
	}
	if r.RemovedNULs > 0 {
		n.note("%s: removed %s", shown(path), plural(r.RemovedNULs, "NUL byte"))
	}
	if r.UnsearchableWords > 0 {
		n.note("%s: holds words of more than 128 bytes, which are stored but not found", shown(path))
	}
	n.warn(path, &r)
	if n.opts.json {
		_ = n.printJSON(addedJSON{ // Main reports if that failed
			Path: path, DocumentID: r.DocumentID, Status: r.Status, Chunks: r.Chunks, ChunksReused: r.ChunksReused,
			Embedded: r.Embedded, Pending: r.Pending, Contexts: r.Annotated, NoContext: r.Unannotated,
		})
		return
	}
	if r.Status != llmemory.Unchanged || n.opts.verbose {
		n.printf("%-9s  %s  %s  %s\n", r.Status, r.DocumentID, shown(path), plural(r.Chunks, "chunk"))
	}
}

// warn tells what was left out of a file or mended.
func (n *addition) warn(path string, r *llmemory.Added) {
	if !n.opts.verbose {
		return
	}
	for _, w := range r.Warnings {
		n.note("%s: %s", shown(path), plain(w))
	}
}

// refuse tells of a file that was not added. In a folder, and within other files, what is nothing to read is skipped.
func (n *addition) refuse(f *file, r llmemory.Added) {
	err := r.Err
	reason := reasonOf(err)
	var skip *skipError
	if bad := (*llmemory.ContentError)(nil); errors.As(err, &bad) {
		err = bad.Err // what is wrong with the content, of which there is no doubt
	}
	if errors.As(err, &skip) || !f.named && (reason == string(llmemory.Unsupported) || reason == string(llmemory.NoText)) {
		n.skip(f, r.SourceHash, reason, err.Error())
		return
	}
	n.done[llmemory.Failed]++
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // the path is told already
	}
	if !n.enter(f, &r, llmemory.Failed, reason, err) {
		return
	}
	n.progress.clear()
	n.note("%s: %v", shown(f.path), err)
	n.line(f.path, r.DocumentID, llmemory.Failed, reason, err)
}

// line prints the JSON line of a document that was not added.
func (n *addition) line(path, id string, status llmemory.Status, reason string, err error) {
	if n.opts.json {
		text := err.Error()
		_ = n.printJSON(addedJSON{Path: path, DocumentID: id, Status: status, Reason: reason, Error: &text}) // Main reports if that failed
	}
}

func (n *addition) skip(f *file, sourceHash []byte, reason, why string) {
	path := f.path
	n.skipped++
	if !n.enter(f, &llmemory.Added{SourceHash: sourceHash}, llmemory.Skipped, reason, errors.New(why)) {
		return
	}
	n.progress.clear()
	n.note("skipped %s: %s", shown(path), why)
	n.line(path, "", llmemory.Skipped, reason, errors.New(why))
}

// conclude sums up and turns what happened into the run's error.
func (n *addition) conclude(stopped error) error {
	if n.mistaken(stopped) {
		return stopped
	}
	failed := n.done[llmemory.Failed]
	good := n.done[llmemory.Created] + n.done[llmemory.Updated] + n.done[llmemory.Unchanged]
	if n.total != 1 || n.skipped > 0 || n.done[llmemory.Unchanged] > 0 || n.done[llmemory.Removed] > 0 {
		text := fmt.Sprintf("%d created, %d updated, %d unchanged, %d failed, %d skipped", n.done[llmemory.Created], n.done[llmemory.Updated],
			n.done[llmemory.Unchanged], failed, n.skipped)
		if removed := n.done[llmemory.Removed]; removed > 0 {
			text += fmt.Sprintf(", %d removed", removed)
		}
		n.note("%s", text)
	}
	n.tellNotes()
	switch {
	case errors.Is(stopped, context.Canceled):
		n.note("what was stored stays; the same command goes on from there")
	case n.embedErr != nil:
		n.note("%s without a vector: %v", plural(n.pending, "passage"), n.embedErr)
		n.note("text search finds them; \"llmemory embed\" tries again")
	case n.pending > 0:
		n.note("%s to be embedded: run \"llmemory embed\"", plural(n.pending, "passage"))
	case n.model == nil && n.opts.embedder == "" && n.template.Embed == llmemory.EmbedNow && good > n.done[llmemory.Unchanged]:
		n.note("searches go by words: \"llmemory models pull\" fetches a model for search by meaning, then \"llmemory embed\" makes the vectors")
	}
	switch {
	case errors.Is(stopped, context.Canceled), stopped != nil && good == 0:
		return stopped
	case stopped != nil:
		return &partlyError{fmt.Sprintf("stopped after %d of %s: %v", good+failed, plural(n.total, "document"), stopped)}
	case failed == 0:
		return nil
	case good > 0:
		return &partlyError{fmt.Sprintf("%d of %s failed", failed, plural(failed+good, "document"))}
	}
	return errReported
}

// errReported is a failure that standard error has told of already.
var errReported = errors.New("failed")
