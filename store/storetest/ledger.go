package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
)

func (s *suite) ledgerCases() []testCase {
	return []testCase{
		{name: "RoundTrip", run: s.testRuns},
		{name: "Pages", run: s.testRunPages},
		{name: "Owners", run: s.testRunOwners},
		{name: "SourceFiles", run: s.testSourceFiles},
		{name: "Failures", run: s.testFailures},
		{name: "Log", run: s.testRunLog},
		{name: "Within", run: s.testRunWithin},
		{name: "Kept", run: s.testRunsKept},
		{name: "DeleteAll", run: s.testDeleteAllRuns},
	}
}

// fileID is the id of a document for the ledger, which does not ask whether it is there.
func fileID(key string) string {
	return llmemory.DocumentID("o", llmemory.Identity{OriginID: "o", Key: key})
}

var ignoreUpdated = cmpopts.IgnoreFields(llmemory.Run{}, "UpdatedAt")

func (s *suite) testRuns(t *testing.T) {
	owner, ctx := t.Name(), t.Context()
	put := func(r llmemory.Run, files ...llmemory.RunFile) int64 {
		t.Helper()
		return must(s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: r, Files: files}))(t)
	}
	run := llmemory.Run{OriginID: "o", Sources: []string{"/a", "/b \"c\" ü"}, State: llmemory.RunRunning,
		StartedAt: time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC), Created: 1, Failed: 1}
	files := []llmemory.RunFile{
		{Number: 1, Source: "/a", Path: "/a/x", DocumentID: fileID("x"), Outcome: llmemory.Created, Chunks: 3},
		{Number: 2, Source: "/a", Path: "/a/y", Outcome: llmemory.Failed, Reason: "damaged", Message: "it's cut\nshort",
			SourceHash: []byte{0, 255}},
	}
	run.ID = put(run, files...)
	if run.ID != 1 {
		t.Errorf("the first run has the id %d", run.ID)
	}
	more := llmemory.RunFile{Number: 3, Source: "/b", Path: "/b/z", Outcome: llmemory.Skipped, Reason: "unsupported"}
	run.State, run.Skipped, run.Embedded, run.Fingerprint = llmemory.RunComplete, 1, 7, []byte{1, 0, 255}
	changed := files[1]
	changed.Message = "what is there stays"
	if id := put(run, changed, more); id != run.ID {
		t.Errorf("written again it has the id %d", id)
	}
	if id := put(llmemory.Run{OriginID: "p", State: llmemory.RunStopped, StartedAt: run.StartedAt}); id != 2 {
		t.Errorf("the second run has the id %d", id)
	}
	got := must(s.shared.Runs(ctx, llmemory.RunsParams{Owner: owner, ID: 1, Limit: 9}))(t)
	if diff := cmp.Diff([]llmemory.Run{run}, got, ignoreUpdated); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if since := time.Since(got[0].UpdatedAt); since > time.Hour || since < -time.Hour {
		t.Errorf("updated at %s", got[0].UpdatedAt)
	}
	list := must(s.shared.RunFiles(ctx, llmemory.RunFilesParams{Owner: owner, Run: 1, Limit: 9}))(t)
	if diff := cmp.Diff(append(files, more), list); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: llmemory.Run{ID: 9, StartedAt: run.StartedAt}}); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
}

