package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// helpTopics are the pages of "llmemory help" that belong to no command.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "environment", Short: "Environment variables", Long: environmentHelp()},
		{Use: "config", Short: "The configuration file", Long: configHelp()},
		{Use: "filter", Short: "Filters on metadata", Long: filterHelp},
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodeHelp},
	}
}

const exitCodeHelp = `Exit codes:

  0    done
  1    failed
  2    usage: an unknown flag, a missing argument, a value that breaks a rule
  3    not found
  4    partly done: some documents were added or deleted, others not
  130  interrupted; what was done until then stays`

const filterHelp = `Filters are JSON objects; all members must hold.

  {"lang": "go"}                                     the field equals
  {"year": {"$gte": 2020, "$lt": 2024}}              operators
  {"author.name": {"$prefix": "A"}}                  a field of a field
  {"$or": [{"tags": {"$contains": "x"}}, {"n": 1}]}  alternatives
  {"$not": {"state": {"$in": ["old", "gone"]}}}      negation

Operators: $eq $ne $in $nin $lt $lte $gt $gte $exists $contains $prefix, and
$and $or $not. A dot, dollar or backslash that belongs to a field's name is
escaped by a backslash.`

func environmentHelp() string {
	var b strings.Builder
	b.WriteString("Every flag has an environment variable. A flag comes first, then the variable, then the\n" +
		"configuration file, then the default. Where a flag may be repeated, the variable has one\n" +
		"value on each line.\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range reference() {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", row.env, row.flag, row.commands)
	}
	_ = t.Flush() // a strings.Builder takes everything
	b.WriteString("\nPostgreSQL's own variables (PGHOST, PGPASSWORD, PGSSLMODE, …) fill in what the database URL\nleaves out.")
	return b.String()
}

func configHelp() string {
	var b strings.Builder
	b.WriteString(`A configuration file is named by --config or LLMEMORY_CONFIG; there is none by default. It holds
one JSON object:

  {"db": "postgres://localhost/app", "owner": "app-1", "limit": 20, "type": ["pdf", "email"]}

Unknown keys and values of the wrong kind are refused. The keys are:

`)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range reference() {
		if row.key != "config" {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", row.key, row.kind, row.commands)
		}
	}
	_ = t.Flush() // a strings.Builder takes everything
	return strings.TrimRight(b.String(), "\n")
}

// referenceRow is a setting as the documentation shows it.
type referenceRow struct{ key, env, flag, kind, commands, fallback, usage string }

func reference() []referenceRow {
	var rows []referenceRow
	for i := range settings {
		s := &settings[i]
		row := referenceRow{key: s.key, env: s.env(), flag: "--" + s.flagName(), commands: "all", fallback: s.fallback, usage: s.usage}
		if s.short != "" {
			row.flag = "-" + s.short + ", " + row.flag
		}
		if s.arg != "" {
			row.flag += " " + s.arg
		}
		if !s.global() {
			row.commands = strings.Join(s.commands, ", ")
		}
		switch s.target(&options{}).(type) {
		case *string:
			row.kind = "string"
		case *int:
			row.kind = "number"
		case *bool:
			row.kind = "true or false"
		case *[]string:
			row.kind = "string or list"
		}
		rows = append(rows, row)
	}
	return rows
}

// Reference returns the program's reference in Markdown: commands, settings and exit codes. It is made of the same tables as the
// program, so documentation that contains it can be checked.
func Reference() string {
	a := &app{stdin: strings.NewReader(""), stdout: &output{w: io.Discard}, stderr: io.Discard}
	var b strings.Builder
	b.WriteString("## Commands\n\n| command | does |\n|---|---|\n")
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if c.Hidden || c.IsAdditionalHelpTopicCommand() {
				continue
			}
			if c.Annotations[runs] != "" {
				_, line, _ := strings.Cut(strings.TrimSuffix(c.UseLine(), " [flags]"), " ")
				fmt.Fprintf(&b, "| `%s` | %s |\n", escape(line), c.Short)
			}
			walk(c)
		}
	}
	walk(a.root())
	b.WriteString("| `completion bash\\|zsh\\|fish\\|powershell` | Print a completion script for the shell |\n")
	b.WriteString("\n## Settings\n\nA flag comes first, then the environment variable, then the configuration file, then the default.\n" +
		"A flag that may be repeated has one value on each line of its variable. The configuration file is a JSON object such as\n" +
		"`{\"db\": \"postgres://localhost/app\", \"limit\": 20, \"type\": [\"markdown\", \"code\"]}`; there is none unless it is named.\n\n" +
		"| flag | environment | configuration | commands | default | meaning |\n|---|---|---|---|---|---|\n")
	for _, r := range reference() {
		key, fallback := "`"+r.key+"`", ""
		if r.key == "config" {
			key = ""
		}
		if r.fallback != "" {
			fallback = "`" + r.fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", escape(r.flag), r.env, key, r.commands, fallback, escape(r.usage))
	}
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, line := range slices.Collect(strings.SplitSeq(exitCodeHelp, "\n"))[2:] {
		code, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		fmt.Fprintf(&b, "| %s | %s |\n", code, strings.TrimSpace(meaning))
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func (a *app) docsCommand() *cobra.Command {
	cmd := a.command("docs", "Print the reference in Markdown", "", cobra.NoArgs, func(context.Context, []string) error {
		a.printf("%s", Reference())
		return nil
	})
	cmd.Hidden = true
	return cmd
}
