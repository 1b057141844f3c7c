// Package cli is the llmemory program: its commands, its settings and how these are found, and what it prints.
//
// Results go to standard output, everything else to standard error. With --json standard output is one JSON document ("add"
// and "archive index" print one JSON document a line). Exit codes are stable: see [Main].
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/sandbox"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/pgdbm"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitPartly      = 4
	exitInterrupted = 130 // what a shell reports for a program that Ctrl-C ended
)

var (
	errUsage  = errors.New("usage")
	errPartly = errors.New("partly done")
)

// exitCodes gives every kind of error its exit code; the first that matches counts, and what is not here is a failure.
var exitCodes = []struct {
	err  error
	code int
}{
	{context.Canceled, exitInterrupted},
	{errPartly, exitPartly},
	{errUsage, exitUsage},
	{llmemory.ErrNotFound, exitNotFound},
	{llmemory.ErrInvalid, exitUsage},
	{pgdbm.ErrConfig, exitUsage},
	{llmemory.ErrConflict, exitFailure},
	{llmemory.ErrUnavailable, exitFailure},
	{llmemory.ErrCommitUnknown, exitFailure},
	{llmemory.ErrClosed, exitFailure},
	{llmemory.ErrCorrupt, exitFailure},
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	for _, row := range exitCodes {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return exitFailure
}

// usageError is a mistake on the command line, in the environment or in the configuration file.
type usageError struct{ err error }

func (e *usageError) Error() string   { return e.err.Error() }
func (e *usageError) Unwrap() []error { return []error{errUsage, e.err} }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// partlyError says that some of the work was done and some was not.
type partlyError struct{ text string }

func (e *partlyError) Error() string { return e.text }
func (e *partlyError) Unwrap() error { return errPartly }

// app is one run of the program.
type app struct {
	stdin  io.Reader
	stdout *output
	stderr io.Writer
	env    func(string) string
	opts   options
	logger *slog.Logger
	// model is the embedder, once it is made.
	model embedding.Embedder
	// language is the model that writes context lines, once it is made.
	language llm.ModelInfo
	// onEmbedded, if not nil, is called with the number of passages whenever some have been embedded.
	onEmbedded func(passages int)
	// extractor turns files into text.
	extractor extract.Extractor
	// findModel returns what is known of a local model's files.
	findModel func(name string) (*modelfile.Model, error)
	// newWatcher makes what tells of changes in folders; nil means the system's. Folders that are watched are scanned as often as
	// rescan says; 0 means every minute.
	newWatcher func() (*fsnotify.Watcher, error)
	rescan     time.Duration
	beat       time.Duration // how often a run says that it goes on; 0 means aliveEvery
	onScan     func()        // if not nil, is called after each scan, once what it left to embed is embedded
	// started tells that a command has taken over: errors before that are mistakes of usage.
	started bool
}

// Main runs the program with these arguments (without its name) and returns its exit code:
//
//	0    done
//	1    failed
//	2    usage: an unknown flag, a missing argument, a value that breaks a rule
//	3    not found
//	4    partly done
//	130  interrupted: ctx was cancelled
//
// Files whose parsers can crash are read in child processes, if main has called [sandbox.Main] before anything else.
//
// env looks up an environment variable, "" if it is not set. PostgreSQL's own variables (PGHOST, PGPASSWORD, …) are read from
// the environment of the process.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	var children sandbox.Pool // they are started when there is a file for them
	defer children.Close()
	a := &app{
		stdin: stdin, stdout: &output{w: stdout}, stderr: stderr, env: env, extractor: all.Extractor{Sandbox: &children},
		findModel: modelfile.Find,
	}
	return a.main(ctx, args)
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started && !errors.Is(err, errUsage) {
		err = &usageError{err}
	}
	if err == nil && a.stdout.err != nil {
		err = fmt.Errorf("write the output: %w", a.stdout.err)
	}
	if ctx.Err() != nil && err != nil {
		err = context.Canceled // what was cut short is no news
	}
	switch {
	case errors.Is(err, context.Canceled):
		a.note("interrupted")
	case err != nil && !errors.Is(err, errReported):
		a.note("%v", err)
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintf(a.stderr, "Run %q for help.\n", cmd.CommandPath()+" --help")
	}
	return exitCode(err)
}

// note tells the user something on standard error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, "llmemory: %s\n", fmt.Sprintf(format, args...))
}

// output remembers the first error of writing, so that a full disk does not pass for success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// isTerminal tells whether somebody is looking. The null device passes for a terminal too, which does no harm: what is only
// for people is lost there, and no answer is read from it.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const rootHelp = `llmemory keeps documents and finds passages in them, by their words and by their meaning.

  llmemory models pull
  llmemory add ~/notes
  llmemory search "when is the lease up?"

Documents are kept in a file of the user's, or in what --db names: another file, or
a PostgreSQL database. "models pull" fetches a model that runs on this machine;
without one, searches go by words.

Results go to standard output, everything else to standard error.`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "llmemory",
		Short:             "Document memory with search",
		Long:              rootHelp,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Version:           buildVersion(),
		RunE:              func(*cobra.Command, []string) error { return usagef("name a command") },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("llmemory {{.Version}}\n")
	flags := root.PersistentFlags()
	for i := range settings {
		if s := &settings[i]; s.global() {
			s.bind(root, flags, &a.opts)
		}
	}
	root.AddCommand(a.addCommand(), a.searchCommand(), a.listCommand(), a.getCommand(), a.deleteCommand(), a.statsCommand(), a.runsCommand(), a.archiveCommand(),
		a.embedCommand(), a.queueCommand(), a.modelsCommand(), a.exportCommand(), a.importCommand(), a.copyCommand(), a.migrateCommand(), a.evalCommand(), a.doctorCommand(), a.versionCommand(), a.docsCommand())
	root.AddCommand(helpTopics()...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				_, _, err := root.Find(args)
				return err
			}
		case "completion":
			c.RunE = func(*cobra.Command, []string) error { return usagef("name a shell: bash, zsh, fish or powershell") }
		}
	}
	a.bindAll(root)
	return root
}

// bindAll declares the flags of all commands.
func (a *app) bindAll(cmd *cobra.Command) {
	for _, child := range cmd.Commands() {
		for i := range settings {
			if s := &settings[i]; !s.global() && s.appliesTo(commandName(child)) {
				s.bind(child, child.Flags(), &a.opts)
			}
		}
		a.bindAll(child)
	}
}

// runs marks the commands that do something by themselves: others only hold subcommands.
const runs = "runs"

// command makes a command whose settings are resolved before it runs.
func (a *app) command(use, short, long string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:         use,
		Short:       short,
		Annotations: map[string]string{runs: "yes"},
		Long:        short + ".\n\n" + strings.TrimSpace(long),
		Args:        args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.resolve(cmd); err != nil {
				return err
			}
			a.started = true
			level := slog.LevelWarn
			if a.opts.verbose {
				level = slog.LevelDebug
			}
			a.logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
			return run(cmd.Context(), args)
		},
	}
}
