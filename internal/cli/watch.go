package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/llmemory/llmemory"
)

const (
	// quietTime is how long a file must have been left alone before it is added: it may be half written.
	quietTime = 500 * time.Millisecond
	// rescanTime is how long after a scan of all folders the next one begins, which finds what no event told of.
	rescanTime = time.Minute
	// A database that is away is asked again after the first of these, then after twice as long each time, up to the last.
	firstRetry, lastRetry = time.Second, 30 * time.Second
	// sessionEntries is how many outcomes a run of the ledger gets before the next one begins.
	sessionEntries = 10_000
)

// watching is one run of add --watch. It goes in passes: one over everything at first and whenever a scan is due, and one over what
// events told of in between. All of them take the way of a plain add.
type watching struct {
	*app
	memory    *llmemory.Memory
	template  llmemory.Document
	arguments []string
	events    *events
	// told is why files have no document, by absolute path, as the user has been told.
	told map[string]string
	// homes are the named folders as they were found. One that is another one now, such as the mount point of a disk that was
	// taken away, is not pruned.
	homes map[string]fs.FileInfo
	// session is the run of what events bring, which is paused between them until a scan has a run of its own written.
	session *llmemory.RunLog
	entries int // of the session
	// behind tells that earlier runs may have left passages without a vector. They get theirs while there is nothing else to do.
	behind bool
	// embedding and context are the last errors that were told of the embedder and of the context model.
	embedding, context string
}

// watchable checks that arguments and flags make sense for folders that are followed.
func (a *app) watchable(arguments []string) error {
	o := &a.opts
	switch {
	case slices.Contains(arguments, "-"):
		return usagef("--watch follows folders; standard input cannot be followed")
	case o.dryRun:
		return usagef("--watch and --dry-run do not go together")
	case o.key != "" || o.name != "":
		return usagef("--key and --name go with a single document, --watch with folders")
	case o.ifExists == string(llmemory.Refuse):
		return usagef("--watch adds what changed, so --if-exists must be update or skip")
	}
	for _, argument := range arguments {
		switch info, err := os.Stat(argument); {
		case err != nil:
			return fmt.Errorf("watch: %w", err)
		case !info.IsDir():
			return usagef("--watch follows folders; %s is none: name the folder it is in", shown(argument))
		}
	}
	return nil
}

// watch adds the folders and follows them until the user has had enough.
func (a *app) watch(ctx context.Context, template llmemory.Document, arguments []string) error {
	if err := a.watchable(arguments); err != nil {
		return err
	}
	memory, closer, err := a.open(ctx, template.Embed != llmemory.EmbedNever)
	if err != nil {
		return err
	}
	defer closer()
	w := &watching{app: a, memory: memory, template: template, arguments: arguments, told: map[string]string{},
		homes: map[string]fs.FileInfo{}}
	own, err := a.ownFile()
	if err != nil {
		return err
	}
	w.events = newEvents(own, a.newWatcher)
	defer w.events.close()
	w.begin()
	// Folders are watched before they are read, so that no change falls between.
	if err := w.follow(); err != nil {
		return err
	}
	return w.loop(ctx)
}

// ownFile is the absolute path of the database's file, "" if it is on a server: a database within a watched folder changes whenever
// something is written about that folder.
func (a *app) ownFile() (string, error) {
	p, err := a.place()
	if err != nil || !p.isFile() {
		return "", err
	}
	own, err := filepath.Abs(p.path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", p.path, err)
	}
	return own, nil
}

// follow watches the folders, and those below that are not watched yet.
func (w *watching) follow() error {
	for _, argument := range w.arguments {
		absolute, err := filepath.Abs(argument)
		if err != nil {
			return fmt.Errorf("find %s: %w", argument, err)
		}
		w.events.follow(absolute)
	}
	if err := w.events.trouble(); err != nil {
		w.note("not every change is told at once: %v", err)
		w.note("what is missed is found by looking at all files every minute")
	}
	return nil
}

func (w *watching) rescanEvery() time.Duration {
	if w.rescan > 0 {
		return w.rescan
	}
	return rescanTime
}

