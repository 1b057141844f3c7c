// Package fault holds the kinds of failure that turning files into text has, so that the leaves below package extract return the very
// errors which that package exports and documents.
package fault

//lint:file-ignore ST1012 the name of the package says what they are

import "errors"

// The kinds, each with its name in package extract.
var (
	Unsupported = errors.New("unsupported content")    // ErrUnsupported
	TooLarge    = errors.New("content too large")      // ErrTooLarge
	Damaged     = errors.New("damaged content")        // ErrDamaged
	Encrypted   = errors.New("encrypted content")      // ErrEncrypted
	NoText      = errors.New("no text in it")          // ErrNoText
	Timeout     = errors.New("takes too long to read") // ErrTimeout
)
