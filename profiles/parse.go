package profiles

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// fileKey is the context key under which the unmarshalers below find the
// name of the file that is being decoded.
type fileKey struct{}

// UnmarshalYAML takes a string, or a number in the writer's own spelling.
func (t *text) UnmarshalYAML(ctx context.Context, node ast.Node) error {
	t.pos = nodePosition(ctx, node)
	switch n := node.(type) {
	case *ast.StringNode:
		t.value = n.Value
	case *ast.LiteralNode:
		t.value = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		t.value = node.GetToken().Value
	default:
		return wrongType(t.pos, node, "a string")
	}
	return nil
}

// UnmarshalYAML takes a decimal integer.
func (i *integer) UnmarshalYAML(ctx context.Context, node ast.Node) error {
	i.pos = nodePosition(ctx, node)
	if node.Type() != ast.IntegerType {
		return wrongType(i.pos, node, "an integer")
	}
	value, err := strconv.Atoi(node.GetToken().Value)
	if err != nil {
		return i.pos.errorf(fieldPath(node), "write a plain decimal integer",
			"%q is not a number in range", node.GetToken().Value)
	}
	i.value = value
	return nil
}

// UnmarshalYAML takes true or false.
func (b *boolean) UnmarshalYAML(ctx context.Context, node ast.Node) error {
	b.pos = nodePosition(ctx, node)
	n, ok := node.(*ast.BoolNode)
	if !ok {
		return wrongType(b.pos, node, "true or false")
	}
	b.value = n.Value
	return nil
}

func nodePosition(ctx context.Context, node ast.Node) position {
	p := position{}
	p.file, _ = ctx.Value(fileKey{}).(string)
	if tk := node.GetToken(); tk != nil && tk.Position != nil {
		p.line, p.column = tk.Position.Line, tk.Position.Column
	}
	return p
}

func wrongType(p position, node ast.Node, want string) *Error {
	return p.errorf(fieldPath(node), "", "want %s, found %s", want, nodeKind(node))
}

// fieldPath turns the parser's "$.sources[0].sha256" into our notation.
func fieldPath(node ast.Node) string {
	return strings.TrimPrefix(strings.TrimPrefix(node.GetPath(), "$"), ".")
}

func nodeKind(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.NullType:
		return "nothing"
	case ast.BoolType:
		return "a truth value (quote it if text is meant)"
	case ast.IntegerType, ast.FloatType:
		return "a number"
	case ast.StringType, ast.LiteralType:
		return "a string"
	}
	return "a " + strings.ToLower(node.Type().String())
}

// parseDocument decodes one profile file. Whatever is wrong with data, it
// gives an *Error and never panics.
func parseDocument(file string, data []byte) (doc *document, err error) {
	if len(data) > maxFileSize {
		return nil, position{file: file}.errorf("", "split it with extends, or move text into fragments",
			"the file has %d bytes, more than the %d a profile may have", len(data), maxFileSize)
	}
	// The YAML library has panicked on malformed input in several releases;
	// a profile is input, so a fault there must be an error here.
	defer func() {
		if r := recover(); r != nil {
			doc, err = nil, position{file: file}.errorf("", "write plain YAML",
				"the YAML reader cannot make sense of it (%v)", r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := checkDepth(file, tokens); err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, yamlError(file, nil, err)
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		return nil, position{file: file, line: 1, column: 1}.errorf("", "write one YAML document with the fields of a profile",
			"the file holds %d YAML documents with content, want one", countDocuments(parsed))
	}
	body := parsed.Docs[0].Body
	doc = &document{pos: position{file: file, line: 1, column: 1}}
	ctx := context.WithValue(context.Background(), fileKey{}, file)
	if err := rejectReferences(ctx, body); err != nil {
		return nil, err
	}
	if err := checkShape(ctx, body, reflect.TypeOf(*doc)); err != nil {
		return nil, err
	}
	if err := yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNodeContext(ctx, body, doc); err != nil {
		return nil, yamlError(file, body, err)
	}
	return doc, nil
}

// maxDepth bounds nesting; a profile needs five levels.
const maxDepth = 32

// checkDepth refuses what the parser would recurse into for minutes: its time
// grows with the square of the depth and worse. Depth is that of brackets, or
// of the list and key marks that stand in one line; what is nested by
// indentation alone needs ever longer lines and is bounded by the file's size.
func checkDepth(file string, tokens token.Tokens) error {
	flow, marks, line := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, marks = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
			marks++
		}
		if flow > maxDepth || (flow == 0 && marks > maxDepth) {
			return position{file, tk.Position.Line, tk.Position.Column}.errorf("", "write plain YAML",
				"lists and mappings are nested more than %d deep", maxDepth)
		}
	}
	return nil
}

func countDocuments(f *ast.File) int {
	n := 0
	for _, d := range f.Docs {
		if d.Body != nil {
			n++
		}
	}
	return n
}

// rejectReferences refuses anchors, aliases, merge keys and tags. A profile
// has extends for what they are used for, and without them a small file
// cannot unfold into a large one.
func rejectReferences(ctx context.Context, body ast.Node) error {
	var found ast.Node
	ast.Walk(visitor(func(n ast.Node) bool {
		switch n.Type() {
		case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType, ast.DirectiveType:
			if found == nil {
				found = n
			}
		}
		return found == nil
	}), body)
	if found == nil {
		return nil
	}
	return nodePosition(ctx, found).errorf(fieldPath(found),
		"write the value out, or share it through extends", "a profile cannot use YAML anchors, aliases, merge keys or tags")
}

type visitor func(ast.Node) bool

// Visit implements ast.Visitor.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	if v(n) {
		return v
	}
	return nil
}

// yamlError makes an *Error of what the YAML library returns. body, where
// there is one, gives the field's path.
func yamlError(file string, body ast.Node, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var located yaml.Error
	if !errors.As(err, &located) || located.GetToken() == nil {
		return &Error{File: file, Msg: err.Error(), Err: err}
	}
	tk := located.GetToken()
	p := position{file: file}
	if tk.Position != nil {
		p.line, p.column = tk.Position.Line, tk.Position.Column
	}
	field := pathOfToken(body, tk)
	return p.errorf(field, "", "%s", located.GetMessage())
}

// pathOfToken finds the field that tk belongs to, for errors of the library,
// which carry a token only.
func pathOfToken(body ast.Node, tk *token.Token) string {
	if body == nil || tk.Position == nil {
		return ""
	}
	path := ""
	ast.Walk(visitor(func(n ast.Node) bool {
		other := n.GetToken()
		if path == "" && other != nil && other.Position != nil && other.Position.Offset == tk.Position.Offset {
			path = fieldPath(n)
		}
		return path == ""
	}), body)
	return path
}