// loop makes passes. A pass that the database's absence ended is made again.
func (w *watching) loop(ctx context.Context) error {
	first, scanned, away := true, false, time.Duration(0)
	scan := time.Now()
	var due map[string]bool
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if scanned && !w.behind {
			scanned = false
			if w.onScan != nil {
				w.onScan()
			}
		}
		if w.events.overflowed() {
			scan = time.Now()
		}
		pause := time.Until(scan)
		var err error
		whole := pause <= 0
		switch {
		case whole:
			err = w.scan(ctx, first)
		default:
			var next time.Duration
			if due, next = w.events.take(due, time.Now()); len(due) == 0 {
				if w.behind && next == 0 {
					err = w.catchUp(ctx, scan)
					break
				}
				if next > 0 {
					pause = min(pause, next)
				}
				w.rest(ctx, pause)
				continue
			}
			err = w.pass(ctx, due, false)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isAway(err):
			if away == 0 {
				w.note("waiting for the database: %v", err)
				away = firstRetry
			} else {
				away = min(2*away, lastRetry)
			}
			if !sleep(ctx, away) {
				return ctx.Err()
			}
			continue
		case err != nil:
			return err
		}
		if away > 0 {
			w.note("the database is back")
			away = 0
		}
		if !whole {
			due = nil
			continue
		}
		if first {
			w.note("watching until interrupted")
		}
		first, scanned, scan = false, true, time.Now().Add(w.rescanEvery())
	}
}

func isAway(err error) bool {
	return errors.Is(err, llmemory.ErrUnavailable) || errors.Is(err, llmemory.ErrCommitUnknown)
}

// rest waits until something happens, for as long as this at most.
func (w *watching) rest(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.events.news:
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// scan is a pass over everything.
func (w *watching) scan(ctx context.Context, first bool) error {
	if !first {
		if err := w.follow(); err != nil {
			return err
		}
	}
	return w.pass(ctx, nil, first)
}

// pass adds what is due, or everything if that is nil.
func (w *watching) pass(ctx context.Context, due map[string]bool, first bool) error {
	g, err := gather(w.arguments)
	if err != nil {
		return err
	}
	defer g.close()
	whole := due == nil
	if first {
		w.noteClashes(g)
	}
	w.keepHomes(g)
	n := w.newAddition(w.memory, w.template)
	n.watched = pass{told: w.told, later: !first, partial: !whole}
	owner, log := w.memory.Owner(w.opts.owner), w.session
	if whole {
		log = owner.LogRun(w.template.OriginID, sources(g, false))
	} else {
		n.choose(g, due)
	}
	n.expect(g.files)
	n.begin(owner, log, g.skipped)
	err = n.run(ctx, g.files, false)
	if err == nil && w.opts.prune {
		err = n.prune(ctx, g)
	}
	if whole {
		if end := w.endScan(ctx, n, err == nil); err == nil {
			err = end
		}
	} else {
		w.entries += len(g.files)
		end := w.pause
		if w.entries > sessionEntries {
			end = w.endSession
		}
		if end := end(ctx); err == nil {
			err = end
		}
	}
	if err == nil && n.pending > 0 {
		err = ctx.Err()
	}
	if err == nil && whole && n.embedErr == nil {
		w.behind = true
	}
	n.progress.clear()
	if err != nil {
		return err
	}
	w.template.Reread = llmemory.RereadNone
	if first { // files that failed do not end it
		if err := n.conclude(nil); err != nil && !errors.Is(err, errPartly) && !errors.Is(err, errReported) {
			return err
		}
	}
	w.tellEmbedder(n, first)
	w.tellContext(n, first)
	return nil
}

// catchUp makes vectors that earlier runs left behind, until something happens in the folders or a scan is due.
func (w *watching) catchUp(ctx context.Context, scan time.Time) error {
	n := w.newAddition(w.memory, w.template)
	err := n.catchUp(ctx, func() bool { return w.events.waiting() || !time.Now().Before(scan) })
	if errors.Is(err, errEnough) {
		return nil
	}
	if err == nil {
		w.behind = false
		w.tellEmbedder(n, false)
	}
	return err
}

func (w *watching) noteClashes(g *gathered) {
	for _, p := range g.clashes {
		w.note("%s: another file has the same key; its absolute path is its key", shown(p))
	}
}

// keepHomes remembers the named folders, and keeps those that are others now from being pruned.
func (w *watching) keepHomes(g *gathered) {
	for _, root := range g.roots {
		folder := root.Name()
		info, err := root.Stat(".")
		switch known := w.homes[folder]; {
		case err != nil:
			g.partial = append(g.partial, folder)
		case known == nil:
			w.homes[folder] = info
		case !os.SameFile(known, info):
			g.partial = append(g.partial, folder)
		}
	}
}

// tellEmbedder tells once what keeps passages from getting vectors.
func (w *watching) tellEmbedder(n *addition, told bool) {
	if n.embedErr == nil {
		if n.pending == 0 {
			w.embedding = ""
		}
		return
	}
	if text := n.embedErr.Error(); text != w.embedding {
		w.embedding = text
		if !told {
			w.note("passages without a vector: %v", n.embedErr)
			w.note("text search finds them; they are tried again")
		}
	}
}

// begin begins the run of what events bring.
func (w *watching) begin() {
	var folders []string
	for _, argument := range w.arguments {
		if absolute, err := filepath.Abs(argument); err == nil && !slices.Contains(folders, absolute) {
			folders = append(folders, absolute)
		}
	}
	w.session, w.entries = w.memory.Owner(w.opts.owner).LogRun(w.template.OriginID, folders), 0
}

// endScan ends the run of a scan. If it is written, the session's run ends before it: of two runs the later one counts.
func (w *watching) endScan(ctx context.Context, n *addition, complete bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerTime)
	defer cancel()
	run, err := n.log.End(ctx, complete)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if run != nil {
		return w.endSession(ctx)
	}
	return nil
}

