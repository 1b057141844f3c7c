package modelfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client asks servers for files.
type client struct {
	http *http.Client
	// silence is how long a server may send nothing.
	silence time.Duration
	// pause is how long to wait before the nth repetition.
	pause func(ctx context.Context, n int, atLeast time.Duration) error
}

// clientConfig is how a client reaches servers; zero values mean what the environment and the system say.
type clientConfig struct {
	roots      *x509.CertPool
	clientCert *tls.Certificate
	proxy      *url.URL
	// trusts tells which hosts' certificates are not checked, plain which others may be asked in the clear.
	trusts, plain func(*url.URL) bool
	login         func(*url.URL) (user, password string, ok bool)
	bearer        func(*url.URL) string
	silence       time.Duration
	pause         func(ctx context.Context, n int, atLeast time.Duration) error
}

// Patience with servers.
const (
	connectTime = 10 * time.Second
	maxSilence  = time.Minute
	maxPage     = 32 << 20 // bytes of an index page; those of large projects have a few
	tries       = 4        // of a request that may go better, and of a download without any progress
)

func newClient(c clientConfig) *client {
	dialer := &net.Dialer{Timeout: connectTime, KeepAlive: 30 * time.Second}
	transport := func(insecure bool) *http.Transport {
		config := &tls.Config{RootCAs: c.roots, InsecureSkipVerify: insecure} //nolint:gosec // for hosts that the user trusts
		if c.clientCert != nil {
			config.Certificates = []tls.Certificate{*c.clientCert}
		}
		proxy := http.ProxyFromEnvironment
		if c.proxy != nil {
			proxy = http.ProxyURL(c.proxy)
		}
		return &http.Transport{
			Proxy: proxy, DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: connectTime,
			ForceAttemptHTTP2: true, DisableCompression: true, IdleConnTimeout: 30 * time.Second,
		}
	}
	out := &client{silence: min(c.silence, maxSilence), pause: c.pause}
	if out.silence <= 0 {
		out.silence = 15 * time.Second
	}
	if out.pause == nil {
		out.pause = pause
	}
	gate := &gate{clientConfig: c, strict: transport(false), lax: transport(true)}
	out.http = &http.Client{Transport: gate, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return fmt.Errorf("%w: redirects without end", errGate)
		}
		return nil
	}}
	return out
}

func (c *client) close() { c.http.CloseIdleConnections() }

// gate sends each request, redirected ones included, with the credentials of its host and no other's, and lets none go to where
// nobody could tell what comes back.
type gate struct {
	clientConfig
	strict, lax *http.Transport
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (g *gate) CloseIdleConnections() {
	g.strict.CloseIdleConnections()
	g.lax.CloseIdleConnections()
}

// RoundTrip implements [http.RoundTripper].
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	trusted := g.trusts != nil && g.trusts(r.URL)
	plain := g.plain != nil && g.plain(r.URL)
	if r.URL.Scheme != "https" && !trusted && !plain && !isLocal(r.URL.Hostname()) {
		return nil, fmt.Errorf("%w: it is not encrypted, and its host not trusted (pip's trusted-host)", errGate)
	}
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	if g.login != nil {
		if user, password, ok := g.login(r.URL); ok {
			r.SetBasicAuth(user, password)
		}
	}
	if g.bearer != nil {
		if token := g.bearer(r.URL); token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
	if trusted {
		return g.lax.RoundTrip(r)
	}
	return g.strict.RoundTrip(r)
}

// isLocal tells whether a host is this machine by its name.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pause waits longer from time to time, and at least as long as a server asked for.
func pause(ctx context.Context, n int, atLeast time.Duration) error {
	timer := time.NewTimer(max(atLeast, 500*time.Millisecond<<min(n, 4)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// statusError is an answer that is no success.
type statusError struct {
	url    string
	status int
	after  time.Duration
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.url, e.status, http.StatusText(e.status))
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += " (a login may be part of the address, or be in .netrc)"
	case http.StatusProxyAuthRequired:
		text += " (a login may be part of the proxy's address)"
	}
	return text
}

// passing tells whether a later request may go better.
func (e *statusError) passing() bool {
	return e.status == http.StatusTooManyRequests || e.status >= 500
}

// get asks for a URL and returns the answer, whose body fails when the server falls silent. Answers other than those in good are
// a [*statusError].
func (c *client) get(ctx context.Context, address string, header http.Header, good ...int) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%s: is no address", publicURL(address))
	}
	r.URL.User, r.URL.Fragment = nil, "" // the gate knows the logins
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "llmemory")
	watch := time.AfterFunc(c.silence+connectTime, func() { cancel(errSilent) })
	response, err := c.http.Do(r)
	if err == nil {
		for _, status := range good {
			if response.StatusCode == status {
				response.Body = &watchedBody{body: response.Body, watch: watch, silence: c.silence, cancel: cancel, ctx: ctx}
				return response, nil
			}
		}
		after, _ := strconv.Atoi(response.Header.Get("Retry-After")) // a date, or nonsense, is no wait
		err = &statusError{publicURL(response.Request.URL.String()), response.StatusCode, min(time.Duration(after)*time.Second, 30*time.Second)}
		_ = response.Body.Close() // of no interest
	} else {
		err = plainError(ctx, address, err)
	}
	watch.Stop()
	cancel(nil)
	return nil, err
}

