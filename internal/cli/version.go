package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const versionHelp = `
With --json:
  {"version","commit","go","platform"}`

func (a *app) versionCommand() *cobra.Command {
	return a.command("version", "Print the version", versionHelp, cobra.NoArgs, a.version)
}

func (a *app) version(context.Context, []string) error {
	v := struct {
		Version  string `json:"version"`
		Commit   string `json:"commit"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{Version: buildVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if a.opts.json {
		return a.printJSON(v)
	}
	a.printf("llmemory %s\n", v.Version)
	if v.Commit != "" {
		a.printf("commit   %s\n", v.Commit)
	}
	a.printf("go       %s %s\n", v.Go, v.Platform)
	return nil
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(unknown)"
}
