package migrate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Options adjust a Migrator. The zero value means defaults.
type Options struct {
	// Hint is added to an error that asks somebody else to migrate, such as
	// "run: app migrate up".
	Hint string
	// LockWait bounds how long a migration tries again when a lock is held by
	// others. Defaults to 60 s.
	LockWait time.Duration
	// Lease is how long a process that runs a file outside a transaction may stay
	// silent before another takes over. Defaults to 60 s.
	Lease time.Duration
	// Logger is told of files applied and undone. Nil means silence.
	Logger *slog.Logger
}

// Migrator applies the migrations of one module to one schema.
type Migrator struct {
	driver Driver
	module string
	files  []File
	err    error
	opts   Options
}

// New returns a migrator. Faults of the module's name or files are reported by
// every method.
func New(driver Driver, module string, fsys fs.FS, opts Options) *Migrator {
	opts.LockWait = cmp.Or(opts.LockWait, 60*time.Second)
	opts.Lease = cmp.Or(opts.Lease, 60*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Migrator{driver: driver, module: module, opts: opts}
	if module == "" || len(module) > maxModule || !utf8.ValidString(module) || strings.ContainsRune(module, 0) {
		m.err = fmt.Errorf("%w: the module name %q is empty, not UTF-8 or longer than %d bytes", ErrFiles, module, maxModule)
		return m
	}
	if m.files, m.err = Load(fsys); m.err != nil {
		m.err = m.wrap(m.err)
	}
	return m
}

const maxModule = 200

func (m *Migrator) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("migrate %s: %w", m.module, err)
}

// MigrationState is the state of one migration.
type MigrationState string

// The states.
const (
	Done       MigrationState = "applied"
	Pending    MigrationState = "pending"
	Changed    MigrationState = "changed"      // applied, but the file differs now
	Missing    MigrationState = "missing"      // applied, but there is no file
	OutOfOrder MigrationState = "out of order" // pending below an applied one
)

// Migration is one migration with its state.
type Migration struct {
	Version       int64
	Name          string
	File          string // "" if missing
	State         MigrationState
	NoTransaction bool
	// SQL is the rendered script; filled by Plan only.
	SQL string
	// AppliedAt, Duration and AppliedBy are zero for what was not applied.
	AppliedAt time.Time
	Duration  time.Duration
	AppliedBy string
}

