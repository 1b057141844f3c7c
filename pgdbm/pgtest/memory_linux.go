package pgtest

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
)

// memoryDir is where a folder is in memory.
const memoryDir = "/dev/shm"

// room is what must be free for a server to live in memory: several times what
// one that all tests of a module share comes to.
const room = 6 << 30

// roomy reports whether dir is in memory and has room, as has the machine.
// Containers, whose own limit is not seen here, have next to none there.
func roomy(dir string) bool {
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil || int64(fs.Type) != tmpfs || int64(fs.Bavail)*int64(fs.Bsize) < room {
		return false
	}
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &kb); n == 1 {
			return kb<<10 >= room
		}
	}
	return false
}