// pause writes what events have brought so far.
func (w *watching) pause(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerTime)
	defer cancel()
	if err := w.session.Pause(ctx); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// endSession leaves the run of what events brought as it is, and begins the next one.
func (w *watching) endSession(ctx context.Context) error {
	if err := w.pause(ctx); err != nil {
		return err
	}
	w.begin()
	return nil
}

// choose leaves, of what was gathered, what is due. The rest counts as seen, so that it is not taken for gone.
func (n *addition) choose(g *gathered, due map[string]bool) {
	files := g.files[:0]
	for _, f := range g.files {
		if isDue(f.absolute, due) {
			files = append(files, f)
		} else {
			n.seen[f.absolute] = sight{status: llmemory.Unchanged}
		}
	}
	g.files = files
	g.skipped = slices.DeleteFunc(g.skipped, func(s skipped) bool {
		if isDue(s.absolute, due) {
			return false
		}
		n.seen[s.absolute] = sight{status: llmemory.Skipped}
		return true
	})
}

// isDue tells whether a file or a folder that it is in is due.
func isDue(path string, due map[string]bool) bool {
	for {
		if due[path] {
			return true
		}
		up := filepath.Dir(path)
		if up == path {
			return false
		}
		path = up
	}
}

// events collects what the system tells of changes in folders.
type events struct {
	own     string // the database's file, of which nothing is to be told
	watcher *fsnotify.Watcher
	news    chan struct{} // something happened
	more    chan struct{} // something waits in the queue
	done    chan struct{}

	mu       sync.Mutex
	roots    []string
	queue    []fsnotify.Event
	changed  map[string]time.Time // by path: when it last did
	overflow bool                 // events were lost
	err      error                // why not everything can be watched
	told     bool
}

// newEvents starts to collect. If the system has no means for that, nothing is ever told.
func newEvents(own string, open func() (*fsnotify.Watcher, error)) *events {
	if open == nil {
		open = fsnotify.NewWatcher
	}
	e := &events{own: own, news: make(chan struct{}, 1), more: make(chan struct{}, 1), done: make(chan struct{}),
		changed: map[string]time.Time{}}
	if e.watcher, e.err = open(); e.err != nil {
		e.watcher = nil
		close(e.done)
		return e
	}
	go e.collect()
	go e.work()
	return e
}

func (e *events) close() {
	if e.watcher != nil {
		_ = e.watcher.Close() // nothing is lost by that
	}
	<-e.done
}

