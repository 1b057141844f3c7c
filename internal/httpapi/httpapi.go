// Package httpapi is what providers that are asked over HTTP have in common: a JSON document is posted with a key, and an answer
// of limited size comes back within a limited time, or an error that says who can act.
//
// Keys never show up in errors, redirects are never followed, and what is connected to is checked by address. Nothing is retried
// and nothing is logged here.
package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/llmemory/llmemory/internal/apierror"
)

const (
	dialTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second
	// maxErrorBody is how much of the body of an error is read.
	maxErrorBody = 8 << 10
)

// DefaultTimeout is how long one call may take, from looking up the name to the last byte of the answer.
const DefaultTimeout = 60 * time.Second

// userAgent is what we call ourselves.
const userAgent = "llmemory (+https://github.com/llmemory/llmemory)"

// Config says where and how to ask.
type Config struct {
	// BaseURL is what the paths of calls are joined to. Its query, if any, is part of every call.
	BaseURL string
	// Key is sent with every call, unless it is empty.
	Key Secret
	// KeyHeader is the header the key is sent in. Empty means "Authorization: Bearer".
	KeyHeader string
	// APIVersion is sent as "api-version" in the query, as Azure wants it, unless it is empty.
	APIVersion string
	// Header is sent with every call. It holds nothing secret.
	Header map[string]string
	// Timeout is for one call as a whole. Defaults to [DefaultTimeout].
	Timeout time.Duration
	// AllowPrivate permits connections to this machine and to private networks. A BaseURL that names such an address, or
	// localhost, or a host without a dot, permits them by itself.
	AllowPrivate bool
	// Client, if given, makes the connections, whatever their addresses. It is copied; its policy on redirects is not used.
	// Without one no proxy is used, as the environment is nobody's but the program's.
	Client *http.Client

	resolver *net.Resolver // of tests
}

// Client asks one provider. It is safe for concurrent use.
type Client struct {
	config Config
	base   *url.URL
	http   *http.Client
}

// New returns a client, or an [*apierror.Error] of kind Refused that says what is wrong with the settings.
func New(c Config) (*Client, error) {
	refuse := func(format string, args ...any) (*Client, error) {
		return nil, &apierror.Error{Kind: apierror.Refused, Message: fmt.Sprintf(format, args...)}
	}
	base, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		return refuse("base URL cannot be parsed") // the cause repeats the URL, and with it what may be secret in it
	case base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "":
		return refuse("base URL must be http://… or https://…")
	case base.User != nil:
		return refuse("base URL must not hold a name or password")
	case base.Fragment != "":
		return refuse("base URL must not have a fragment")
	case c.Timeout < 0:
		return refuse("timeout must not be negative, is %s", c.Timeout)
	}
	if strings.ContainsFunc(c.Key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return refuse("key must be printable ASCII without spaces")
	}
	if strings.ContainsFunc(c.KeyHeader, func(r rune) bool { return r != '-' && !unicode.IsDigit(r) && !unicode.IsLetter(r) || r > '~' }) {
		return refuse("key header must be letters, digits and hyphens")
	}
	private := c.AllowPrivate || isLocal(base.Hostname())
	if base.Scheme == "http" && !c.Key.IsZero() && !private && c.Client == nil {
		return refuse("a key is not sent unencrypted: use https://")
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	client := http.Client{Transport: transport(&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: guard(private), Resolver: c.resolver})}
	if c.Client != nil {
		client = *c.Client
	}
	if c.APIVersion != "" {
		query := base.Query()
		query.Set("api-version", c.APIVersion)
		base.RawQuery = query.Encode()
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{config: c, base: base, http: &client}, nil
}

func transport(dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Host is the provider's host, for messages.
func (c *Client) Host() string { return c.base.Host }

// Post sends in as JSON to a path below the base URL and returns the body of an answer of status 2xx. An answer of more than limit
// bytes is a [apierror.BadAnswer] of which no more than that is read. Errors are [*apierror.Error], or wrap ctx.Err() if ctx has ended.
func (c *Client) Post(ctx context.Context, path string, in any, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Host(), err)
	}
	sent, err := json.Marshal(in)
	if err != nil {
		return nil, &apierror.Error{Kind: apierror.Refused, Err: err}
	}
	attempt, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	body, err := c.post(attempt, path, sent, limit)
	var typed *apierror.Error
	switch {
	case err == nil:
		return body, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", c.Host(), ctx.Err())
	case errors.As(err, &typed):
		return nil, typed
	case attempt.Err() != nil:
		// Not the cause itself: it would look as if the caller's context had expired.
		return nil, &apierror.Error{Kind: apierror.Unavailable, Message: fmt.Sprintf("no complete answer within %s", c.config.Timeout)}
	}
	return nil, c.broken(err)
}

func (c *Client) post(ctx context.Context, path string, sent []byte, limit int64) ([]byte, error) {
	to := c.base.JoinPath(path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	for name, value := range c.config.Header {
		req.Header.Set(name, value)
	}
	if key := c.config.Key.Reveal(); key != "" {
		if c.config.KeyHeader == "" {
			req.Header.Set("Authorization", "Bearer "+key)
		} else {
			req.Header.Set(c.config.KeyHeader, key)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.failure(resp)
	}
	tooLarge := &apierror.Error{Kind: apierror.BadAnswer, Status: resp.StatusCode, Message: fmt.Sprintf("more than the %d bytes expected at most", limit)}
	if resp.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, tooLarge
	}
	return body, nil
}

// Tidy makes a message of the provider fit for an error: on one line, short, printable, and without the key.
func (c *Client) Tidy(message string) string { return tidy(message, c.config.Key.Reveal()) }

// failure makes an error of an answer other than 2xx.
func (c *Client) failure(resp *http.Response) error {
	e := &apierror.Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now())}
	// What cannot be read of an explanation is no reason to hide the status.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	message, code := said(body, resp.Header.Get("Content-Type"))
	e.Kind, e.Message = kindOf(resp.StatusCode, code), c.Tidy(message)
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Message = "redirects are not followed"
		if to, err := resp.Location(); err == nil {
			e.Message += ", this one leads to " + c.Tidy(to.Host)
		}
	}
	return e
}

// broken makes an error of an answer that did not arrive.
func (c *Client) broken(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, the query of which may be confidential
	}
	kind := apierror.Unavailable
	var address *addressError
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &address) || errors.As(err, &certificate) {
		kind = apierror.Refused
	}
	return &apierror.Error{Kind: kind, Message: c.Host(), Err: err}
}

// Decode reads an answer's body into out, or returns an [*apierror.Error] of kind BadAnswer. Members that out does not have are ignored.
func Decode(body []byte, out any) error {
	body = bytes.TrimSpace(body)
	bad := func(format string, args ...any) error {
		return &apierror.Error{Kind: apierror.BadAnswer, Message: fmt.Sprintf(format, args...)}
	}
	if len(body) == 0 {
		return bad("empty")
	}
	if isHTML(body) {
		return bad("a page of HTML, not JSON")
	}
	err := json.Unmarshal(body, out)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return bad("not JSON: %v at byte %d of %d", err, syntax.Offset, len(body))
	}
	return bad("not the JSON expected: %v", err)
}
