package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/apierror"
)

// answer is what the providers we know say of an error:
//
//	{"error": {"message": …, "code": …, "type": …}}      OpenAI, Azure, vLLM
//	{"error": "…", "error_type": "…"}                     Ollama, text-embeddings-inference
//	{"message": "…", "type": …}                           vLLM, Cohere
//	{"detail": "…"}, {"detail": [{"msg": …, "loc": …}]}   FastAPI, Jina
//
// Other members are not read: FastAPI repeats the input.
type answer struct {
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
	Code    any             `json:"code"`
	Type    string          `json:"type"`
	Detail  json.RawMessage `json:"detail"`
}

// said returns the message and the code in the body of an error.
func said(body []byte, contentType string) (message, code string) {
	body = bytes.TrimSpace(body)
	var a answer
	if json.Unmarshal(body, &a) != nil {
		switch {
		case len(body) == 0:
			return "", ""
		case isHTML(body):
			return "a page of HTML", ""
		case strings.HasPrefix(contentType, "text/plain"):
			return string(body), ""
		}
		return fmt.Sprintf("%d bytes that are not JSON", len(body)), ""
	}
	var inner answer
	var text string
	var details []struct {
		Message string `json:"msg"`
	}
	code, message = codeOf(a), a.Message
	switch {
	case json.Unmarshal(a.Error, &text) == nil && text != "":
		message = text
	case json.Unmarshal(a.Error, &inner) == nil && (inner.Message != "" || codeOf(inner) != ""):
		message, code = inner.Message, codeOf(inner)
	case json.Unmarshal(a.Detail, &text) == nil && text != "":
		message = text
	case json.Unmarshal(a.Detail, &details) == nil && len(details) > 0:
		message = details[0].Message
	}
	if message == "" {
		message = code
	}
	return message, code
}

// codeOf returns the code, which may be a number, or else the type of an error.
func codeOf(a answer) string {
	if code, ok := a.Code.(string); ok && code != "" {
		return code
	}
	return a.Type
}

func isHTML(body []byte) bool {
	head := strings.ToLower(string(bytes.TrimSpace(body[:min(len(body), 512)])))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html")
}

// maxMessage is the length in bytes of a message.
const maxMessage = 300

// tidy makes a message fit for a log: on one line, short, printable, and without the secrets.
func tidy(message string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			message = strings.ReplaceAll(message, s, masked)
		}
	}
	message = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, message)
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > maxMessage {
		cut := maxMessage
		for !utf8.RuneStart(message[cut]) {
			cut--
		}
		message = message[:cut] + "…"
	}
	return message
}

// kindOf tells what a status other than 2xx means.
func kindOf(status int, code string) apierror.Kind {
	switch {
	case code == "insufficient_quota", status == http.StatusUnauthorized, status == http.StatusPaymentRequired, status == http.StatusForbidden:
		return apierror.Unauthorized
	case code == "model_not_found", status == http.StatusNotFound:
		return apierror.ModelNotFound
	case status == http.StatusTooManyRequests:
		return apierror.RateLimited
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return apierror.InvalidInput
	case status == http.StatusRequestTimeout, status == http.StatusFailedDependency, status == http.StatusTooEarly, status >= 500:
		return apierror.Unavailable
	}
	return apierror.Refused
}

// retryAfter reads the headers that say how long to wait, or returns 0. A date counts from the server's own clock if it tells.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const most = 366 * 24 * time.Hour // far more than anybody waits, far less than overflows
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms*float64(time.Millisecond), float64(most)))
	}
	value := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if s > 0 {
			return time.Duration(min(s*float64(time.Second), float64(most)))
		}
		return 0
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), most)
}
