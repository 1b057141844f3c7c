package nn

import "fmt"

// FormatError says what is wrong with a file of a model.
type FormatError struct {
	Path string
	Rule string // what it breaks, such as "no tensor \"x\""
}

// Error implements error.
func (e *FormatError) Error() string { return e.Path + ": " + e.Rule }

// UnsupportedError says what a model is that this package cannot run.
type UnsupportedError struct {
	Path string // of the file that says so
	Part string // such as "model_type"
	Have string // what it is
	Want string // what can be run
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s %s is not supported, only %s", e.Path, e.Part, e.Have, e.Want)
}
