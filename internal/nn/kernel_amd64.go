package nn

// native returns no implementation.
func native() []*Kernel { return nil }
