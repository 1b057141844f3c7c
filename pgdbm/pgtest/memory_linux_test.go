package pgtest

import "testing"

func TestRoomy(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/proc", "/no/such/folder"} { // neither is in memory with room
		if roomy(dir) {
			t.Errorf("a server is to live in %s", dir)
		}
	}
}
