package backports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// seriesYAML is series.yaml as it is written.
type seriesYAML struct {
	Kernel  string      `yaml:"kernel"`
	Sets    []setYAML   `yaml:"sets"`
	Patches []patchYAML `yaml:"patches"`
}

type setYAML struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
}

type patchYAML struct {
	ID        string       `yaml:"id"`
	File      string       `yaml:"file"`
	Set       string       `yaml:"set"`
	Title     string       `yaml:"title"`
	Brings    string       `yaml:"brings"`
	Symptom   string       `yaml:"symptom"`
	Mainline  mainlineYAML `yaml:"mainline"`
	Kernels   string       `yaml:"kernels"`
	DependsOn []string     `yaml:"dependsOn"`
	Proof     string       `yaml:"proof"`
	License   string       `yaml:"license"`
}

type mainlineYAML struct {
	Commit  string `yaml:"commit"`
	Version string `yaml:"version"`
	Subject string `yaml:"subject"`
}

var (
	idPattern     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	filePattern   = regexp.MustCompile(`^[0-9]{4}-[a-z0-9.-]+\.patch$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{12,40}$`)
)

// document is a parsed series file that can still say where a field stands.
type document struct {
	name   string
	root   *ast.File
	series *Series
}

// parseSeries reads series.yaml strictly: an unknown, doubled or mistyped
// field is an error, and so is anything that does not hold among the patches.
func parseSeries(name string, data []byte) (*document, error) {
	raw, root, err := decodeSeries(name, data)
	if err != nil {
		return nil, err
	}
	doc := &document{name: name, root: root, series: &Series{Kernel: raw.Kernel}}
	if err := doc.check(raw); err != nil {
		return nil, err
	}
	return doc, nil
}

func decodeSeries(name string, data []byte) (raw seriesYAML, root *ast.File, err error) {
	// goccy/go-yaml v1.19.2 panics on some malformed documents (found by
	// FuzzParseSeries); a series is foreign input and must not end the program.
	defer func() {
		if p := recover(); p != nil {
			err = &SeriesError{File: name, Err: fmt.Errorf("malformed YAML: %v", p)}
		}
	}()
	root, err = parser.ParseBytes(data, 0)
	if err != nil {
		return raw, nil, yamlFault(name, err)
	}
	plain := plainYAML{name: name}
	for _, doc := range root.Docs {
		ast.Walk(&plain, doc)
	}
	if plain.err != nil {
		return raw, nil, plain.err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(&raw); err != nil {
		if errors.Is(err, io.EOF) {
			return raw, nil, &SeriesError{File: name, Err: errors.New("the file is empty")}
		}
		return raw, nil, yamlFault(name, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return raw, nil, &SeriesError{File: name, Err: errors.New("more than one YAML document; a series is one")}
	}
	return raw, root, nil
}

// plainYAML is an ast.Visitor that refuses what a series has no use for and
// what makes YAML dangerous to read: tags, anchors, aliases.
type plainYAML struct {
	name string
	err  error
}

// Visit implements ast.Visitor.
func (v *plainYAML) Visit(node ast.Node) ast.Visitor {
	switch node.(type) {
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		if v.err == nil {
			fault := &SeriesError{File: v.name, Err: errors.New("YAML tags, anchors and aliases are not allowed here")}
			if tok := node.GetToken(); tok != nil && tok.Position != nil {
				fault.Line, fault.Column = tok.Position.Line, tok.Position.Column
			}
			v.err = fault
		}
		return nil
	}
	return v
}

// yamlFault turns the library's error into ours, keeping its position.
func yamlFault(name string, err error) error {
	fault := &SeriesError{File: name, Err: err}
	var at yaml.Error
	if errors.As(err, &at) {
		fault.Err = errors.New(at.GetMessage())
		if tok := at.GetToken(); tok != nil && tok.Position != nil {
			fault.Line, fault.Column = tok.Position.Line, tok.Position.Column
		}
	}
	return fault
}

// fault returns a *SeriesError for a field such as "patches[2].id", with the
// position of the nearest part of that path which is in the file.
func (d *document) fault(field string, err error) error {
	fault := &SeriesError{File: d.name, Field: field, Err: err}
	for at := field; at != ""; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		p, perr := yaml.PathString("$." + at)
		if perr != nil {
			continue
		}
		node, perr := p.FilterFile(d.root)
		if perr != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
			continue
		}
		pos := node.GetToken().Position
		fault.Line, fault.Column = pos.Line, pos.Column
		break
	}
	return fault
}

