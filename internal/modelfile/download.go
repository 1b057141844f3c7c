package modelfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrChecksum is that what came is not what it should be.
var ErrChecksum = errors.New("wrong checksum")

// remote is a file that a server has.
type remote struct {
	url string
	// name is what people are told it is.
	name string
	// hash is its hash, as an algorithm and hexadecimal digits, empty if the index does not tell.
	algorithm, hash string
	// bytes is its size, 0 if that is not known.
	bytes int64
}

// part is a download that may have broken off: what there is of the file, and what tells whether the server still has the same.
type part struct {
	path string
}

// validator is kept beside a part.
type validator struct {
	// Tag is a strong entity tag or a date of the last change: what If-Range takes.
	Tag string `json:"tag"`
	// Source is the hash of the address, and of the hash that the index told.
	Source string `json:"source"`
	// Bytes is how large the whole file is, 0 if the server did not say.
	Bytes int64 `json:"bytes,omitempty"`
}

func (p *part) sidecar() string { return p.path + ".json" }

func (p *part) remove() {
	_ = os.Remove(p.path) // it need not be there
	_ = os.Remove(p.sidecar())
}

// resumable returns how much of the file is there, and what tells that the server still has the same file.
func (p *part) resumable(source string) (int64, validator) {
	var v validator
	raw, err := os.ReadFile(p.sidecar())
	if err != nil || json.Unmarshal(raw, &v) != nil || v.Source != source || v.Tag == "" {
		p.remove()
		return 0, validator{}
	}
	info, err := os.Stat(p.path)
	if err != nil {
		return 0, validator{}
	}
	return info.Size(), v
}

// sourceKey tells apart what parts may be parts of.
func (r *remote) sourceKey() string {
	sum := sha256.Sum256([]byte(publicURL(r.url) + "\n" + r.hash))
	return hex.EncodeToString(sum[:])
}

// download puts a file at path, which must be on the file system of the final place. It goes on where an earlier one broke off, in
// this process or another one, if the server says that it is the same file. When it fails, what came stays for the next time.
func (c *client) download(ctx context.Context, r *remote, path string, progress func(done, total int64)) error {
	p := &part{path}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	resumed := false
	for failed := 0; ; {
		before, _ := p.resumable(r.sourceKey())
		resumed = resumed || before > 0
		err := c.downloadOnce(ctx, r, p, progress)
		if err == nil {
			err = r.check(path)
			if errors.Is(err, ErrChecksum) {
				p.remove()
				if resumed { // the server may have changed its mind in between
					resumed = false
					continue
				}
			}
		}
		if err == nil || errors.Is(err, ErrChecksum) || ctx.Err() != nil {
			return err
		}
		var local *os.PathError
		if errors.As(err, &local) {
			return err
		}
		if after, _ := p.resumable(r.sourceKey()); after > before {
			failed = 0 // slow is not stuck
		}
		wait, again := c.again(err, failed)
		if !again {
			return err
		}
		if err := c.pause(ctx, failed, wait); err != nil {
			return err
		}
		failed++
	}
}

var contentRange = regexp.MustCompile(`^bytes (?:(\d+)-\d+|\*)/(\d+|\*)$`)

func (c *client) downloadOnce(ctx context.Context, r *remote, p *part, progress func(done, total int64)) error {
	offset, v := p.resumable(r.sourceKey())
	if offset > 0 && offset == v.Bytes {
		// Whole: what broke off came after it. A server asked for a range behind the end may send everything instead.
		progress(offset, offset)
		return nil
	}
	header := http.Header{"Accept-Encoding": {"identity"}}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		header.Set("If-Range", v.Tag)
	}
	response, err := c.get(ctx, r.url, header, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	total := int64(-1)
	switch response.StatusCode {
	case http.StatusOK:
		offset, total = 0, response.ContentLength
	case http.StatusPartialContent:
		m := contentRange.FindStringSubmatch(response.Header.Get("Content-Range"))
		if m == nil || m[1] != strconv.FormatInt(offset, 10) {
			p.remove()
			return fmt.Errorf("%s: %w: it sent another part than it was asked for", publicURL(r.url), errConfused)
		}
		if m[2] != "*" {
			total, _ = strconv.ParseInt(m[2], 10, 64) // digits
		}
	default: // the part is as long as the file, or longer
		m := contentRange.FindStringSubmatch(response.Header.Get("Content-Range"))
		if m != nil && m[2] == strconv.FormatInt(offset, 10) {
			progress(offset, offset)
			return nil
		}
		p.remove()
		return fmt.Errorf("%s: %w: the file has become shorter", publicURL(r.url), errConfused)
	}
	if r.bytes > 0 && total >= 0 && total != r.bytes {
		return fmt.Errorf("%s: %w: has %d bytes and not %d", publicURL(r.url), ErrChecksum, total, r.bytes)
	}
	if offset == 0 {
		if err := p.start(r.sourceKey(), response.Header, total); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	w := &counter{w: f, done: offset, total: total, progress: progress, limit: first64(total, r.bytes)}
	progress(offset, total)
	_, err = io.Copy(w, response.Body)
	if closed := f.Close(); err == nil {
		err = closed
	}
	switch {
	case err != nil && w.err != nil:
		return err
	case err != nil:
		return plainError(ctx, r.url, err)
	case total >= 0 && w.done != total:
		return fmt.Errorf("%s: %w", publicURL(r.url), io.ErrUnexpectedEOF)
	}
	return nil
}

func first64(values ...int64) int64 {
	for _, v := range values {
		if v > 0 {
			return v
		}
	}
	return 0
}

// start begins a file anew.
func (p *part) start(source string, header http.Header, total int64) error {
	p.remove()
	v := validator{Source: source, Tag: header.Get("ETag"), Bytes: max(total, 0)}
	if strings.HasPrefix(v.Tag, "W/") { // says nothing of the bytes
		v.Tag = ""
	}
	if v.Tag == "" {
		v.Tag = header.Get("Last-Modified")
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(p.sidecar(), raw, 0o666)
}

// maxDownload is more than any wheel of a model that a laptop could run.
const maxDownload = 8 << 30

// counter writes and tells how far it is.
type counter struct {
	w           io.Writer
	done, total int64
	limit       int64
	progress    func(done, total int64)
	err         error // of writing
}

func (c *counter) Write(p []byte) (int, error) {
	if c.done+int64(len(p)) > first64(c.limit, maxDownload) {
		return 0, fmt.Errorf("%w: more came than the file is long", ErrChecksum)
	}
	n, err := c.w.Write(p)
	c.done += int64(n)
	c.err = err
	c.progress(c.done, c.total)
	return n, err
}

// check compares a file with the hash that the index told.
func (r *remote) check(path string) error {
	var h hash.Hash
	switch r.algorithm {
	case "sha256":
		h = sha256.New()
	case "":
		return nil
	default:
		return nil // of older indexes; the files inside are checked whatever came
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != r.hash {
		return fmt.Errorf("%s: %w: SHA-256 is %s, the index says %s", r.name, ErrChecksum, got, r.hash)
	}
	return nil
}
