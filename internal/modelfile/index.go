package modelfile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// accept is what package indexes are asked for: the newer JSON form (PEP 691) or pages (PEP 503).
const accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.2, text/html; q=0.1"

// errNoWheel is that a place was asked and has nothing that would do.
var errNoWheel = errors.New("has no wheel of it")

// errNoIndex is that pip's configuration forbids to ask any.
var errNoIndex = errors.New(`not asked: pip's configuration or PIP_NO_INDEX says "no-index"`)

// link is a file that an index offers.
type link struct {
	remote
	// local is its path, if it is on this machine.
	local   string
	version string
}

// wheels returns the wheels of a project that one index, or one place of find-links, has, the best first.
func (c *client) wheels(ctx context.Context, index string, w Wheel, findLinks bool) ([]link, error) {
	var found []link
	var err error
	if dir, ok := localPath(index); ok {
		found, err = localLinks(dir)
	} else {
		address := index
		if !findLinks {
			address = strings.TrimRight(index, "/") + "/" + normalized(w.Project) + "/"
		}
		found, err = c.remoteLinks(ctx, address)
	}
	if err != nil {
		return nil, err
	}
	return choose(found, w), nil
}

// localPath is the path of a folder or file:// address.
func localPath(place string) (string, bool) {
	u, err := url.Parse(place)
	switch {
	case err == nil && u.Scheme == "file":
		return filepath.FromSlash(u.Path), true
	case err == nil && (u.Scheme == "http" || u.Scheme == "https"):
		return "", false
	}
	return place, true
}

// localLinks are the files of a folder.
func localLinks(place string) ([]link, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s: is no folder", place)
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return nil, err
	}
	var out []link
	for _, e := range entries {
		out = append(out, link{remote: remote{name: e.Name()}, local: filepath.Join(place, e.Name())})
	}
	return out, nil
}

func (c *client) remoteLinks(ctx context.Context, address string) ([]link, error) {
	page, from, kind, err := c.page(ctx, address, accept)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(kind, "+json"), kind == "application/json":
		return jsonLinks(page, from)
	case strings.Contains(kind, "html"):
		return htmlLinks(page, from), nil
	}
	return nil, fmt.Errorf("%s: %w: sent %q in place of an index page", publicURL(address), errConfused, kind)
}

// jsonLinks reads a project's page of PEP 691.
func jsonLinks(page []byte, from *url.URL) ([]link, error) {
	var answer struct {
		Meta struct {
			Version string `json:"api-version"`
		} `json:"meta"`
		Files []struct {
			Filename string            `json:"filename"`
			URL      string            `json:"url"`
			Hashes   map[string]string `json:"hashes"`
			Size     int64             `json:"size"`
			Yanked   any               `json:"yanked"`
		} `json:"files"`
	}
	if err := json.Unmarshal(page, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w: the index page is no JSON: %w", publicURL(from.String()), errConfused, err)
	}
	if major, _, _ := strings.Cut(answer.Meta.Version, "."); major != "1" && major != "" {
		return nil, fmt.Errorf("%s: an index of version %q, which this program does not know", publicURL(from.String()), answer.Meta.Version)
	}
	var out []link
	for _, f := range answer.Files {
		u, err := from.Parse(f.URL)
		if yanked, _ := f.Yanked.(bool); err != nil || yanked || f.Yanked != nil && f.Yanked != false {
			continue
		}
		l := link{remote: remote{url: u.String(), name: f.Filename, bytes: f.Size}}
		if sum := f.Hashes["sha256"]; sum != "" {
			l.algorithm, l.hash = "sha256", strings.ToLower(sum)
		}
		out = append(out, l)
	}
	return out, nil
}

var (
	comment   = regexp.MustCompile(`(?s)<!--.*?-->`)
	tag       = regexp.MustCompile(`(?is)<(a|base)\s((?:[^>"']|"[^"]*"|'[^']*')*)>`)
	attribute = regexp.MustCompile(`(?is)([a-z-]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+))?`)
)

// htmlLinks reads a project's page of PEP 503, or any page with links.
func htmlLinks(page []byte, from *url.URL) []link {
	var out []link
	for _, m := range tag.FindAllSubmatch(comment.ReplaceAll(page, nil), -1) {
		attributes := map[string]string{}
		for _, a := range attribute.FindAllSubmatch(m[2], -1) {
			attributes[strings.ToLower(string(a[1]))] = html.UnescapeString(strings.Trim(string(a[2]), `"'`))
		}
		u, err := from.Parse(strings.TrimSpace(attributes["href"]))
		if err != nil || attributes["href"] == "" {
			continue
		}
		if strings.EqualFold(string(m[1]), "base") {
			from = u
			continue
		}
		if _, yanked := attributes["data-yanked"]; yanked {
			continue
		}
		l := link{remote: remote{name: path.Base(u.Path)}}
		if algorithm, sum, ok := strings.Cut(u.Fragment, "="); ok {
			sum, _, _ = strings.Cut(sum, "&")
			l.algorithm, l.hash = strings.ToLower(algorithm), strings.ToLower(sum)
		}
		u.Fragment = ""
		l.url = u.String()
		out = append(out, l)
	}
	return out
}

var separators = regexp.MustCompile(`[-_.]+`)

// normalized is a project's name as indexes know it (PEP 503).
func normalized(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// choose returns the wheels of the project that every machine takes, the known version first and newer ones before older ones.
func choose(found []link, w Wheel) []link {
	var out []link
	for _, l := range found {
		base, ok := strings.CutSuffix(l.name, ".whl")
		parts := strings.Split(base, "-") // name, version, perhaps build, python, abi, platform
		if !ok || len(parts) < 5 || normalized(parts[0]) != normalized(w.Project) || parts[len(parts)-1] != "any" {
			continue
		}
		l.version = parts[1]
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b link) int {
		if known := cmp.Compare(rank(a.version == w.Version), rank(b.version == w.Version)); known != 0 {
			return known
		}
		return -compareVersions(a.version, b.version)
	})
	return out
}

func rank(good bool) int {
	if good {
		return 0
	}
	return 1
}

// compareVersions compares the numbers of two versions; it need not know which of two betas is newer.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y int
		if i < len(as) {
			x, _ = strconv.Atoi(as[i]) // what is no number is old
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