// compare puts files and records side by side.
func (m *Migrator) compare(applied []Applied) []Migration {
	records := map[int64]Applied{}
	var last int64
	for _, a := range applied {
		records[a.Version] = a
		last = max(last, a.Version)
	}
	var out []Migration
	for _, f := range m.files {
		x := Migration{Version: f.Version, Name: f.Name, File: f.Up.Path, State: Pending, NoTransaction: f.Up.NoTransaction}
		if a, ok := records[f.Version]; ok {
			delete(records, f.Version)
			x.State, x.AppliedAt, x.Duration, x.AppliedBy = Done, a.AppliedAt, a.Duration, a.By
			if a.Checksum != f.Up.Checksum {
				x.State = Changed
			}
		} else if f.Version < last {
			x.State = OutOfOrder
		}
		out = append(out, x)
	}
	for _, a := range records {
		out = append(out, Migration{
			Version: a.Version, Name: a.Name, State: Missing, AppliedAt: a.AppliedAt, Duration: a.Duration, AppliedBy: a.By,
		})
	}
	slices.SortFunc(out, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

// check returns what is pending, or every rule that is broken.
func (m *Migrator) check(applied []Applied) ([]Migration, error) {
	all := m.compare(applied)
	newest := m.files[len(m.files)-1].Version
	var (
		todo    []Migration
		faults  []error
		newer   = true
		missing []Migration
	)
	for _, x := range all {
		switch x.State {
		case Pending:
			todo = append(todo, x)
		case Changed:
			faults = append(faults, &Error{File: x.File, Err: fmt.Errorf("%w since it was applied on %s; restore it and put the change into a new file",
				ErrChanged, x.AppliedAt.UTC().Format(time.DateOnly))})
		case OutOfOrder:
			faults = append(faults, &Error{File: x.File, Err: fmt.Errorf("%w; give it a version above %d", ErrOutOfOrder, lastVersion(applied))})
		case Missing:
			missing = append(missing, x)
			newer = newer && x.Version > newest
		}
	}
	for _, x := range missing {
		cause := ErrMissing
		if newer {
			cause = fmt.Errorf("%w: it knows versions up to %d", ErrNewer, newest)
		}
		faults = append(faults, fmt.Errorf("version %d (%s): %w", x.Version, x.Name, cause))
	}
	return todo, errors.Join(faults...)
}

func lastVersion(applied []Applied) (last int64) {
	for _, a := range applied {
		last = max(last, a.Version)
	}
	return last
}

// inspect reads the state without writing.
func (m *Migrator) inspect(ctx context.Context) ([]Applied, error) {
	if m.err != nil {
		return nil, m.err
	}
	st, err := m.driver.Inspect(ctx, m.module)
	if err != nil {
		return nil, m.wrap(err)
	}
	if st.Foreign != "" {
		return nil, m.wrap(Foreign(st.Foreign))
	}
	return st.Applied, nil
}

// Foreign makes the error for a tracking table of another tool.
func Foreign(description string) error {
	return fmt.Errorf("%w (%s); use another schema, or move the table away if it is no longer needed", ErrForeign, description)
}

// Plan returns what Up would do, with the SQL it would run. It writes nothing.
func (m *Migrator) Plan(ctx context.Context) ([]Migration, error) {
	applied, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	todo, err := m.check(applied)
	if err != nil {
		return nil, m.wrap(err)
	}
	for i, x := range todo {
		r, _, err := m.prepare(m.file(x.Version).Up)
		if err != nil {
			return nil, m.wrap(err)
		}
		todo[i].SQL = r.SQL
	}
	return todo, nil
}

// Status returns all migrations, applied and not, in order of version. Broken
// rules are states here, not errors. It writes nothing.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) {
	applied, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	return m.compare(applied), nil
}

// Verify returns nil if all files are applied as they are, nothing is missing
// and no index of the schema is invalid. It writes nothing.
func (m *Migrator) Verify(ctx context.Context) error {
	applied, err := m.inspect(ctx)
	if err != nil {
		return err
	}
	todo, err := m.check(applied)
	faults := []error{err}
	if len(todo) > 0 {
		faults = append(faults, m.pendingError(todo, ""))
	}
	invalid, err := m.driver.InvalidIndexes(ctx)
	if err != nil {
		return m.wrap(err)
	}
	for _, name := range invalid {
		faults = append(faults, fmt.Errorf("%w: %s", ErrInvalidIndex, name))
	}
	return m.wrap(errors.Join(faults...))
}

func (m *Migrator) pendingError(todo []Migration, why string) error {
	names := make([]string, len(todo))
	for i, x := range todo {
		names[i] = x.File
	}
	text := strings.Join(names, ", ")
	if why != "" {
		text += "; " + why
	}
	if m.opts.Hint != "" {
		text += "; " + m.opts.Hint
	}
	return fmt.Errorf("%w: %s", ErrPending, text)
}

// Up applies all pending migrations and returns them. If nothing is pending it
// only reads. After an error the migrations before the failed one, which it
// returns, stay applied.
func (m *Migrator) Up(ctx context.Context) ([]Migration, error) {
	if m.err != nil {
		return nil, m.err
	}
	return m.UpTo(ctx, m.files[len(m.files)-1].Version)
}

// UpTo is Up for versions up to and including version, which must exist.
func (m *Migrator) UpTo(ctx context.Context, version int64) ([]Migration, error) {
	applied, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if m.file(version) == nil {
		return nil, m.wrap(fmt.Errorf("%w: there is no version %d", ErrFiles, version))
	}
	todo, err := m.check(applied)
	if err != nil {
		return nil, m.wrap(err)
	}
	todo = slices.DeleteFunc(todo, func(x Migration) bool { return x.Version > version })
	if len(todo) == 0 {
		return nil, nil
	}
	// All scripts are proved before the first is run.
	for _, x := range todo {
		if _, _, err := m.prepare(m.file(x.Version).Up); err != nil {
			return nil, m.wrap(err)
		}
	}
	denied, err := m.driver.Denied(ctx)
	if err != nil {
		return nil, m.wrap(err)
	}
	if denied != "" {
		return nil, m.wrap(m.pendingError(todo, denied))
	}
	var done []Migration
	for _, x := range todo {
		ran, err := m.apply(ctx, m.up(*m.file(x.Version)))
		if err != nil {
			return done, m.wrap(err)
		}
		if ran { // if not, another process was faster
			x.State = Done
			done = append(done, x)
		}
	}
	return done, nil
}

// Down undoes every version above version, newest first, and returns what it
// undid. 0 undoes all. It is refused before anything is done if a down file is
// missing.
func (m *Migrator) Down(ctx context.Context, version int64) ([]Migration, error) {
	applied, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := m.check(applied); err != nil {
		return nil, m.wrap(err)
	}
	if version != 0 && m.file(version) == nil {
		return nil, m.wrap(fmt.Errorf("%w: there is no version %d", ErrFiles, version))
	}
	var todo []Migration
	for _, x := range slices.Backward(m.compare(applied)) {
		if x.State != Done || x.Version <= version {
			continue
		}
		f := m.file(x.Version)
		if f.Down == nil {
			return nil, m.wrap(&Error{File: f.Up.Path, Err: ErrNoDown})
		}
		if _, _, err := m.prepare(*f.Down); err != nil {
			return nil, m.wrap(err)
		}
		todo = append(todo, x)
	}
	var done []Migration
	for _, x := range todo {
		ran, err := m.apply(ctx, m.down(*m.file(x.Version)))
		if err != nil {
			return done, m.wrap(err)
		}
		if ran {
			done = append(done, Migration{Version: x.Version, Name: x.Name, File: x.File, State: Pending, NoTransaction: x.NoTransaction})
		}
	}
	return done, nil
}

// Baseline records all versions up to and including version as applied without
// running them, for a schema that already holds what they make. It returns what
// it recorded.
func (m *Migrator) Baseline(ctx context.Context, version int64) ([]Migration, error) {
	applied, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if m.file(version) == nil {
		return nil, m.wrap(fmt.Errorf("%w: there is no version %d", ErrFiles, version))
	}
	if _, err := m.check(applied); err != nil {
		return nil, m.wrap(err)
	}
	var done []Migration
	err = m.locked(ctx, func(s Session) error {
		done = nil
		applied, err := s.Applied(ctx, m.module)
		if err != nil {
			return err
		}
		todo, err := m.check(applied)
		if err != nil {
			return err
		}
		for _, x := range todo {
			if x.Version > version {
				break
			}
			f := m.file(x.Version)
			if err := s.Record(ctx, m.module, Applied{Version: f.Version, Name: f.Name, Checksum: f.Up.Checksum}); err != nil {
				return err
			}
			x.State = Done
			done = append(done, x)
		}
		return nil
	})
	if err != nil {
		return nil, m.wrap(err)
	}
	return done, nil
}

func (m *Migrator) file(version int64) *File {
	for i := range m.files {
		if m.files[i].Version == version {
			return &m.files[i]
		}
	}
	return nil
}

// step is one script to run, up or down.
type step struct {
	file   File
	script Script
	// due reports whether the records still ask for it.
	due func([]Applied) (bool, error)
	// record stores that it was run.
	record func(ctx context.Context, s Session, took time.Duration) error
	verb   string
}

func (m *Migrator) up(f File) step {
	return step{
		file: f, script: f.Up, verb: "applied",
		due: func(applied []Applied) (bool, error) {
			todo, err := m.check(applied)
			return slices.ContainsFunc(todo, func(x Migration) bool { return x.Version == f.Version }), err
		},
		record: func(ctx context.Context, s Session, took time.Duration) error {
			return s.Record(ctx, m.module, Applied{Version: f.Version, Name: f.Name, Checksum: f.Up.Checksum, Duration: took})
		},
	}
}

func (m *Migrator) down(f File) step {
	return step{
		file: f, script: *f.Down, verb: "undone",
		due: func(applied []Applied) (bool, error) {
			if _, err := m.check(applied); err != nil {
				return false, err
			}
			last := lastVersion(applied)
			if last > f.Version {
				return false, fmt.Errorf("version %d was applied meanwhile", last)
			}
			return last == f.Version, nil
		},
		record: func(ctx context.Context, s Session, _ time.Duration) error {
			return s.Forget(ctx, m.module, f.Version)
		},
	}
}

// apply runs one step unless another process has done it. It reports whether it
// did.
func (m *Migrator) apply(ctx context.Context, st step) (ran bool, err error) {
	rendered, statements, err := m.prepare(st.script)
	if err != nil {
		return false, err
	}
	start := time.Now()
	if st.script.NoTransaction {
		ran, err = m.applyDetached(ctx, st, rendered, statements)
	} else {
		err = m.locked(ctx, func(s Session) error {
			ran = false
			applied, err := s.Applied(ctx, m.module)
			if err != nil {
				return err
			}
			due, err := st.due(applied)
			if err != nil || !due {
				return err
			}
			begin := time.Now() // without the wait for the lock
			if err := s.Exec(ctx, rendered.SQL); err != nil {
				return locate(st.script, rendered, statements, err)
			}
			ran = true
			return st.record(ctx, s, time.Since(begin))
		})
	}
	if err != nil {
		return false, err
	}
	if ran {
		m.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "migration "+st.verb, slog.String("module", m.module),
			slog.String("file", st.script.Path), slog.Duration("took", time.Since(start)))
	}
	return ran, nil
}

