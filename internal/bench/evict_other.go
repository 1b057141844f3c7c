//go:build !linux

package main

import "errors"

const canEvict = false

func evict(string) error { return errors.ErrUnsupported }
