package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
)

const canary = "sk-canary-0123456789abcdef"

// serve returns a client of a server that answers with handler.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(Config{BaseURL: server.URL + "/v1", Key: NewSecret(canary)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPost(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
	})
	got, err := c.Post(t.Context(), "/embeddings", map[string]int{"a": 1}, 1000)
	if want := "POST /v1/embeddings Bearer " + canary + ` application/json {"a":1}`; err != nil || string(got) != want {
		t.Errorf("Post = %s, %v, want %s", got, err, want)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s [%s] [%s]", r.URL, r.Header.Get("Authorization"), r.Header.Get("Api-Key"))
	}))
	defer server.Close()
	c, err = New(Config{BaseURL: server.URL + "/deployments/d/?api-version=1", Key: NewSecret(" k\n"), KeyHeader: "api-key"})
	if err != nil {
		t.Fatal(err)
	}
	got, err = c.Post(t.Context(), "/embeddings", nil, 1000)
	if want := "/deployments/d/embeddings?api-version=1 [] [k]"; err != nil || string(got) != want {
		t.Errorf("Post = %s, %v, want %s", got, err, want)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	key := NewSecret(canary)
	tests := []struct {
		config Config
		want   string
	}{
		{Config{}, "base URL"},
		{Config{BaseURL: "ftp://example.org"}, "base URL"},
		{Config{BaseURL: "example.org/v1"}, "base URL"},
		{Config{BaseURL: "https://"}, "base URL"},
		{Config{BaseURL: "https://" + canary + ":x@example.org"}, "name or password"},
		{Config{BaseURL: "https://exa mple.org/?" + canary}, "cannot be parsed"},
		{Config{BaseURL: "https://example.org/#x"}, "fragment"},
		{Config{BaseURL: "https://example.org", Timeout: -1}, "timeout"},
		{Config{BaseURL: "https://example.org", Key: NewSecret("two words " + canary)}, "printable"},
		{Config{BaseURL: "https://example.org", Key: key, KeyHeader: "a: b"}, "key header"},
		{Config{BaseURL: "http://example.org", Key: key}, "unencrypted"},
		{Config{BaseURL: "http://2130706433", Key: key}, "unencrypted"},
		{Config{BaseURL: "http://example.org"}, ""},
		{Config{BaseURL: "http://example.org", Key: key, AllowPrivate: true}, ""},
		{Config{BaseURL: "http://localhost:11434/v1", Key: key}, ""},
		{Config{BaseURL: "http://[::1]:11434/v1", Key: key}, ""},
		{Config{BaseURL: "http://ollama:11434/v1", Key: key}, ""},
		{Config{BaseURL: "https://example.org", Key: key}, ""},
	}
	for _, tt := range tests {
		_, err := New(tt.config)
		var e *apierror.Error
		switch {
		case tt.want == "" && err == nil:
		case tt.want == "" || !errors.As(err, &e) || e.Kind != apierror.Refused || !strings.Contains(err.Error(), tt.want):
			t.Errorf("New(%+v) = %v, want %q", tt.config, err, tt.want)
		case strings.Contains(err.Error(), canary):
			t.Errorf("New(%+v) = %v: tells what is secret", tt.config, err)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	openai := `{"error":{"message":"%s","type":"t","code":%s}}`
	tests := []struct {
		status  int
		body    string
		kind    apierror.Kind
		message string
	}{
		{429, fmt.Sprintf(openai, "Rate limit reached", `"rate_limit_exceeded"`), apierror.RateLimited, "Rate limit reached"},
		{429, fmt.Sprintf(openai, "You exceeded your quota", `"insufficient_quota"`), apierror.Unauthorized, "You exceeded your quota"},
		{500, fmt.Sprintf(openai, "oops", "null"), apierror.Unavailable, "oops"},
		{502, "<html><body>Bad Gateway</body></html>", apierror.Unavailable, "a page of HTML"},
		{503, `{"error":"Model is overloaded","error_type":"overloaded"}`, apierror.Unavailable, "Model is overloaded"},
		{408, "", apierror.Unavailable, ""},
		{424, `{"error":"backend","error_type":"Backend"}`, apierror.Unavailable, "backend"},
		{400, `{"object":"error","message":"too long","type":"BadRequestError","code":400}`, apierror.InvalidInput, "too long"},
		{400, fmt.Sprintf(openai, "no such model", `"model_not_found"`), apierror.ModelNotFound, "no such model"},
		{413, `{"error":"batch size 33 > maximum allowed batch size 32","error_type":"Validation"}`, apierror.InvalidInput, "batch size 33 > maximum allowed batch size 32"},
		{422, `{"detail":[{"loc":["body","input"],"msg":"field required","input":"SECRET TEXT"}]}`, apierror.InvalidInput, "field required"},
		{422, `{"detail":"bad request"}`, apierror.InvalidInput, "bad request"},
		{401, fmt.Sprintf(openai, "Incorrect API key provided: "+canary, `"invalid_api_key"`), apierror.Unauthorized, "Incorrect API key provided: ***"},
		{402, `{}`, apierror.Unauthorized, ""},
		{403, "no", apierror.Unauthorized, "2 bytes that are not JSON"},
		{404, `{"error":{"message":"model \"x\" not found, try pulling it first"}}`, apierror.ModelNotFound, `model "x" not found, try pulling it first`},
		{405, "plain\ttext\nwith \x1b[31mcolour", apierror.Refused, "40 bytes that are not JSON"},
		{418, `{"error":{"code":"teapot"}}`, apierror.Refused, "teapot"},
		{400, `{"error":{"message":"` + strings.Repeat("ä", 400) + `"}}`, apierror.InvalidInput, strings.Repeat("ä", 150) + "…"},
		{400, `{"message":"line\n\tbreak\u0000\u202e` + canary + `"}`, apierror.InvalidInput, "line break***"},
		{400, strings.Repeat("x", 1<<20), apierror.InvalidInput, "8192 bytes that are not JSON"},
	}
	for _, tt := range tests {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := c.Post(t.Context(), "/embeddings", nil, 1000)
		var e *apierror.Error
		if !errors.As(err, &e) || e.Kind != tt.kind || e.Status != tt.status {
			t.Errorf("%d %.60s: %v, want %s", tt.status, tt.body, err, tt.kind)
			continue
		}
		if tt.status != 405 && e.Message != tt.message {
			t.Errorf("%d %.60s: message %q, want %q", tt.status, tt.body, e.Message, tt.message)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, canary) || strings.Contains(text, "SECRET") {
			t.Errorf("%d: %s tells what is secret", tt.status, text)
		}
	}
}

func TestPlainTextIsAMessage(t *testing.T) {
	t.Parallel()
	if got, _ := said([]byte(" too\nbusy "), "text/plain; charset=utf-8"); tidy(got) != "too busy" {
		t.Errorf("said %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{}, 0},
		{http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		{http.Header{"Retry-After": {"0.25"}}, 250 * time.Millisecond},
		{http.Header{"Retry-After": {"7"}, "Retry-After-Ms": {"1500"}}, 1500 * time.Millisecond},
		{http.Header{"Retry-After": {"-7"}}, 0},
		{http.Header{"Retry-After": {"soon"}}, 0},
		{http.Header{"Retry-After": {"NaN"}}, 0},
		{http.Header{"Retry-After": {"1e300"}}, 366 * 24 * time.Hour},
		{http.Header{"Retry-After": {"Wed, 25 Nov 2026 12:00:30 GMT"}}, 30 * time.Second},
		{http.Header{"Retry-After": {"Wed, 25 Nov 2026 11:59:30 GMT"}}, 0},
		// The server's clock is an hour ahead of ours.
		{http.Header{"Retry-After": {"Wed, 25 Nov 2026 13:00:30 GMT"}, "Date": {"Wed, 25 Nov 2026 13:00:00 GMT"}}, 30 * time.Second},
	}
	for _, tt := range tests {
		if got := retryAfter(tt.header, now); got != tt.want {
			t.Errorf("retryAfter(%v) = %s, want %s", tt.header, got, tt.want)
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	const limit = 1000
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte("x"), 1<<16); sent.Load() < 100<<20; sent.Add(int64(len(chunk))) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	bomb := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 1000 {
			z.Write(make([]byte, 1<<16))
		}
		z.Close()
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // "" for none
	}{
		{"full", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, limit)) }, ""},
		{"one too many", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, limit+1)) }, "bad answer (status 200): more than the 1000 bytes"},
		{"endless", endless, "bad answer (status 200): more than the 1000 bytes"},
		{"bomb", bomb, "bad answer (status 200): more than the 1000 bytes"},
		{"announced", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000000")
			w.Write([]byte("x"))
		}, "bad answer (status 200): more than the 1000 bytes"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			w.Write([]byte("x"))
		}, "unavailable: 127.0.0.1:"},
		{"reset", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "unavailable: 127.0.0.1:"},
	}
	for _, tt := range tests {
		body, err := serve(t, tt.handler).Post(t.Context(), "/", nil, limit)
		if got := fmt.Sprint(err); tt.want == "" && (err != nil || len(body) != limit) || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %d bytes, %v, want %q", tt.name, len(body), err, tt.want)
		}
	}
	if n := sent.Load(); n > 32<<20 {
		t.Errorf("read on for %d bytes", n)
	}
}