// locked is Driver.Lock, repeated while another session holds a lock that is
// needed. Each try holds the table locks it got for the driver's short lock
// timeout only, so that nobody queues up behind a migration that waits.
func (m *Migrator) locked(ctx context.Context, fn func(Session) error) error {
	const firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
	deadline := time.Now().Add(m.opts.LockWait)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := m.driver.Lock(ctx, fn)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		if time.Now().Add(pause).After(deadline) {
			if holders := m.driver.Holders(ctx); holders != "" {
				return fmt.Errorf("gave up after %v: %w; locks are held by %s", m.opts.LockWait, err, holders)
			}
			return fmt.Errorf("gave up after %v: %w", m.opts.LockWait, err)
		}
		m.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "migration waits for a lock held by others", slog.String("module", m.module))
		if !sleep(ctx, pause) {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// releaseTimeout bounds the clearing up after a failure.
const releaseTimeout = 5 * time.Second

// applyDetached runs a script statement by statement outside transactions.
func (m *Migrator) applyDetached(ctx context.Context, st step, rendered Rendered, statements []Statement) (ran bool, err error) {
	driver, ok := m.driver.(Detached)
	if !ok {
		return false, &Error{File: st.script.Path, Line: 1, Err: fmt.Errorf("%w: this database runs everything in a transaction", ErrFiles)}
	}
	lease := Lease{
		Module: m.module, Version: st.file.Version, Checksum: st.script.Checksum, Owner: rand.Text(), Duration: m.opts.Lease,
	}
	claim, due, err := m.claim(ctx, st, lease)
	if err != nil || !due {
		return false, err
	}
	start := time.Now()
	defer func() {
		if err == nil {
			return
		}
		// The caller's context may be what failed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if releaseErr := driver.Release(ctx, lease); releaseErr != nil && !errors.Is(releaseErr, ErrLeaseLost) {
			m.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "cannot release the lease of a migration; the next try waits until it expires",
				slog.String("file", st.script.Path), slog.Any("error", releaseErr))
		}
	}()
	ctx, stop := m.heartbeat(ctx, driver, lease)
	defer stop()
	for i := claim.Done; i < len(statements); i++ {
		s := statements[i]
		if err := driver.Progress(ctx, lease, i+1, i); err != nil {
			return false, cause(ctx, err)
		}
		exists, err := driver.Repair(ctx, lease, s)
		if err != nil {
			return false, locate(st.script, rendered, statements, &SQLError{Offset: s.Offset, Statement: i, Err: cause(ctx, err)})
		}
		// What is there although it was never recorded as done is ours only if an
		// earlier run had begun to make it.
		if !exists || claim.Started <= i {
			if err := driver.Run(ctx, lease, s); err != nil {
				return false, locate(st.script, rendered, statements, within(s, i, cause(ctx, err)))
			}
		}
		if err := driver.Progress(ctx, lease, i+1, i+1); err != nil {
			return false, cause(ctx, err)
		}
	}
	err = m.locked(ctx, func(s Session) error {
		if err := s.Unclaim(ctx, lease); err != nil {
			return err
		}
		return st.record(ctx, s, time.Since(start))
	})
	return err == nil, cause(ctx, err)
}