// follow watches a named folder and all below it.
func (e *events) follow(root string) {
	if e.watcher == nil {
		return
	}
	e.mu.Lock()
	if !slices.Contains(e.roots, root) {
		e.roots = append(e.roots, root)
	}
	e.mu.Unlock()
	e.add(root)
}

// add watches a folder and those below it. It is watched before it is listed, so that of what is made meanwhile nothing is missed.
func (e *events) add(folder string) {
	if err := e.watcher.Add(folder); err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fsnotify.ErrClosed) {
			e.mu.Lock()
			if e.err == nil {
				e.err = fmt.Errorf("watch %s: %w", shown(folder), err)
			}
			e.mu.Unlock()
		}
		return
	}
	entries, _ := os.ReadDir(folder) // a folder that cannot be read is told of when it is added
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			e.add(filepath.Join(folder, entry.Name()))
		}
	}
}

// trouble is why not everything is watched, once.
func (e *events) trouble() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told {
		return nil
	}
	e.told = e.err != nil
	return e.err
}

// collect only queues: on some systems the watcher cannot be told anything while it waits for an event to be taken.
func (e *events) collect() {
	defer close(e.more)
	for {
		select {
		case event, ok := <-e.watcher.Events:
			if !ok {
				return
			}
			e.mu.Lock()
			e.queue = append(e.queue, event)
			e.mu.Unlock()
			signal(e.more)
		case _, ok := <-e.watcher.Errors:
			if !ok {
				return
			}
			// Whatever went wrong, looking at everything makes up for it.
			e.mu.Lock()
			e.overflow = true
			e.mu.Unlock()
			signal(e.news)
		}
	}
}

func (e *events) work() {
	defer close(e.done)
	for range e.more {
		e.mu.Lock()
		queue := e.queue
		e.queue = nil
		e.mu.Unlock()
		for _, event := range queue {
			e.note(event)
		}
	}
}

func (e *events) note(event fsnotify.Event) {
	if event.Op == fsnotify.Chmod || e.ignored(event.Name) {
		return
	}
	if event.Has(fsnotify.Rename) { // what is watched below a folder that got another name would keep the old one
		for _, path := range e.watcher.WatchList() {
			if path == event.Name || strings.HasPrefix(path, event.Name+string(filepath.Separator)) {
				_ = e.watcher.Remove(path) // it may be gone already
			}
		}
	}
	if event.Has(fsnotify.Create) {
		if info, err := os.Lstat(event.Name); err == nil && info.IsDir() {
			e.add(event.Name)
		}
	}
	e.mu.Lock()
	e.changed[event.Name] = time.Now()
	e.mu.Unlock()
	signal(e.news)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}

// ignored tells of what is hidden within a named folder, and of the database.
func (e *events) ignored(path string) bool {
	if rest, own := strings.CutPrefix(path, e.own); own && e.own != "" && (rest == "" || strings.HasPrefix(rest, "-")) {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, root := range e.roots {
		within, err := filepath.Rel(root, path)
		if err != nil || within == ".." || strings.HasPrefix(within, ".."+string(filepath.Separator)) {
			continue
		}
		hidden := func(name string) bool { return name != "." && strings.HasPrefix(name, ".") }
		if !slices.ContainsFunc(strings.Split(within, string(filepath.Separator)), hidden) {
			return false
		}
	}
	return true
}

// waiting tells whether something happened that was not taken yet.
func (e *events) waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.changed) > 0 || e.overflow
}

// overflowed tells whether events were lost since it was asked last.
func (e *events) overflowed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.overflow
	e.overflow = false
	return was
}

// take adds to a set the paths that have been quiet for long enough, and tells when the next one will have been; 0 if there is none.
func (e *events) take(due map[string]bool, now time.Time) (map[string]bool, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var next time.Duration
	for path, at := range e.changed {
		if left := quietTime - now.Sub(at); left > 0 {
			if next == 0 || left < next {
				next = left
			}
			continue
		}
		if due == nil {
			due = map[string]bool{}
		}
		due[path] = true
		delete(e.changed, path)
	}
	return due, next
}
