//go:build unix && !linux

package pgtest

// memoryDir is where a folder is in memory: nowhere that all systems have.
const memoryDir = ""

func roomy(string) bool { return false }