// A server that drips is cut off by the timeout of the call as a whole; the caller's own end is told apart from it.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
			}
		}
	}))
	defer server.Close()
	defer close(stop)
	c, err := New(Config{BaseURL: server.URL, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = c.Post(t.Context(), "/", nil, 1<<20)
	var e *apierror.Error
	if !errors.As(err, &e) || e.Kind != apierror.Unavailable || errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("drip: %v after %s", err, time.Since(start))
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = c.Post(short, "/", nil, 1<<20); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
		t.Errorf("deadline of the caller: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err = c.Post(cancelled, "/", nil, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err = c.Post(cancelled, "/", nil, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{target.URL + "/?" + canary, "http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/"} {
			redirect := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) }
			own := serve(t, redirect)
			borrowed := serve(t, redirect)
			var err error
			if borrowed, err = New(Config{BaseURL: borrowed.base.String(), Client: http.DefaultClient, Key: NewSecret(canary)}); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*Client{own, borrowed} {
				_, err := c.Post(t.Context(), "/", nil, 100)
				var e *apierror.Error
				if !errors.As(err, &e) || e.Kind != apierror.Refused || e.Status != status || strings.Contains(err.Error(), canary) {
					t.Errorf("%d to %s: %v", status, to, err)
				}
			}
		}
	}
	if reached.Load() != 0 {
		t.Errorf("%d redirects followed", reached.Load())
	}
	if http.DefaultClient.CheckRedirect != nil {
		t.Error("the borrowed client was changed")
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		addr            string
		public, private bool // allowed if private addresses are not, and if they are
	}{
		{"93.184.216.34", true, true}, {"2606:2800:220:1::1", true, true}, {"::ffff:93.184.216.34", true, true},
		{"127.0.0.1", false, true}, {"127.8.9.1", false, true}, {"::1", false, true}, {"::ffff:127.0.0.1", false, true},
		{"10.1.2.3", false, true}, {"172.16.0.1", false, true}, {"192.168.1.1", false, true}, {"100.64.0.1", false, true},
		{"fd12::1", false, true}, {"64:ff9b::10.0.0.1", false, true}, {"2002:0a00:0001::", false, true},
		{"169.254.169.254", false, false}, {"::ffff:169.254.169.254", false, false}, {"64:ff9b::169.254.169.254", false, false},
		{"2002:a9fe:a9fe::", false, false}, {"fe80::1", false, false}, {"fe80::1%eth0", false, false}, {"fd00:ec2::254", false, false},
		{"100.100.100.200", false, false}, {"168.63.129.16", false, false},
		{"0.0.0.0", false, false}, {"0.1.2.3", false, false}, {"::", false, false}, {"::ffff:0.0.0.0", false, false},
		{"224.0.0.1", false, false}, {"ff02::1", false, false}, {"255.255.255.255", false, false},
	}
	for _, tt := range tests {
		addr := netip.MustParseAddr(tt.addr)
		if got := check(addr, false) == nil; got != tt.public {
			t.Errorf("%s: allowed %t without private addresses", tt.addr, got)
		}
		if got := check(addr, true) == nil; got != tt.private {
			t.Errorf("%s: allowed %t with private addresses", tt.addr, got)
		}
	}
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "a.localhost": true, "ollama": true, "127.0.0.1": true, "::1": true, "192.168.0.5": true,
		"api.openai.com": false, "8.8.8.8": false, "2130706433": false, "0x7f000001": false, "": false, "127.1": false,
	} {
		if got := isLocal(host); got != want {
			t.Errorf("isLocal(%q) = %t", host, got)
		}
	}
}

