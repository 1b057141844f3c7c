// Command mailcheck compares what is extracted from a folder of messages with what a person saw in them.
//
//	mailcheck FOLDER EXPECTATIONS.jsonl
//
// Each line of the second is an object: "file" (below the folder), "subject" or "subject_has" (parts of it), "sender" (as
// "Name <address>"), "date" (RFC 3339), "words" (in the text of the message), "absent" (not in it), "parts" (in the names of its
// attachments), "part_words" (in their texts). What is left out is not checked; white space counts as one blank. The program prints
// what does not agree, and how much of each kind does, and ends with 1 if anything does not.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
)

type expectation struct {
	File       string   `json:"file"`
	Subject    *string  `json:"subject"`
	SubjectHas []string `json:"subject_has"`
	Sender     *string  `json:"sender"`
	Date       string   `json:"date"`
	Words      []string `json:"words"`
	Absent     []string `json:"absent"`
	Parts      []string `json:"parts"`
	PartWords  []string `json:"part_words"`
}

type tally struct{ right, all int }

var kinds = []string{"opened", "subject", "sender", "date", "words", "absent", "parts", "part words"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mailcheck FOLDER EXPECTATIONS.jsonl")
		os.Exit(2)
	}
	counts, err := run(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "mailcheck:", err)
		os.Exit(2)
	}
	wrong := false
	for _, kind := range kinds {
		c := counts[kind]
		fmt.Printf("%-10s %4d of %d\n", kind, c.right, c.all)
		wrong = wrong || c.right < c.all
	}
	if wrong {
		os.Exit(1)
	}
}

func run(ctx context.Context, folder, list string) (map[string]tally, error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counts := map[string]tally{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var want expectation
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			return nil, err
		}
		check := func(kind string, ok bool, format string, args ...any) {
			c := counts[kind]
			c.all++
			if ok {
				c.right++
			} else {
				fmt.Printf("%s: %s: %s\n", want.File, kind, fmt.Sprintf(format, args...))
			}
			counts[kind] = c
		}
		compare(ctx, filepath.Join(folder, want.File), want, check)
	}
	return counts, lines.Err()
}

func compare(ctx context.Context, path string, want expectation, check func(kind string, ok bool, format string, args ...any)) {
	f, err := os.Open(path)
	if err != nil {
		check("opened", false, "%v", err)
		return
	}
	defer f.Close()
	var names, texts []string
	var x all.Extractor
	var part func(ctx context.Context, in extract.Input) error
	part = func(ctx context.Context, in extract.Input) error {
		names = append(names, in.Name)
		in.Part = part
		if text, err := x.Extract(ctx, in); err == nil {
			texts = append(texts, text.Content)
		}
		return ctx.Err()
	}
	got, err := x.Extract(ctx, extract.Input{Reader: f, Name: filepath.Base(path), Part: part})
	check("opened", err == nil, "%v", err)
	if want.Subject != nil {
		check("subject", got.Title == *want.Subject, "%q, want %q", got.Title, *want.Subject)
	}
	for _, s := range want.SubjectHas {
		check("subject", strings.Contains(got.Title, s), "%q is not in %q", s, got.Title)
	}
	if want.Sender != nil {
		check("sender", got.Author == *want.Sender, "%q, want %q", got.Author, *want.Sender)
	}
	if want.Date != "" {
		date, err := time.Parse(time.RFC3339, want.Date)
		check("date", err == nil && date.Equal(got.Date), "%v, want %v %v", got.Date, want.Date, err)
	}
	content := flat(got.Content)
	for _, s := range want.Words {
		check("words", strings.Contains(content, flat(s)), "%q is not in\n%s", s, got.Content)
	}
	for _, s := range want.Absent {
		check("absent", !strings.Contains(content, flat(s)), "%q is in\n%s", s, got.Content)
	}
	all := strings.Join(names, "\n")
	for _, s := range want.Parts {
		check("parts", strings.Contains(all, s), "%q is not among %q", s, names)
	}
	all = flat(strings.Join(texts, "\n"))
	for _, s := range want.PartWords {
		check("part words", strings.Contains(all, flat(s)), "%q is not in the parts %q", s, names)
	}
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }
