// Package badserver answers requests as providers do that are asked over HTTP when something is wrong with them. It is for the servers of
// tests.
package badserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Fault is a way in which a server misbehaves.
type Fault string

const (
	None         Fault = ""
	RateLimited  Fault = "rate limited"   // 429 with Retry-After
	NoQuota      Fault = "no quota"       // 429 that no waiting helps
	ServerError  Fault = "server error"   // 500
	Unavailable  Fault = "unavailable"    // 503
	Hang         Fault = "hang"           // no answer, ever
	Drip         Fault = "drip"           // an answer that comes a byte at a time and never ends
	Reset        Fault = "reset"          // the connection is reset before an answer
	ResetMidBody Fault = "reset mid-body" // … in the middle of it
	EmptyBody    Fault = "empty body"
	HTML         Fault = "HTML"       // a page with status 200
	Huge         Fault = "huge"       // 100 MB
	Redirect     Fault = "redirect"   // to RedirectTo
	BadRequest   Fault = "bad input"  // 400
	TooLarge     Fault = "too large"  // 413
	BadEntity    Fault = "bad entity" // 422, with the input repeated in it
	WrongKey     Fault = "wrong key"  // 401, with the key repeated in it
	Forbidden    Fault = "forbidden"  // 403
	WrongModel   Fault = "wrong model"
)

// Server is what faults need to know of the server that has them.
type Server struct {
	// Quit is closed when the server is to end: requests that hang are let go.
	Quit <-chan struct{}
	// RetryAfter is what [RateLimited] answers with.
	RetryAfter time.Duration
	// RedirectTo is where [Redirect] leads.
	RedirectTo string
	// Begun is the beginning of an answer, in the middle of a list of numbers: what [ResetMidBody] and [Huge] begin with.
	Begun string
}

// Fail answers as OpenAI does.
func Fail(w http.ResponseWriter, status int, kind, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := map[string]any{"message": message, "type": kind, "param": nil, "code": nil}
	if code != "" {
		e["code"] = code
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"error": e}) // to a client that may have gone
}

// Refuse answers with a fault, and tells whether it is one of those of this package. What [WrongKey] and [BadEntity] repeat are the key and
// the body of the request.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, f Fault, key string, body []byte) bool {
	switch f {
	case RateLimited:
		w.Header().Set("Retry-After", strconv.FormatFloat(s.RetryAfter.Seconds(), 'f', -1, 64))
		Fail(w, http.StatusTooManyRequests, "requests", "rate_limit_exceeded", "Rate limit reached for requests.")
	case NoQuota:
		Fail(w, http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
	case ServerError:
		Fail(w, http.StatusInternalServerError, "server_error", "", "The server had an error while processing your request.")
	case Unavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<html><body>503 Service Unavailable</body></html>")
	case Hang:
		s.wait(r)
	case Drip:
		w.Header().Set("Content-Type", "application/json")
		for s.pause(r, 20*time.Millisecond) {
			io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
		}
	case Reset:
		s.reset(w, "")
	case ResetMidBody:
		s.reset(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n"+s.Begun)
	case EmptyBody:
		w.WriteHeader(http.StatusOK)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to the network</body></html>")
	case Huge:
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, s.Begun+"0.5")
		chunk := bytes.Repeat([]byte(",0.25"), 1<<14)
		for sent := 0; sent < 100_000_000; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return true
			}
		}
		io.WriteString(w, "]}]}")
	case Redirect:
		http.Redirect(w, r, s.RedirectTo, http.StatusTemporaryRedirect)
	case BadRequest:
		Fail(w, http.StatusBadRequest, "invalid_request_error", "", "'$.input' is invalid.")
	case TooLarge:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, `{"error":"inputs must have less than 512 tokens. Given: 513","error_type":"Validation"}`)
	case BadEntity:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintf(w, `{"detail":[{"type":"string_type","loc":["body","input"],"msg":"Input should be a valid string","input":%s}]}`, body)
	case WrongKey:
		Fail(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: "+key+".")
	case Forbidden:
		Fail(w, http.StatusForbidden, "invalid_request_error", "", "You are not allowed to use this model.")
	case WrongModel:
		Fail(w, http.StatusNotFound, "invalid_request_error", "model_not_found", "The model does not exist.")
	default:
		return false
	}
	return true
}

// wait returns when the client or the server gives up.
func (s *Server) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.Quit:
	}
}

// pause waits for d and tells whether there is still somebody to answer.
func (s *Server) pause(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
	case <-s.Quit:
	}
	return false
}

// reset writes something and breaks the connection.
func (s *Server) reset(w http.ResponseWriter, first string) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	buf.WriteString(first)
	buf.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok && first == "" {
		_ = tcp.SetLinger(0) // a reset instead of an orderly end
	}
	conn.Close()
}