// Whatever a name resolves to, and however an address is written: nothing connects to this machine unless the URL means to.
func TestForbiddenAddressesAreNotConnectedTo(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	}()
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	// The first answer is a public address that nobody has, later ones are this machine.
	resolver := stubResolver(t, "192.0.2.1", "127.0.0.1")
	for _, host := range []string{"rebind.example.org", "2130706433", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "0x7f.1", "127.0.0.1.example.org"} {
		c, err := New(Config{BaseURL: "http://" + host + ":" + port, Timeout: 200 * time.Millisecond, resolver: resolver})
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		var last error
		for range 3 {
			if _, last = c.Post(t.Context(), "/", nil, 100); last == nil {
				t.Errorf("%s: answered", host)
			}
		}
		var e *apierror.Error
		var dns *net.DNSError // Go's own resolver does not look up names of digits only, that of the C library takes them as addresses
		if !errors.As(last, &e) || e.Kind != apierror.Refused && !(host == "2130706433" && errors.As(last, &dns)) {
			t.Errorf("%s: %v", host, last)
		}
	}
	if accepted.Load() != 0 {
		t.Errorf("%d connections", accepted.Load())
	}
	// The listener is there: a name that is allowed reaches it.
	c, err := New(Config{BaseURL: "http://rebind.example.org:" + port, AllowPrivate: true, resolver: stubResolver(t, "127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), "/", nil, 100); err == nil || accepted.Load() == 0 {
		t.Errorf("%v, %d connections with private addresses allowed", err, accepted.Load())
	}
}

// stubResolver answers the n-th question of each kind with the n-th address, and all that follow with the last.
func stubResolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		asked := 0
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			question := buf[12:n] // a name, as lengths and labels up to a zero, type and class
			end := bytes.IndexByte(question, 0) + 5
			isA := binary.BigEndian.Uint16(question[end-4:]) == 1
			answer := append([]byte(nil), buf[:2]...)
			answer = append(answer, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
			answer = append(answer, question[:end]...)
			if isA {
				answer[7] = 1
				ip := netip.MustParseAddr(addresses[min(asked, len(addresses)-1)]).As4()
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, ip[:]...)
				asked++
			}
			conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	c, err := New(Config{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Post(t.Context(), "/", nil, 100)
	var e *apierror.Error
	if !errors.As(err, &e) || e.Kind != apierror.Refused {
		t.Errorf("certificate of nobody: %v", err)
	}
	if c, err = New(Config{BaseURL: server.URL, Client: server.Client()}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Post(t.Context(), "/", nil, 100); !errors.As(err, &e) || e.Kind != apierror.ModelNotFound {
		t.Errorf("certificate the client trusts: %v", err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":1,"b":2}`:                "",
		"":                             "bad answer: empty",
		" \n":                          "bad answer: empty",
		"<!DOCTYPE html><p>login":      "bad answer: a page of HTML, not JSON",
		`{"a":1`:                       "bad answer: not JSON: unexpected end of JSON input at byte 6 of 6",
		`{"a":NaN}`:                    "bad answer: not JSON: invalid character 'N' looking for beginning of value at byte 6 of 9",
		`{"a":"x"}`:                    "bad answer: not the JSON expected: json: cannot unmarshal string into Go struct field .a of type int",
		`{"a":1}{"a":1}`:               "bad answer: not JSON: invalid character '{' after top-level value at byte 8 of 14",
		strings.Repeat("[", 1_000_000): "bad answer: not JSON: invalid character '[' exceeded max depth at byte 10001 of 1000000",
	} {
		var out struct {
			A int `json:"a"`
		}
		err := Decode([]byte(body), &out)
		if err == nil && (want != "" || out.A != 1) || err != nil && err.Error() != want {
			t.Errorf("Decode(%.30q) = %v, want %q", body, err, want)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := NewSecret("\t" + canary + "\n")
	if s.Reveal() != canary || s.IsZero() || !NewSecret(" ").IsZero() || (Secret{}).Reveal() != "" {
		t.Error("the value is lost")
	}
	c, err := New(Config{BaseURL: "https://example.org", Key: s})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Open   Secret
		hidden Secret
		config Config
		client *Client
	}
	h := holder{s, s, Config{Key: s}, c}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("text", "key", s, "config", h.config, "holder", h, "pointer", &h)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "key", s, "config", h.config, "holder", h)
	printed, err := json.Marshal(map[string]any{"s": s, "h": h.Open, "p": &s, "map": map[string]Secret{"k": s}})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(printed)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "% x"} {
		for _, value := range []any{s, &s, h, &h, h.config, []Secret{s}, map[Secret]Secret{s: s}, c, *c, c.config, errors.Join(fmt.Errorf("%v", s))} {
			fmt.Fprintf(&log, format+"\n", value)
		}
	}
	fmt.Fprint(&log, s, &s, h, c)
	fmt.Fprintln(&log, s.String(), s.GoString(), s.LogValue())
	for _, hidden := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary)} {
		if strings.Contains(log.String(), hidden) {
			t.Errorf("the key is in:\n%s", log.String())
		}
	}
	if got := fmt.Sprintf("%v|%+v|%s|%q|%#v|%v", s, s, s, s, s, Secret{}); got != `***|***|***|"***"|"***"|` {
		t.Errorf("printed as %s", got)
	}
	if got := string(printed); got != `{"h":"***","map":{"k":"***"},"p":"***","s":"***"}` {
		t.Errorf("marshalled as %s", got)
	}
	var read struct{ Key Secret }
	if err := json.Unmarshal([]byte(`{"Key":"`+canary+`"}`), &read); err != nil || read.Key.Reveal() != canary {
		t.Errorf("unmarshalled %v, %v", read, err)
	}
}
