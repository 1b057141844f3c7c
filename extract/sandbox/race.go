//go:build race

package sandbox

// dataFactor allows for what the race detector keeps of each byte.
const dataFactor = 6
