package local

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"

	"github.com/llmemory/llmemory/internal/modelfile"
)

// DefaultModel is the model that "llmemory models pull" fetches unless another one is named.
const DefaultModel = modelfile.Default

// Pulled returns the folder in which "llmemory models pull" keeps a model, for [Open]; "" means [DefaultModel]. That is a folder in
// the one that LLMEMORY_MODELS names, else in llmemory/models of the user's cache folder. If the model has not been pulled the error
// wraps [fs.ErrNotExist].
func Pulled(name string) (string, error) {
	m, err := modelfile.Find(cmp.Or(name, DefaultModel))
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	dir := os.Getenv("LLMEMORY_MODELS")
	if dir == "" {
		if dir, err = modelfile.DefaultDir(os.Getenv); err != nil {
			return "", fmt.Errorf("local: %w", err)
		}
	}
	store := modelfile.Store{Dir: dir}
	if !store.Has(m) {
		return "", fmt.Errorf("local: %s: %w: run \"llmemory models pull %s\"", store.Path(m), fs.ErrNotExist, m.Name)
	}
	return store.Path(m), nil
}
