package sandbox

// WithoutMain calls f as in a program that has not called Main.
func WithoutMain[T any](f func() (T, error)) (T, error) {
	formats := known.Swap(nil)
	defer known.Store(formats)
	return f()
}