var errSilent = errors.New("the server sent nothing for too long")

// plainError says what went wrong with a request without what may be secret in its address.
func plainError(ctx context.Context, address string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		address, err = wrapped.URL, wrapped.Err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", publicURL(address), err)
}

// publicURL is an address without login, query and fragment, which may hold secrets.
func publicURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is none"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// watchedBody is a body that fails when nothing comes for too long.
type watchedBody struct {
	body    io.ReadCloser
	watch   *time.Timer
	silence time.Duration
	cancel  context.CancelCauseFunc
	ctx     context.Context //nolint:containedctx // of the request that the body belongs to
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.Reset(b.silence)
	n, err := b.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// page returns a page, its address after redirects, and its type. Servers that fail for a time are asked again.
func (c *client) page(ctx context.Context, address, accept string) (page []byte, from *url.URL, kind string, err error) {
	for n := 0; ; n++ {
		page, from, kind, err = c.pageOnce(ctx, address, accept)
		wait, again := c.again(err, n)
		if !again {
			return page, from, kind, err
		}
		if err := c.pause(ctx, n, wait); err != nil {
			return nil, nil, "", err
		}
	}
}

// again tells whether a request that failed is worth repeating, and after how long at least.
func (c *client) again(err error, n int) (time.Duration, bool) {
	var status *statusError
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case err == nil, n+1 >= tries, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, errGate), errors.Is(err, ErrChecksum):
		return 0, false
	case errors.As(err, &status):
		return status.after, status.passing()
	case errors.As(err, &network) && (network.Op == "dial" || network.Op == "proxyconnect"),
		errors.As(err, &certificate), errors.As(err, &record):
		return 0, false // nobody is there, or somebody else
	case errors.Is(err, errSilent):
		return 0, n == 0
	}
	return 0, true
}

var (
	// errGate is that a request would go where it must not.
	errGate = errors.New("not asked")
	// errConfused is that a server gave something else than it was asked for.
	errConfused = errors.New("confused server")
)

func (c *client) pageOnce(ctx context.Context, address, accept string) ([]byte, *url.URL, string, error) {
	response, err := c.get(ctx, address, http.Header{"Accept": {accept}}, http.StatusOK)
	if err != nil {
		return nil, nil, "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	if err != nil {
		return nil, nil, "", plainError(ctx, address, err)
	}
	if len(page) > maxPage {
		return nil, nil, "", fmt.Errorf("%s: is larger than any index page", publicURL(address))
	}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return page, response.Request.URL, strings.ToLower(strings.TrimSpace(kind)), nil
}