// claim waits for the lease of a step, or until somebody else has done it.
func (m *Migrator) claim(ctx context.Context, st step, lease Lease) (c Claim, due bool, err error) {
	const firstPause, longestPause = 50 * time.Millisecond, 2 * time.Second
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := m.locked(ctx, func(s Session) error {
			c, due = Claim{}, false
			applied, err := s.Applied(ctx, m.module)
			if err != nil {
				return err
			}
			if due, err = st.due(applied); err != nil || !due {
				return err
			}
			c, err = s.Claim(ctx, lease)
			return err
		})
		if errors.Is(err, ErrChanged) {
			err = &Error{File: st.script.Path, Err: err}
		}
		if err != nil || !due || c.Granted {
			return c, due, err
		}
		if !sleep(ctx, pause) {
			return c, due, fmt.Errorf("%w while another process runs %s", ctx.Err(), st.script.Path)
		}
	}
}

// heartbeat renews a lease until stop is called. The context it returns ends
// when the lease is lost. A renewal that fails otherwise (no free connection in
// a pool of one, say) does no harm: before anybody takes an expired lease, he
// looks whether a statement of its owner is still running.
func (m *Migrator) heartbeat(ctx context.Context, driver Detached, lease Lease) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for sleep(ctx, lease.Duration/3) {
			if err := driver.Renew(ctx, lease); errors.Is(err, ErrLeaseLost) {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-finished
	}
}