func (s *suite) testRunPages(t *testing.T) {
	owner, ctx := t.Name(), t.Context()
	for i := range 5 {
		var files []llmemory.RunFile
		for n := range i * 3 {
			outcome := []llmemory.Status{llmemory.Unchanged, llmemory.Failed, llmemory.Skipped}[n%3]
			files = append(files, llmemory.RunFile{Number: int64(n + 1), Path: fmt.Sprint(n), Outcome: outcome})
		}
		must(s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: llmemory.Run{StartedAt: time.Unix(int64(i), 0)}, Files: files}))(t)
	}
	ids := func(p llmemory.RunsParams) (out []int64) {
		t.Helper()
		p.Owner = owner
		for _, r := range must(s.shared.Runs(ctx, p))(t) {
			out = append(out, r.ID)
		}
		return out
	}
	if diff := cmp.Diff([]int64{5, 4}, ids(llmemory.RunsParams{Limit: 2})); diff != "" {
		t.Errorf("newest (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{2, 1}, ids(llmemory.RunsParams{Before: 3, Limit: 9})); diff != "" {
		t.Errorf("before the third (-want +got):\n%s", diff)
	}
	numbers := func(p llmemory.RunFilesParams) (out []int64) {
		t.Helper()
		p.Owner, p.Run = owner, 5
		for _, f := range must(s.shared.RunFiles(ctx, p))(t) {
			out = append(out, f.Number)
		}
		return out
	}
	if diff := cmp.Diff([]int64{4, 5, 6}, numbers(llmemory.RunFilesParams{After: 3, Limit: 3})); diff != "" {
		t.Errorf("files after the third (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{2, 3, 5}, numbers(llmemory.RunFilesParams{Outcomes: []llmemory.Status{llmemory.Failed, llmemory.Skipped}, Limit: 3})); diff != "" {
		t.Errorf("failed and skipped files (-want +got):\n%s", diff)
	}
}

// testRunOwners keeps the runs of owners apart, which have the same ids.
func (s *suite) testRunOwners(t *testing.T) {
	ctx := t.Context()
	owners := []string{t.Name() + " 1", t.Name() + " 2"}
	for i, owner := range owners {
		id := must(s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: llmemory.Run{OriginID: "o", Sources: []string{"/s"}, Created: int64(i),
			StartedAt: time.Unix(1, 0)}, Files: []llmemory.RunFile{{Number: 1, Source: "/s", Path: owner, DocumentID: fileID("x"), Outcome: llmemory.Created}}}))(t)
		if id != 1 {
			t.Errorf("the first run of %s has the id %d", owner, id)
		}
	}
	check := func(owner string, runs, files int) {
		t.Helper()
		r := must(s.shared.Runs(ctx, llmemory.RunsParams{Owner: owner, Limit: 9}))(t)
		f := must(s.shared.RunFiles(ctx, llmemory.RunFilesParams{Owner: owner, Run: 1, Limit: 9}))(t)
		source := must(s.shared.SourceFiles(ctx, llmemory.SourceFilesParams{Owner: owner, OriginID: "o", Source: "/s", Limit: 9}))(t)
		if len(r) != runs || len(f) != files || len(source) != files || files > 0 && (f[0].Path != owner || source[0].Path != owner) {
			t.Errorf("%s: runs %+v, files %+v, of the source %+v", owner, r, f, source)
		}
	}
	check(owners[0], 1, 1)
	check(owners[1], 1, 1)
	check(t.Name()+" 3", 0, 0)
	if n := must(s.shared.ForgetRuns(ctx, llmemory.ForgetRunsParams{Owner: owners[0], Runs: []int64{1, 2}}))(t); n != 1 {
		t.Errorf("forgot %d runs, want 1", n)
	}
	check(owners[0], 0, 0)
	check(owners[1], 1, 1)
	if n := must(s.shared.ForgetRuns(ctx, llmemory.ForgetRunsParams{Owner: owners[1]}))(t); n != 1 {
		t.Errorf("forgot %d runs, want 1", n)
	}
	check(owners[1], 0, 0)
}

