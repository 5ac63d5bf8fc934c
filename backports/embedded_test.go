package backports

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// trees names, for each embedded series, the variable that holds the path of
// an unmodified source tarball (uncompressed) to try the series on.
var trees = map[string]string{
	"2.6.32": "RUNV_TEST_LINUX_2_6_32",
	"3.10":   "RUNV_TEST_LINUX_3_10",
}

func TestEmbeddedSeries(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(s.Kernel, s.Patches); err != nil {
				t.Errorf("a patch is not for the series' own kernel: %v", err)
			}
			if _, ok := trees[name]; !ok {
				t.Errorf("no test tree is named for series %s", name)
			}
			documented, err := os.ReadFile("../docs/backports.md")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range s.Patches {
				checkHeader(t, p)
				if !bytes.Contains(documented, []byte("| `"+p.ID+"` | "+p.Set+" | ")) || !bytes.Contains(documented, []byte(p.MainlineCommit)) {
					t.Errorf("docs/backports.md has no row for %s (%s, %q)", p.ID, p.Set, p.MainlineCommit)
				}
			}
		})
	}
}

// checkHeader holds the patch's own header against series.yaml.
func checkHeader(t *testing.T, p Patch) {
	t.Helper()
	if p.License != License {
		t.Errorf("%s: licence %q, want %q", p.ID, p.License, License)
	}
	_, preamble, err := gitdiff.Parse(bytes.NewReader(p.Data))
	if err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	h, err := gitdiff.ParsePatchHeader(preamble)
	if err != nil {
		t.Fatalf("%s: header: %v", p.File, err)
	}
	if h.Title != p.Title {
		t.Errorf("%s: subject %q, series says %q", p.File, h.Title, p.Title)
	}
	words := strings.Join(strings.Fields(preamble), " ")
	for what, want := range map[string]string{
		"brings": p.Brings, "symptom": "Symptom without it: " + p.Symptom, "proof": "Proved: " + p.Proof,
		"kernels": "Kernels: " + p.Kernels, "mainline commit": p.MainlineCommit, "mainline subject": p.MainlineSubject,
		"dependencies": "Depends on: " + strings.Join(p.DependsOn, ", "),
	} {
		if !strings.Contains(words, strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%s: the header does not give the %s of the series: %q", p.File, what, want)
		}
	}
}

// TestEmbeddedSeriesApply applies each series to the unmodified kernel: whole,
// set by set, and every patch alone with what it depends on.
func TestEmbeddedSeriesApply(t *testing.T) {
	for name, variable := range trees {
		t.Run(name, func(t *testing.T) {
			tarball := os.Getenv(variable)
			if tarball == "" {
				t.Skipf("not tried on the real source: set %s to an unmodified, uncompressed Linux %s tarball", variable, name)
			}
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Patches) == 0 {
				t.Skipf("series %s has no patches to try", name)
			}
			files := extract(t, tarball, touched(t, s))
			var all []string
			for _, set := range s.Sets {
				all = append(all, set.Name)
				applySelection(t, s, files, "set "+set.Name, []string{set.Name}, nil)
			}
			applySelection(t, s, files, "all sets", all, nil)
			for _, p := range s.Patches {
				alone, err := s.order([]string{p.ID}, nil)
				if err != nil {
					t.Fatal(err)
				}
				applyTo(t, files, p.ID+" alone", alone)
				without, err := s.Select(all, []string{p.ID})
				if errors.Is(err, ErrDependencyExcluded) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				applyTo(t, files, "all but "+p.ID, without)
			}
		})
	}
}

func applySelection(t *testing.T, s *Series, files map[string]string, what string, sets, exclude []string) {
	t.Helper()
	patches, err := s.Select(sets, exclude)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if len(patches) == 0 {
		t.Fatalf("%s: selects nothing", what)
	}
	applyTo(t, files, what, patches)
}

func applyTo(t *testing.T, files map[string]string, what string, patches []Patch) {
	t.Helper()
	if err := Apply(tree(t, files), patches); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// touched lists the existing files that the series changes.
func touched(t *testing.T, s *Series) []string {
	t.Helper()
	var names []string
	for _, p := range s.Patches {
		files, err := parsePatch(p.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.OldName != "" && !slices.Contains(names, f.OldName) {
				names = append(names, f.OldName)
			}
		}
	}
	return names
}

// extract reads the named files out of a tarball, without its top folder.
func extract(t *testing.T, tarball string, names []string) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Clean(tarball))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read %s: %v", tarball, err)
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/")
		if !slices.Contains(names, name) {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("read %s from %s: %v", name, tarball, err)
		}
		files[name] = string(data)
	}
	return files
}