func (d *document) check(raw seriesYAML) error {
	if _, err := parseVersion(raw.Kernel); err != nil {
		return d.fault("kernel", err)
	}
	for i, s := range raw.Sets {
		field := fmt.Sprintf("sets[%d]", i)
		if !idPattern.MatchString(s.Name) {
			return d.fault(field+".name", fmt.Errorf("%q is not lower-case words joined by -", s.Name))
		}
		if d.series.hasSet(s.Name) {
			return d.fault(field+".name", fmt.Errorf("set %q is there twice", s.Name))
		}
		if s.Description == "" {
			return d.fault(field+".description", errors.New("is required"))
		}
		d.series.Sets = append(d.series.Sets, Set(s))
	}
	if len(raw.Patches) > maxPatches {
		return d.fault("patches", fmt.Errorf("%d patches, more than the limit of %d", len(raw.Patches), maxPatches))
	}
	for i, p := range raw.Patches {
		field := fmt.Sprintf("patches[%d]", i)
		if err := d.checkPatch(field, p); err != nil {
			return err
		}
		d.series.Patches = append(d.series.Patches, Patch{
			ID: p.ID, File: p.File, Title: p.Title, Brings: p.Brings, Symptom: p.Symptom,
			MainlineCommit: p.Mainline.Commit, MainlineVersion: p.Mainline.Version, MainlineSubject: p.Mainline.Subject,
			Set: p.Set, Proof: p.Proof, License: p.License, Kernels: p.Kernels, DependsOn: p.DependsOn,
		})
	}
	return d.checkDependencies()
}

func (d *document) checkPatch(field string, p patchYAML) error {
	switch {
	case !idPattern.MatchString(p.ID):
		return d.fault(field+".id", fmt.Errorf("%q is not lower-case words joined by -", p.ID))
	case !filePattern.MatchString(p.File):
		return d.fault(field+".file", fmt.Errorf("%q is not of the form NNNN-name.patch", p.File))
	case !d.series.hasSet(p.Set):
		return d.fault(field+".set", fmt.Errorf("%q: %w; declare it under sets", p.Set, ErrUnknownSet))
	}
	for _, required := range []struct{ name, value string }{
		{"title", p.Title}, {"brings", p.Brings}, {"symptom", p.Symptom},
		{"proof", p.Proof}, {"license", p.License}, {"kernels", p.Kernels},
	} {
		if strings.TrimSpace(required.value) == "" {
			return d.fault(field+"."+required.name, fmt.Errorf("is required (patch %s)", p.ID))
		}
	}
	if _, err := ParseRange(p.Kernels); err != nil {
		return d.fault(field+".kernels", err)
	}
	if c := p.Mainline.Commit; c != "" && !commitPattern.MatchString(c) {
		return d.fault(field+".mainline.commit", fmt.Errorf("%q is not 12 to 40 lower-case hex digits", c))
	}
	for _, q := range d.series.Patches {
		if q.ID == p.ID {
			return d.fault(field+".id", fmt.Errorf("patch %q is there twice", p.ID))
		}
		if q.File == p.File {
			return d.fault(field+".file", fmt.Errorf("%s already belongs to patch %q", p.File, q.ID))
		}
	}
	return nil
}

func (d *document) checkDependencies() error {
	for i, p := range d.series.Patches {
		for j, dep := range p.DependsOn {
			field := fmt.Sprintf("patches[%d].dependsOn[%d]", i, j)
			if d.series.find(dep) == nil {
				return d.fault(field, fmt.Errorf("%q: %w", dep, ErrUnknownPatch))
			}
			if slices.Contains(p.DependsOn[:j], dep) {
				return d.fault(field, fmt.Errorf("%q is there twice", dep))
			}
		}
	}
	var all []string
	for _, p := range d.series.Patches {
		all = append(all, p.ID)
	}
	if _, err := d.series.order(all, nil); err != nil {
		return d.fault("patches", err)
	}
	return nil
}
