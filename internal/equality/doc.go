// Package equality holds the test that a memory answers the same whichever store keeps it. It has no code of its own: stores do
// not know each other, and their conformance suite looks at one at a time.
package equality
