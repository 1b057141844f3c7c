package nn

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"unsafe"
)

// maxHeader bounds the header of a weights file, as the format does.
const maxHeader = 100 << 20

// Tensors is an open file of weights in the format safetensors: 8 bytes with the length of a header of JSON, which gives each
// tensor a type, a shape and a place in the rest.
//
// Source: https://github.com/huggingface/safetensors (README, "Format").
type Tensors struct {
	file    *os.File
	path    string
	base    int64 // where the data begins
	tensors map[string]Tensor
}

// Tensor says what a tensor is and where.
type Tensor struct {
	Type    string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// sizes are the bytes of an element, by type.
var sizes = map[string]int{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

// elements returns the product of the shape, or -1 if it is no shape.
func (t Tensor) elements() int {
	n := 1
	for _, d := range t.Shape {
		if d < 0 || d > 0 && n > math.MaxInt/8/d {
			return -1
		}
		n *= d
	}
	return n
}

// OpenTensors opens a file of weights and reads its header. Every tensor it lists lies within the file.
func OpenTensors(path string) (_ *Tensors, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) error {
		return &FormatError{Path: path, Rule: fmt.Sprintf(format, args...)}
	}
	var length [8]byte
	if _, err := io.ReadFull(f, length[:]); err != nil {
		return nil, bad("too short for a file of weights")
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > info.Size()-8 {
		return nil, bad("not in the format safetensors, or cut off: a header of %d bytes in a file of %d", n, info.Size())
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(f, header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return nil, bad("not in the format safetensors: header: %v", err)
	}
	t := &Tensors{file: f, path: path, base: 8 + int64(n), tensors: make(map[string]Tensor, len(raw))}
	for name, data := range raw {
		if name == "__metadata__" {
			continue
		}
		var one Tensor
		if err := json.Unmarshal(data, &one); err != nil {
			return nil, bad("tensor %q: %v", name, err)
		}
		lo, hi := one.Offsets[0], one.Offsets[1]
		if lo < 0 || hi < lo || hi > info.Size()-t.base {
			return nil, bad("tensor %q lies at %d to %d of %d bytes: the file is cut off", name, lo, hi, info.Size()-t.base)
		}
		if size, known := sizes[one.Type]; known {
			if count := one.elements(); count < 0 || int64(count)*int64(size) != hi-lo {
				return nil, bad("tensor %q has %d bytes, which is not %v of %s", name, hi-lo, one.Shape, one.Type)
			}
		}
		t.tensors[name] = one
	}
	return t, nil
}

// Close closes the file.
func (t *Tensors) Close() error { return t.file.Close() }

// Lookup returns the tensor of a name.
func (t *Tensors) Lookup(name string) (Tensor, bool) {
	one, ok := t.tensors[name]
	return one, ok
}

// Floats reads a tensor of floating-point numbers (F64, F32, F16, BF16) or of small integers (I8) as float32. It must have the
// shape; a dimension of -1 is whatever it is.
func (t *Tensors) Floats(name string, shape ...int) ([]float32, error) {
	one, err := t.find(name, shape, "F32", "F16", "BF16", "F64", "I8")
	if err != nil {
		return nil, err
	}
	out := make([]float32, one.elements())
	if one.Type == "F32" && len(out) > 0 && littleEndian {
		return out, t.readAt(name, unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), 4*len(out)), one.Offsets[0])
	}
	return out, t.read(one, name, func(at int, data []byte) {
		switch one.Type {
		case "F32":
			for i := range len(data) / 4 {
				out[at+i] = math.Float32frombits(binary.LittleEndian.Uint32(data[i*4:]))
			}
		case "F16":
			for i := range len(data) / 2 {
				out[at+i] = half(binary.LittleEndian.Uint16(data[i*2:]))
			}
		case "BF16":
			for i := range len(data) / 2 {
				out[at+i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[i*2:])) << 16)
			}
		case "F64":
			for i := range len(data) / 8 {
				out[at+i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(data[i*8:])))
			}
		case "I8":
			for i, b := range data {
				out[at+i] = float32(int8(b))
			}
		}
	})
}

// Ints reads a tensor of whole numbers.
func (t *Tensors) Ints(name string, shape ...int) ([]int, error) {
	one, err := t.find(name, shape, "I64", "I32", "I16", "U8", "I8")
	if err != nil {
		return nil, err
	}
	out := make([]int, one.elements())
	return out, t.read(one, name, func(at int, data []byte) {
		for i := range len(data) / sizes[one.Type] {
			switch one.Type {
			case "I64":
				out[at+i] = int(int64(binary.LittleEndian.Uint64(data[i*8:])))
			case "I32":
				out[at+i] = int(int32(binary.LittleEndian.Uint32(data[i*4:])))
			case "I16":
				out[at+i] = int(int16(binary.LittleEndian.Uint16(data[i*2:])))
			case "U8":
				out[at+i] = int(data[i])
			case "I8":
				out[at+i] = int(int8(data[i]))
			}
		}
	})
}

func (t *Tensors) find(name string, shape []int, types ...string) (Tensor, error) {
	one, ok := t.tensors[name]
	if !ok {
		return one, &FormatError{Path: t.path, Rule: fmt.Sprintf("no tensor %q", name)}
	}
	if !slices.Contains(types, one.Type) {
		return one, &UnsupportedError{Path: t.path, Part: fmt.Sprintf("type of tensor %q", name), Have: one.Type, Want: fmt.Sprint(types)}
	}
	fits := len(shape) == len(one.Shape)
	for i := 0; fits && i < len(shape); i++ {
		fits = shape[i] == one.Shape[i] || shape[i] == -1
	}
	if !fits {
		return one, &FormatError{Path: t.path, Rule: fmt.Sprintf("tensor %q has the shape %v, not %v", name, one.Shape, shape)}
	}
	return one, nil
}

// read passes the bytes of a tensor to decode, piece by piece, each with the index of its first element.
func (t *Tensors) read(one Tensor, name string, decode func(at int, data []byte)) error {
	const piece = 256 << 10
	size := sizes[one.Type]
	buffer := make([]byte, min(piece, one.Offsets[1]-one.Offsets[0]))
	for at, end := one.Offsets[0], one.Offsets[1]; at < end; {
		part := buffer[:min(int64(len(buffer)), end-at)]
		if err := t.readAt(name, part, at); err != nil {
			return err
		}
		decode(int(at-one.Offsets[0])/size, part)
		at += int64(len(part))
	}
	return nil
}

// readAt fills buffer with the bytes of a tensor from an offset on.
func (t *Tensors) readAt(name string, buffer []byte, offset int64) error {
	_, err := t.file.ReadAt(buffer, t.base+offset)
	switch {
	case errors.Is(err, io.EOF):
		return &FormatError{Path: t.path, Rule: fmt.Sprintf("tensor %q: the file is cut off", name)}
	case err != nil:
		return fmt.Errorf("%s: tensor %q: %w", t.path, name, err)
	}
	return nil
}

// littleEndian tells whether numbers lie in memory as they do in the file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// half returns the value of a number in the IEEE 754 half-precision format.
func half(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10)&0x1f, uint32(bits)&0x3ff
	switch exponent {
	case 0: // zero, or too small for an implied leading 1
		return math.Float32frombits(math.Float32bits(float32(fraction)/(1<<24)) | sign)
	case 0x1f: // infinity, or not a number
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
