package profiles

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxExtends bounds how long a chain of extends may be.
const maxExtends = 16

// Load gives the resolved profile of a built-in name, of an alias, or of a
// file: an argument that ends in .yaml or .yml or holds a slash is a path.
//
// Every mistake is reported as one *Error. errors.Is tells ErrUnknownProfile
// and ErrCycle.
func Load(nameOrFile string) (*Profile, error) {
	l, err := newEmbeddedLoader()
	if err != nil {
		return nil, err
	}
	return l.load(nameOrFile)
}

// List gives the built-in profiles in the order of their kernels' age, those
// that extend another one after it.
func List() ([]Summary, error) {
	l, err := newEmbeddedLoader()
	if err != nil {
		return nil, err
	}
	return l.list()
}

// A loader knows the built-in profiles by name and by alias.
type loader struct {
	files files
	names []string          // of the built-in profiles
	index map[string]string // name or alias: the name
}

func newEmbeddedLoader() (*loader, error) {
	f, err := embeddedFiles()
	if err != nil {
		return nil, err
	}
	return newLoader(f)
}

func newLoader(f files) (*loader, error) {
	matches, err := fs.Glob(f.builtin, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list built-in profiles: %w", err)
	}
	l := &loader{files: f, index: map[string]string{}}
	for _, file := range matches {
		name := strings.TrimSuffix(file, ".yaml")
		l.names = append(l.names, name)
		l.index[name] = name
	}
	for _, name := range l.names {
		doc, err := l.document(builtinPrefix + name + ".yaml")
		if err != nil {
			return nil, err
		}
		for _, alias := range doc.Aliases {
			if owner, taken := l.index[alias.value]; taken {
				return nil, alias.pos.errorf("aliases", "choose another word", "%q already names profile %s", alias.value, owner)
			}
			l.index[alias.value] = name
		}
	}
	slices.SortFunc(l.names, compareVersions)
	return l, nil
}

func (l *loader) list() ([]Summary, error) {
	summaries := make([]Summary, 0, len(l.names))
	for _, name := range l.names {
		p, err := l.load(name)
		if err != nil {
			return nil, err
		}
		summaries = append(summaries, Summary{p.Name, p.Aliases, p.Description, p.Kernel.Version})
	}
	return summaries, nil
}

func (l *loader) load(nameOrFile string) (*Profile, error) {
	// Clean, so that a circle is seen when it closes, and not a turn later.
	file := filepath.Clean(nameOrFile)
	if !isPath(nameOrFile) {
		name, ok := l.index[nameOrFile]
		if !ok {
			return nil, l.unknown(position{}, "", nameOrFile)
		}
		file = builtinPrefix + name + ".yaml"
	}
	merged, err := l.chain(file)
	if err != nil {
		return nil, err
	}
	r := &resolver{loader: l}
	profile := r.profile(merged)
	if r.err != nil {
		return nil, r.err
	}
	return profile, nil
}

// isPath tells a file from a name. The prefix is that of the names of
// embedded files, which messages show and a user may well paste.
func isPath(s string) bool {
	return strings.ContainsRune(s, '/') || strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml") ||
		strings.HasPrefix(s, builtinPrefix)
}

func (l *loader) unknown(at position, field, name string) *Error {
	known := slices.Clone(l.names)
	for alias, owner := range l.index {
		if alias != owner {
			known = append(known, alias)
		}
	}
	slices.SortFunc(known, compareVersions)
	e := at.errorf(field, "write one of "+strings.Join(known, ", ")+", or a path that ends in .yaml", "unknown profile %q", name)
	e.Err = ErrUnknownProfile
	return e
}

func (l *loader) document(file string) (*document, error) {
	data, err := l.files.read(file)
	if err != nil {
		fix := "check the path"
		if errors.Is(err, fs.ErrPermission) {
			fix = "make it readable"
		}
		return nil, &Error{File: file, Msg: "cannot read the profile: " + why(err), Fix: fix, Err: err}
	}
	return parseDocument(file, data)
}

// chain reads file and all that it extends, and merges them, the outermost
// last.
func (l *loader) chain(file string) (*document, error) {
	var (
		docs []*document
		seen []string
	)
	for at := (position{}); ; {
		if slices.Contains(seen, file) {
			e := at.errorf("extends", "remove one of these extends", "%s: %s", ErrCycle, strings.Join(append(seen, file), " extends "))
			e.Err = ErrCycle
			return nil, e
		}
		if len(seen) == maxExtends {
			return nil, at.errorf("extends", "merge some of them into one file", "more than %d profiles extend each other", maxExtends)
		}
		seen = append(seen, file)
		doc, err := l.document(file)
		if err != nil {
			return nil, extendsError(at, err)
		}
		docs = append(docs, doc)
		if doc.Extends == nil {
			break
		}
		at = doc.Extends.pos
		if file, err = l.parent(doc.Extends); err != nil {
			return nil, err
		}
	}
	merged := docs[len(docs)-1]
	for _, doc := range slices.Backward(docs[:len(docs)-1]) {
		merged = merge(merged, doc)
	}
	return merged, nil
}

// extendsError blames the line that names a file which cannot be read, not
// the file, which may not be there.
func extendsError(at position, err error) error {
	var e *Error
	if at.file == "" || !errors.As(err, &e) || e.Err == nil || e.Line != 0 {
		return err
	}
	return &Error{File: at.file, Line: at.line, Column: at.column, Field: "extends",
		Msg: e.File + ": " + e.Msg, Fix: e.Fix, Err: e.Err}
}

func (l *loader) parent(extends *text) (string, error) {
	if isPath(extends.value) {
		return resolve(extends.pos.file, extends.value), nil
	}
	name, ok := l.index[extends.value]
	if !ok {
		return "", l.unknown(extends.pos, "extends", extends.value)
	}
	return builtinPrefix + name + ".yaml", nil
}

// builtinName gives the name of the built-in profile that file holds.
func builtinName(file string) (string, bool) {
	inside, ok := strings.CutPrefix(file, builtinPrefix)
	return strings.TrimSuffix(path.Base(inside), ".yaml"), ok
}

// compareVersions orders names by the numbers in them, so that 5.10 comes
// after 5.4, and names that begin with a letter after those of upstream.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, restA := leadingNumber(a)
		nb, restB := leadingNumber(b)
		switch {
		case na >= 0 && nb >= 0 && na != nb:
			return na - nb
		case na >= 0 && nb >= 0:
			a, b = restA, restB
		case a[0] != b[0]:
			return int(a[0]) - int(b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	return len(a) - len(b)
}

func leadingNumber(s string) (int, string) {
	n, i := -1, 0
	for ; i < len(s) && i < 9 && s[i] >= '0' && s[i] <= '9'; i++ {
		n = max(n, 0)*10 + int(s[i]-'0')
	}
	return n, s[i:]
}
