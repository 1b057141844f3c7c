package cli

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// The table is sound: defaults can be read, and no command has a flag twice.
func TestSettingsTable(t *testing.T) {
	t.Parallel()
	commands := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		commands[commandName(cmd)] = true
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk((&app{stdout: &output{}}).root())
	seen := map[string]bool{}
	for _, s := range settings {
		if _, ok := s.target(&options{}).(*int); ok {
			if _, err := strconv.Atoi(s.fallback); err != nil {
				t.Errorf("%s: default %q: %v", s.key, s.fallback, err)
			}
		}
		if _, ok := s.target(&options{}).(*bool); ok != (s.arg == "") {
			t.Errorf("%s: a switch has no argument, anything else has one", s.key)
		}
		names := s.commands
		if s.global() {
			names = []string{""}
		}
		for _, c := range names {
			if !commands[c] {
				t.Errorf("%s: there is no command %q", s.key, c)
			}
			if seen[c+" --"+s.flagName()] {
				t.Errorf("%q has --%s twice", c, s.flagName())
			}
			seen[c+" --"+s.flagName()] = true
		}
	}
	for name := range seen {
		if command, flag, _ := strings.Cut(name, " "); command != "" && seen[" "+flag] {
			t.Errorf("%q hides a global flag", name)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	config := write(t, "config.json", `{"limit": 3, "origin": ["file"], "sort": "date"}`)
	tests := []struct {
		name  string
		args  []string
		env   map[string]string
		limit int
		list  []string
		sort  string
	}{
		{"default", nil, nil, 20, nil, "created"},
		{"file", []string{"--config", config}, nil, 3, []string{"file"}, "date"},
		{"file by environment", nil, map[string]string{"LLMEMORY_CONFIG": config}, 3, []string{"file"}, "date"},
		{"environment", []string{"--config", config}, map[string]string{"LLMEMORY_LIMIT": "4", "LLMEMORY_ORIGIN": "a\nb,c"}, 4,
			[]string{"a", "b,c"}, "date"},
		{"flag", []string{"-n5", "--origin", "x", "--origin", "y", "--sort", "name", "--config", config},
			map[string]string{"LLMEMORY_LIMIT": "4", "LLMEMORY_ORIGIN": "a", "LLMEMORY_SORT": "date"}, 5, []string{"x", "y"}, "name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := &app{stdout: &output{}, env: func(k string) string { return test.env[k] }}
			cmd, rest, err := a.root().Find(append([]string{"list"}, test.args...))
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Fatal(err)
			}
			if err := a.resolve(cmd); err != nil {
				t.Fatal(err)
			}
			if a.opts.limit != test.limit || a.opts.sort != test.sort {
				t.Errorf("limit %d, sort %s, want %d, %s", a.opts.limit, a.opts.sort, test.limit, test.sort)
			}
			if diff := cmp.Diff(test.list, a.opts.origins); diff != "" {
				t.Errorf("origins (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config string
		want   map[string][]string
		err    string // faults, one a line
	}{
		{`{}`, map[string][]string{}, ""},
		{`{"owner": "o", "limit": 7, "json": true, "meta": ["a=1", "b=2"], "type": "pdf"}`,
			map[string][]string{"owner": {"o"}, "limit": {"7"}, "json": {"true"}, "meta": {"a=1", "b=2"}, "type": {"pdf"}}, ""},
		{`[]`, nil, "must be a JSON object"},
		{``, nil, "must be a JSON object"},
		{`{"owner": "o"`, map[string][]string{"owner": {"o"}}, "is not JSON: EOF"},
		{`{"owner": "o",}`, map[string][]string{"owner": {"o"}}, "is not JSON: invalid character '}'"},
		{`{"owner": "o"} {}`, map[string][]string{"owner": {"o"}}, "has something after the JSON object"},
		{`{"ownr": "o", "limit": "7", "meta": 1, "owner": null}`, map[string][]string{},
			"\"ownr\" is no setting\n\"limit\" must be a number\n\"meta\" must be a string or a list of strings\n\"owner\" must be a string"},
	}
	for _, test := range tests {
		got, err := parseConfig([]byte(test.config))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !strings.HasPrefix(text, test.err) || test.err == "" && text != "" {
			t.Errorf("%s: error %q, want %q", test.config, text, test.err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.config, diff)
		}
	}
}
