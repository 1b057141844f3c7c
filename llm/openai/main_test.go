package openai_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No call, however it ends, leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