// cause replaces the error of a call that was cancelled because the lease was
// lost.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrLeaseLost) {
		return context.Cause(ctx)
	}
	return err
}

// within moves an error of one statement to its place in the script.
func within(s Statement, index int, err error) error {
	var e *SQLError
	if !errors.As(err, &e) {
		return &SQLError{Offset: s.Offset, Statement: index, Err: err}
	}
	return &SQLError{Offset: s.Offset + max(e.Offset, 0), Statement: index, Err: e.Err}
}

// prepare renders a script and proves what can be proved without a database.
func (m *Migrator) prepare(script Script) (Rendered, []Statement, error) {
	r, err := m.driver.Render(script.Text)
	if err != nil {
		return Rendered{}, nil, &Error{File: script.Path, Err: fmt.Errorf("%w: %w", ErrFiles, err)}
	}
	statements, err := Split(r.SQL)
	if err != nil {
		var open *OpenError
		if errors.As(err, &open) {
			return Rendered{}, nil, at(script, r.Source(open.Offset), fmt.Errorf("%w: %w", ErrFiles, err))
		}
		return Rendered{}, nil, &Error{File: script.Path, Err: err}
	}
	for _, s := range statements {
		if why := refused(s); why != "" {
			return Rendered{}, nil, at(script, r.Source(s.Offset), fmt.Errorf("%w: %s", ErrFiles, why))
		}
	}
	return r, statements, nil
}

// refused returns why a statement may not stand in a migration file; "" if it
// may.
func refused(s Statement) string {
	const tx = "the migrator begins and ends transactions, a file must not"
	const session = "would stay on a connection that belongs to all"
	switch {
	case s.Starts("BEGIN"), s.Starts("START", "TRANSACTION"), s.Starts("COMMIT"), s.Starts("END"), s.Starts("ROLLBACK"),
		s.Starts("ABORT"), s.Starts("PREPARE", "TRANSACTION"):
		return tx
	case s.Starts("SET", "LOCAL"), s.Starts("SET", "CONSTRAINTS"), s.Starts("SET", "TRANSACTION"):
		return ""
	case s.Starts("SET"):
		return "SET " + session + ", use SET LOCAL"
	case s.Starts("LISTEN"), s.Starts("PREPARE"), s.Starts("LOAD"), s.Starts("DISCARD"):
		return strings.ToUpper(s.Tokens[0].Text) + " " + session
	case s.Starts("CREATE", "TEMP"), s.Starts("CREATE", "TEMPORARY"):
		return "a temporary object " + session
	case s.Starts("COPY") && slices.ContainsFunc(s.Tokens, func(t Token) bool { return t.Is("STDIN") }):
		return "COPY FROM STDIN has no input here"
	}
	return ""
}

// locate turns an *SQLError into an *Error with the place in the file.
func locate(script Script, r Rendered, statements []Statement, err error) error {
	var e *SQLError
	if !errors.As(err, &e) {
		return &Error{File: script.Path, Err: err}
	}
	offset := e.Offset
	if offset < 0 && e.Statement >= 0 && e.Statement < len(statements) {
		offset = statements[e.Statement].Offset
	}
	if offset < 0 {
		return &Error{File: script.Path, Err: e.Err}
	}
	return at(script, r.Source(offset), e.Err)
}

// at returns an error with the line and column of an offset in a script.
func at(script Script, offset int, err error) error {
	offset = min(max(offset, 0), len(script.Text))
	before := script.Text[:offset]
	return &Error{
		File:   script.Path,
		Line:   1 + strings.Count(before, "\n"),
		Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		Err:    err,
	}
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
