package nn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write writes a file of weights with a header and data.
func write(t testing.TB, header string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	if err := os.WriteFile(path, append(append(content, header...), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTensors(t *testing.T) {
	t.Parallel()
	var data []byte
	var header []string
	add := func(name, kind string, shape []int, bytes []byte) {
		header = append(header, fmt.Sprintf(`%q: {"dtype": %q, "shape": %s, "data_offsets": [%d, %d]}`, name, kind,
			strings.ReplaceAll(fmt.Sprint(shape), " ", ","), len(data), len(data)+len(bytes)))
		data = append(data, bytes...)
	}
	le := binary.LittleEndian
	add("f32", "F32", []int{2, 1}, le.AppendUint32(le.AppendUint32(nil, math.Float32bits(1.5)), math.Float32bits(-2)))
	add("f64", "F64", []int{1}, le.AppendUint64(nil, math.Float64bits(0.25)))
	// 1, -2, the least subnormal, the most, infinity, -0.
	var halves []byte
	for _, h := range []uint16{0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000} {
		halves = le.AppendUint16(halves, h)
	}
	add("f16", "F16", []int{6}, halves)
	add("bf16", "BF16", []int{2}, le.AppendUint16(le.AppendUint16(nil, 0x3fc0), 0xc000))
	add("i8", "I8", []int{3}, []byte{1, 0xff, 0x80})
	add("i64", "I64", []int{2}, le.AppendUint64(le.AppendUint64(nil, 7), math.MaxUint64))
	add("i32", "I32", []int{1}, le.AppendUint32(nil, 9))
	add("none", "F32", []int{0, 5}, nil)
	add("odd", "F8_E4M3", []int{3}, []byte{1, 2, 3})
	tensors, err := OpenTensors(write(t, `{"__metadata__": {"format": "pt"}, `+strings.Join(header, ", ")+`}  `, data))
	if err != nil {
		t.Fatal(err)
	}
	defer tensors.Close() //nolint:errcheck // only read from
	for _, c := range []struct {
		name  string
		shape []int
		want  []float32
	}{
		{"f32", []int{2, 1}, []float32{1.5, -2}},
		{"f32", []int{-1, 1}, []float32{1.5, -2}},
		{"f64", []int{1}, []float32{0.25}},
		{"f16", []int{6}, []float32{1, -2, 1.0 / (1 << 24), 65504, float32(math.Inf(1)), float32(math.Copysign(0, -1))}},
		{"bf16", []int{2}, []float32{1.5, -2}},
		{"i8", []int{3}, []float32{1, -1, -128}},
		{"none", []int{0, 5}, []float32{}},
	} {
		got, err := tensors.Floats(c.name, c.shape...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
	if got, err := tensors.Ints("i64", 2); err != nil || !cmp.Equal(got, []int{7, -1}) {
		t.Errorf("i64: %v, %v", got, err)
	}
	if got, err := tensors.Ints("i32", -1); err != nil || !cmp.Equal(got, []int{9}) {
		t.Errorf("i32: %v, %v", got, err)
	}
	var format *FormatError
	var unsupported *UnsupportedError
	if _, err := tensors.Floats("f32", 1, 2); !errors.As(err, &format) {
		t.Errorf("another shape: %v", err)
	}
	if _, err := tensors.Floats("nothing", 1); !errors.As(err, &format) {
		t.Errorf("no such tensor: %v", err)
	}
	if _, err := tensors.Floats("odd", 3); !errors.As(err, &unsupported) {
		t.Errorf("another type: %v", err)
	}
	if _, err := tensors.Ints("f32", 2, 1); !errors.As(err, &unsupported) {
		t.Errorf("numbers that are not whole: %v", err)
	}
}

func TestOpenTensorsRefuses(t *testing.T) {
	t.Parallel()
	const one = `{"a": {"dtype": "F32", "shape": %s, "data_offsets": %s}}`
	for name, header := range map[string]string{
		"no JSON":           `{"a": `,
		"a list":            `[1]`,
		"a number":          `{"a": 1}`,
		"past the end":      fmt.Sprintf(one, "[2]", "[4, 12]"),
		"far past the end":  fmt.Sprintf(one, "[2]", "[0, 9223372036854775807]"),
		"backwards":         fmt.Sprintf(one, "[1]", "[8, 4]"),
		"negative":          fmt.Sprintf(one, "[1]", "[-4, 0]"),
		"another size":      fmt.Sprintf(one, "[3]", "[0, 8]"),
		"a negative shape":  fmt.Sprintf(one, "[-2]", "[0, 8]"),
		"an enormous shape": fmt.Sprintf(one, "[4294967296, 4294967296, 4294967296]", "[0, 8]"),
		"half an element":   fmt.Sprintf(one, "[2]", "[0, 7]"),
		"a fractional one":  fmt.Sprintf(one, "[1.5]", "[0, 6]"),
	} {
		tensors, err := OpenTensors(write(t, header, make([]byte, 8)))
		var format *FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			tensors.Close() //nolint:errcheck // only read from
		}
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	for _, content := range []string{"", "short", "\xff\xff\xff\xff\xff\xff\xff\xff{}", "\x00\x00\x00\x7f\x00\x00\x00\x00{}", "<!DOCTYPE html><html>"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var format *FormatError
		if _, err := OpenTensors(path); !errors.As(err, &format) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// TestCutOffLater reads from a file that loses its end after it was opened.
func TestCutOffLater(t *testing.T) {
	t.Parallel()
	path := write(t, `{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}`, make([]byte, 8))
	tensors, err := OpenTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tensors.Close() //nolint:errcheck // only read from
	if err := os.Truncate(path, 75); err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	if _, err := tensors.Floats("a", 2); !errors.As(err, &format) {
		t.Errorf("error %v, want a FormatError", err)
	}
}

func FuzzOpenTensors(f *testing.F) {
	f.Add([]byte(`{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}`))
	f.Add([]byte(`{"a": {"dtype": "I8", "shape": [], "data_offsets": [0, 1]}, "__metadata__": {}}`))
	f.Fuzz(func(t *testing.T, header []byte) {
		tensors, err := OpenTensors(write(t, string(header), make([]byte, 8)))
		if err != nil {
			return
		}
		defer tensors.Close() //nolint:errcheck // only read from
		for name, one := range tensors.tensors {
			if got, err := tensors.Floats(name, one.Shape...); err == nil && len(got) > 8 {
				t.Errorf("%d numbers from 8 bytes", len(got))
			}
		}
	})
}