// testSourceFiles asks which documents come from a source: what was seen elsewhere later, or removed, does not.
func (s *suite) testSourceFiles(t *testing.T) {
	owner, ctx := t.Name(), t.Context()
	run := func(origin string, files ...llmemory.RunFile) {
		t.Helper()
		for i := range files {
			files[i].Number = int64(i + 1)
		}
		must(s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: llmemory.Run{OriginID: origin, StartedAt: time.Unix(1, 0)}, Files: files}))(t)
	}
	file := func(source, key string, outcome llmemory.Status) llmemory.RunFile {
		return llmemory.RunFile{Source: source, Path: source + "/" + key, DocumentID: fileID(key), Outcome: outcome}
	}
	run("o", file("/a", "1", llmemory.Created), file("/a", "2", llmemory.Created), file("/a", "3", llmemory.Created), file("/b", "4", llmemory.Created),
		llmemory.RunFile{Source: "/a", Path: "/a/bad", Outcome: llmemory.Failed})
	run("o", file("/b", "2", llmemory.Updated))                                          // now from elsewhere
	run("o", file("/a", "1", llmemory.Unchanged))                                        // still there
	run("o", file("/a", "3", llmemory.Removed))                                          // gone
	run("other", file("/a", "5", llmemory.Created), file("/b", "1", llmemory.Unchanged)) // of another origin
	want := map[string][]string{"o /a": {"1"}, "o /b": {"2", "4"}, "other /a": {"5"}, "other /c": nil}
	for _, key := range []string{"o /a", "o /b", "other /a", "other /c"} {
		var origin, source string
		fmt.Sscan(key, &origin, &source) //nolint:errcheck // as it was written
		ids := map[string]bool{}
		for after := ""; ; {
			page := must(s.shared.SourceFiles(ctx, llmemory.SourceFilesParams{Owner: owner, OriginID: origin, Source: source, After: after, Limit: 1}))(t)
			if len(page) == 0 {
				break
			}
			after = page[0].DocumentID
			ids[after] = true
		}
		wanted := map[string]bool{}
		for _, k := range want[key] {
			wanted[fileID(k)] = true
		}
		if diff := cmp.Diff(wanted, ids); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// testRunLog writes what a run changed, and nothing where all is as it was.
func (s *suite) testRunLog(t *testing.T) {
	o, ctx := s.owner(t), t.Context()
	files := func(outcome llmemory.Status) []llmemory.RunFile {
		return []llmemory.RunFile{
			{Source: "/a", Path: "/a/1", DocumentID: fileID("1"), Outcome: outcome, Chunks: 1},
			{Source: "/a", Path: "/a/\xff\x00", Outcome: llmemory.Failed, Reason: "damaged", Message: "bad \xff"},
			{Source: "/a", Path: "/a/3", Outcome: llmemory.Skipped, Reason: "unsupported"},
		}
	}
	log := func(files []llmemory.RunFile, complete bool) *llmemory.Run {
		t.Helper()
		l := o.LogRun("o", []string{"/a"})
		for _, f := range files {
			l.Note(f, 2)
			if err := l.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
		return must(l.End(ctx, complete))(t)
	}
	first := log(files(llmemory.Created), true)
	if first == nil || first.ID != 1 || first.State != llmemory.RunComplete || first.Created != 1 || first.Failed != 1 || first.Skipped != 1 || first.Embedded != 6 {
		t.Fatalf("first run: %+v", first)
	}
	stored := must(o.RunFiles(ctx, 1, nil))(t)
	if len(stored) != 3 || stored[1].Path != "/a/\ufffd\ufffd" || stored[1].Message != "bad \ufffd" || stored[2].Number != 3 {
		t.Errorf("files: %+v", stored)
	}
	for _, complete := range []bool{true, false} {
		if again := log(files(llmemory.Unchanged), complete); again != nil {
			t.Errorf("the same again, complete %t: written as %+v", complete, again)
		}
	}
	if more := log(files(llmemory.Unchanged)[:2], true); more == nil || more.ID != 2 || more.Unchanged != 1 {
		t.Errorf("a file less: %+v", more)
	}
	if stopped := log(files(llmemory.Updated), false); stopped == nil || stopped.State != llmemory.RunStopped {
		t.Errorf("stopped: %+v", stopped)
	}
	if again := log(files(llmemory.Unchanged), true); again == nil || again.ID != 4 {
		t.Errorf("after a run that was stopped: %+v", again)
	}
	l := o.LogRun("o", []string{"/a"}) // one that is killed
	l.Note(files(llmemory.Created)[0], 0)
	if err := l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	run := must(o.Run(ctx, 5))(t)
	if run.State != llmemory.RunRunning || run.Created != 1 || len(must(o.RunFiles(ctx, 5, nil))(t)) != 1 {
		t.Errorf("a run that was killed: %+v", run)
	}
	if _, err := o.Run(ctx, 99); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("no such run: %v", err)
	}
}

// testFailures asks what is known of sources by their hashes.
func (s *suite) testFailures(t *testing.T) {
	owner, ctx := t.Name(), t.Context()
	bad := llmemory.RunFile{Number: 1, Source: "/a", Path: "/a/bad", Outcome: llmemory.Failed, Reason: "damaged", Message: "cut", SourceHash: []byte("bad")}
	odd := llmemory.RunFile{Number: 2, Source: "/a", Path: "/a/odd", Outcome: llmemory.Skipped, Reason: "unsupported", Message: "?", SourceHash: []byte{0}}
	good := llmemory.RunFile{Number: 3, Source: "/a", Path: "/a/good", DocumentID: fileID("good"), Outcome: llmemory.Created}
	for range 2 { // runs that say the same
		must(s.shared.PutRun(ctx, llmemory.PutRunParams{Owner: owner, Run: llmemory.Run{StartedAt: time.Unix(1, 0)}, Files: []llmemory.RunFile{bad, odd, good}}))(t)
	}
	known := func(owner string, hashes ...[]byte) map[string]llmemory.RunFile {
		t.Helper()
		out := map[string]llmemory.RunFile{}
		for _, f := range must(s.shared.Failures(ctx, llmemory.FailuresParams{Owner: owner, SourceHashes: hashes}))(t) {
			out[string(f.SourceHash)] = f
		}
		return out
	}
	want := map[string]llmemory.RunFile{"bad": bad, "\x00": odd}
	if diff := cmp.Diff(want, known(owner, []byte("bad"), []byte{0}, []byte("unknown"), nil)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if got := known(owner+" 2", []byte("bad")); len(got) != 0 {
		t.Errorf("of another owner: %+v", got)
	}
	must(s.shared.ForgetRuns(ctx, llmemory.ForgetRunsParams{Owner: owner}))(t)
	if got := known(owner, []byte("bad")); len(got) != 0 {
		t.Errorf("of runs that are forgotten: %+v", got)
	}
}

// testRunWithin keeps in the ledger what lies within files that were not read again.
func (s *suite) testRunWithin(t *testing.T) {
	o, ctx := s.owner(t), t.Context()
	log := func(files ...llmemory.RunFile) *llmemory.Run {
		t.Helper()
		l := o.LogRun("o", []string{"/a"})
		for _, f := range files {
			f.Source = "/a"
			l.Note(f, 0)
		}
		return must(l.End(ctx, true))(t)
	}
	mail := llmemory.RunFile{Path: "/a/m", DocumentID: fileID("m"), Outcome: llmemory.Created}
	plain := llmemory.RunFile{Path: "/a/p", DocumentID: fileID("p"), Outcome: llmemory.Created}
	log(mail, llmemory.RunFile{Path: "/a/m/good", DocumentID: fileID("m/good"), Outcome: llmemory.Created},
		llmemory.RunFile{Path: "/a/m/bad", Outcome: llmemory.Failed, Reason: "damaged"}, plain,
		llmemory.RunFile{Path: "/a/p/gone", DocumentID: fileID("p/gone"), Outcome: llmemory.Created})
	mail.Outcome, plain.Outcome = llmemory.Unchanged, llmemory.Unchanged
	if again := log(mail, plain); again != nil {
		t.Errorf("the same again: written as %+v", again)
	}
	plain.Outcome = llmemory.Updated
	second := log(mail, plain)
	if second == nil || second.Unchanged != 2 || second.Failed != 1 || second.Updated != 1 {
		t.Fatalf("the second run: %+v", second)
	}
	var got []string
	for _, f := range must(o.RunFiles(ctx, second.ID, nil))(t) {
		got = append(got, f.Path+" "+string(f.Outcome))
	}
	if diff := cmp.Diff([]string{"/a/m unchanged", "/a/p updated", "/a/m/good unchanged", "/a/m/bad failed"}, got); diff != "" {
		t.Errorf("its files (-want +got):\n%s", diff)
	}
}

// testRunsKept forgets old runs, but the last one of each source.
func (s *suite) testRunsKept(t *testing.T) {
	o, ctx := s.owner(t), t.Context()
	log := func(source string) {
		t.Helper()
		l := o.LogRun("o", []string{source})
		l.Note(llmemory.RunFile{Source: source, Path: source + "/x", DocumentID: fileID(source), Outcome: llmemory.Updated}, 0)
		must(l.End(ctx, true))(t)
	}
	log("/rare")
	for range 25 {
		log("/often")
	}
	runs := must(o.Runs(ctx, &llmemory.RunsOptions{Limit: 1000}))(t)
	if len(runs) != 21 || runs[20].Sources[0] != "/rare" || runs[0].ID != 26 {
		t.Errorf("%d runs are kept, the last %+v", len(runs), runs[len(runs)-1])
	}
	if files := must(o.SourceFiles(ctx, "o", "/rare"))(t); len(files) != 1 {
		t.Errorf("files of the rare source: %+v", files)
	}
}

func (s *suite) testDeleteAllRuns(t *testing.T) {
	o, ctx := s.owner(t), t.Context()
	add(t, o, llmemory.Document{Key: "k", Content: "text"})
	l := o.LogRun("", []string{"/s"})
	l.Note(llmemory.RunFile{Path: "/s/k", Outcome: llmemory.Created}, 0)
	must(l.End(ctx, true))(t)
	must(o.DeleteAll(ctx))(t)
	if runs := must(o.Runs(ctx, nil))(t); len(runs) != 0 {
		t.Errorf("runs are left: %+v", runs)
	}
}
