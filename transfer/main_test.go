package transfer_test

import (
	"os"
	"testing"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
