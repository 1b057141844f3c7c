// Command embedserver is a server for embeddings that speaks OpenAI's protocol and knows no meaning, only words, to try llmemory
// without a model:
//
//	embedserver [-listen ADDRESS] [-key KEY] [MODEL=DIMENSIONS…]
//
// Without models it has OpenAI's, and all-minilm and nomic-embed-text as Ollama has. It prints its base URL on standard output, and
// ends when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/llmemory/llmemory/embedding/embedtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8089", "address to listen on")
	key := flag.String("key", "", "key that clients have to send; empty for any")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *key, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "embedserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, key string, args []string) error {
	models, err := models(args)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	embeddings := embedtest.NewServer(embedtest.ServerConfig{Key: key, Models: models})
	defer embeddings.Close()
	server := &http.Server{Handler: embeddings, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Printf("http://%s/v1\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// models are the names of models and their dimensions.
func models(args []string) (map[string]int, error) {
	if len(args) == 0 {
		return map[string]int{
			"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536,
			"all-minilm": 384, "nomic-embed-text": 768,
		}, nil
	}
	out := map[string]int{}
	for _, arg := range args {
		name, text, _ := strings.Cut(arg, "=")
		dimensions, err := strconv.Atoi(text)
		if err != nil || name == "" || dimensions < 1 || dimensions > 16_000 {
			return nil, fmt.Errorf("%q: want MODEL=DIMENSIONS", arg)
		}
		out[name] = dimensions
	}
	return out, nil
}
