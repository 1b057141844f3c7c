package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// crosses returns the parameters that name no owner: those of methods that cross owners by nature, and a part of others that do.
func crosses() map[string]bool {
	names := map[string]bool{"VectorParams": true}
	for p := range crossing {
		names[p.Name()] = true
	}
	return names
}

// TestParamsCarryOwner reads the source of the root package: every exported struct named …Params names an owner, so that no method
// can be called without one, the named exceptions aside.
func TestParamsCarryOwner(t *testing.T) {
	t.Parallel()
	const root = "../.."
	files, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	checked, exceptions := 0, crosses()
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() || !strings.HasSuffix(spec.Name.Name, "Params") {
				return true
			}
			checked++
			if owned := hasOwner(spec); owned == exceptions[spec.Name.Name] {
				t.Errorf("%s: %s has an owner: %t", f.Name(), spec.Name.Name, owned)
			}
			return true
		})
	}
	if checked < 10 {
		t.Errorf("only %d structs found", checked)
	}
}

func hasOwner(spec *ast.TypeSpec) bool {
	fields, ok := spec.Type.(*ast.StructType)
	return ok && slices.ContainsFunc(fields.Fields.List, func(f *ast.Field) bool {
		kind, ok := f.Type.(*ast.Ident)
		return ok && kind.Name == "string" && slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.Name == "Owner" })
	})
}
