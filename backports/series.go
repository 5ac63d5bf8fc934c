package backports

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// SeriesFile is the name of the file that describes a series, in its folder.
const SeriesFile = "series.yaml"

// License is the licence of every patch of the embedded series (SPDX).
const License = "GPL-2.0-only"

// Limits on what LoadDir reads, far above any real series.
const (
	maxSeriesBytes = 1 << 20
	maxPatchBytes  = 4 << 20
	maxPatches     = 4096
)

//go:embed 2.6.32 3.10
var embedded embed.FS

// Patch is one backport: its data and what series.yaml says of it.
type Patch struct {
	ID              string   `json:"id"`
	File            string   `json:"file"` // name in the series folder
	Title           string   `json:"title"`
	Brings          string   `json:"brings"`
	Symptom         string   `json:"symptom"`                   // what is seen without it
	MainlineCommit  string   `json:"mainlineCommit,omitempty"`  // 12 to 40 hex digits; empty if there is none
	MainlineVersion string   `json:"mainlineVersion,omitempty"` // first release that has it, e.g. "v4.2"
	MainlineSubject string   `json:"mainlineSubject,omitempty"`
	Set             string   `json:"set"`
	Proof           string   `json:"proof"` // how it was shown to work
	License         string   `json:"license"`
	Kernels         string   `json:"kernels"` // e.g. ">=2.6.32 <2.6.33", see ParseRange
	DependsOn       []string `json:"dependsOn,omitempty"`
	Data            []byte   `json:"-"`
	SHA256          string   `json:"sha256"` // of Data, hex
}

// Set is a named group of patches of a series.
type Set struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Series is a patch series, checked: ids and files are unique, dependencies
// exist and have no cycle, every patch parses and stays inside the tree.
type Series struct {
	Name    string  `json:"name"`
	Kernel  string  `json:"kernel"` // the version it was written against
	Sets    []Set   `json:"sets"`
	Patches []Patch `json:"patches"`
}

// Names lists the embedded series.
func Names() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		return nil // cannot happen: the root of an embed.FS is always readable
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Load returns an embedded series by its folder name, such as "2.6.32".
func Load(series string) (*Series, error) {
	s, err := LoadDir(embedded, series)
	if errors.Is(err, ErrUnknownSeries) {
		return nil, fmt.Errorf("%w; there are: %s", err, strings.Join(Names(), ", "))
	}
	return s, err
}

// LoadDir reads the series in folder name of fsys and checks it whole. A fault
// is a *SeriesError with file and line.
func LoadDir(fsys fs.FS, name string) (*Series, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("series %q: %w: the name is not a clean relative path", name, ErrUnknownSeries)
	}
	file := path.Join(name, SeriesFile)
	data, err := readLimited(fsys, file, maxSeriesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("series %q: %w: no %s", name, ErrUnknownSeries, file)
	}
	if err != nil {
		return nil, fmt.Errorf("read series %q: %w", name, err)
	}
	doc, err := parseSeries(file, data)
	if err != nil {
		return nil, err
	}
	s := doc.series
	s.Name = name
	for i := range s.Patches {
		if err := s.Patches[i].load(fsys, name); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, doc.fault(fmt.Sprintf("patches[%d].file", i), err)
			}
			return nil, err
		}
	}
	if err := checkListed(fsys, name, s.Patches); err != nil {
		return nil, err
	}
	return s, nil
}

// load reads and checks the patch's data.
func (p *Patch) load(fsys fs.FS, folder string) error {
	file := path.Join(folder, p.File)
	data, err := readLimited(fsys, file, maxPatchBytes)
	if err != nil {
		return err
	}
	if _, err := parsePatch(data); err != nil {
		return &SeriesError{File: file, Err: err}
	}
	// The header and the list are read by different people; they must not
	// disagree about the licence.
	if want := "License: " + p.License; !slices.Contains(headerLines(data), want) {
		return &SeriesError{File: file, Err: fmt.Errorf("the header has no line %q, which %s promises", want, SeriesFile)}
	}
	sum := sha256.Sum256(data)
	p.Data, p.SHA256 = data, hex.EncodeToString(sum[:])
	return nil
}

// headerLines returns the trimmed lines before the first diff.
func headerLines(data []byte) []string {
	head, _, _ := strings.Cut(string(data), "\ndiff --git ")
	lines := strings.Split(head, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// checkListed refuses a patch file that the series does not name: it would
// look applied and is not.
func checkListed(fsys fs.FS, folder string, patches []Patch) error {
	listed := map[string]bool{}
	for _, p := range patches {
		listed[p.File] = true
	}
	entries, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return fmt.Errorf("list series %q: %w", folder, err)
	}
	var stray []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".patch") && !listed[e.Name()] {
			stray = append(stray, e.Name())
		}
	}
	if len(stray) > 0 {
		sort.Strings(stray)
		return &SeriesError{File: path.Join(folder, SeriesFile),
			Err: fmt.Errorf("does not list %s; add or delete it", strings.Join(stray, ", "))}
	}
	return nil
}

func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the limit of %d", name, info.Size(), limit)
	}
	return fs.ReadFile(fsys, name)
}
