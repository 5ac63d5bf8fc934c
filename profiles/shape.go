package profiles

import (
	"context"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// checkShape compares the tree with the Go type it is to be decoded into and
// gives the first difference in the order of the file. The library's own
// strictness knows no order (it walks Go maps) and takes an empty value for
// an absent one, so that which mistake is reported would be left to chance.
func checkShape(ctx context.Context, node ast.Node, want reflect.Type) error {
	for want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	if node.Type() == ast.NullType {
		return nodePosition(ctx, node).errorf(fieldPath(node), "give it a value or remove it",
			"the field is empty")
	}
	switch want {
	case reflect.TypeFor[text](), reflect.TypeFor[integer](), reflect.TypeFor[boolean]():
		return nil // their UnmarshalYAML is exact
	}
	switch want.Kind() {
	case reflect.Struct, reflect.Map:
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			return wrongType(nodePosition(ctx, node), node, "a mapping")
		}
		return checkMapping(ctx, mapping, want)
	case reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			return wrongType(nodePosition(ctx, node), node, "a list")
		}
		for _, value := range list.Values {
			if err := checkShape(ctx, value, want.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMapping(ctx context.Context, mapping *ast.MappingNode, want reflect.Type) error {
	for _, entry := range mapping.Values {
		key := entry.Key.GetToken().Value
		var value reflect.Type
		switch entry.Key.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode:
		default:
			return nodePosition(ctx, entry.Key).errorf(fieldPath(mapping), "use a plain word", "%q cannot be a field's name", key)
		}
		if want.Kind() == reflect.Map {
			value = want.Elem()
		} else {
			var ok bool
			if value, ok = fieldType(want, key); !ok {
				return nodePosition(ctx, entry.Key).errorf(joinField(fieldPath(mapping), key),
					"write one of "+strings.Join(fieldNames(want), ", "), "no such field")
			}
		}
		if err := checkShape(ctx, entry.Value, value); err != nil {
			return err
		}
	}
	return nil
}

func joinField(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

func fieldType(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range t.Fields() {
		if f.IsExported() && f.Tag.Get("yaml") == name {
			return f.Type, true
		}
	}
	return nil, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if f.IsExported() {
			names = append(names, f.Tag.Get("yaml"))
		}
	}
	return names
}
