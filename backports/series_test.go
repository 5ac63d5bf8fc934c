package backports

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// diff is a patch that adds a line to a file of one line.
func diff(file string) string {
	return fmt.Sprintf(`From: A <a@example.org>
Subject: [PATCH] one more line

License: GPL-2.0-only
---
diff --git a/%[1]s b/%[1]s
--- a/%[1]s
+++ b/%[1]s
@@ -1 +1,2 @@
 one
+two
`, file)
}

// entry is one patch of a series file; extra lines are added to it.
func entry(id, set string, extra ...string) string {
	e := fmt.Sprintf(`  - id: %[1]s
    file: 0001-%[1]s.patch
    set: %[2]s
    title: t
    brings: b
    symptom: s
    kernels: ">=2.6.32 <2.6.33"
    proof: p
    license: GPL-2.0-only
`, id, set)
	for _, line := range extra {
		e += "    " + line + "\n"
	}
	return e
}

const head = "kernel: 2.6.32.71\nsets:\n  - {name: a, description: d}\n  - {name: b, description: d}\npatches:\n"

// folder returns a file system with the series "s" and a patch for each id.
func folder(yaml string, ids ...string) fstest.MapFS {
	m := fstest.MapFS{"s/series.yaml": {Data: []byte(yaml)}}
	for _, id := range ids {
		m["s/0001-"+id+".patch"] = &fstest.MapFile{Data: []byte(diff("f/" + id))}
	}
	return m
}

func TestLoadDir(t *testing.T) {
	fsys := folder(head+entry("one", "a", "mainline: {commit: cb984d101b30, version: v4.2, subject: x}")+
		entry("two", "b", "dependsOn: [one]"), "one", "two")
	s, err := LoadDir(fsys, "s")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "s" || s.Kernel != "2.6.32.71" || len(s.Patches) != 2 {
		t.Fatalf("got %+v", s)
	}
	p := s.Patches[0]
	if p.MainlineCommit != "cb984d101b30" || p.MainlineVersion != "v4.2" || p.MainlineSubject != "x" {
		t.Errorf("mainline: %+v", p)
	}
	if len(p.Data) == 0 || len(p.SHA256) != 64 || p.SHA256 == s.Patches[1].SHA256 {
		t.Errorf("data of %d bytes, sha256 %q", len(p.Data), p.SHA256)
	}
}

func TestLoadDirFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		yaml string
		ids  []string
		want string // in the error
		is   error
	}{
		"empty file":           {"", nil, "s/series.yaml: the file is empty", nil},
		"not YAML":             {"kernel: [", nil, "s/series.yaml:1:", nil},
		"unknown field":        {"kernel: 2.6.32\nkernal: 1\n", nil, "s/series.yaml:2:1: unknown field", nil},
		"doubled field":        {"kernel: 2.6.32\nkernel: 2.6.33\n", nil, "s/series.yaml:2:1:", nil},
		"two documents":        {"kernel: 2.6.32\n---\nkernel: 2.6.33\n", nil, "more than one YAML document", nil},
		"wrong type":           {"kernel: 2.6.32\nsets: 3\n", nil, "s/series.yaml:2:", nil},
		"tag":                  {"kernel: 2.6.32\nsets: !x []\n", nil, "s/series.yaml:2:7: YAML tags", nil},
		"alias":                {"kernel: &k 2.6.32\nsets: *k\n", nil, "s/series.yaml:1:9: YAML tags", nil},
		"bad kernel":           {"kernel: new\n", nil, "s/series.yaml:1:9: kernel: ", nil},
		"set without meaning":  {"kernel: 2.6.32\nsets:\n  - name: a\n", nil, "s/series.yaml:3:", nil},
		"doubled set":          {"kernel: 2.6.32\nsets:\n  - {name: a, description: d}\n  - {name: a, description: d}\n", nil, "s/series.yaml:4:12: sets[1].name", nil},
		"unknown set":          {head + entry("one", "c"), []string{"one"}, "s/series.yaml:8:10: patches[0].set", ErrUnknownSet},
		"bad range":            {head + strings.Replace(entry("one", "a"), `">=2.6.32 <2.6.33"`, `"2.6.32"`, 1), []string{"one"}, "s/series.yaml:12:14: patches[0].kernels", nil},
		"no proof":             {head + strings.Replace(entry("one", "a"), "    proof: p\n", "", 1), []string{"one"}, "patches[0].proof: is required", nil},
		"bad commit":           {head + entry("one", "a", "mainline: {commit: cb98}"), []string{"one"}, "patches[0].mainline.commit", nil},
		"doubled id":           {head + entry("one", "a") + entry("one", "a"), []string{"one"}, "patches[1].id", nil},
		"bad id":               {head + entry("One", "a"), nil, "patches[0].id", nil},
		"file outside":         {head + strings.Replace(entry("one", "a"), "0001-one.patch", "../x.patch", 1), []string{"one"}, "patches[0].file", nil},
		"no such file":         {head + entry("one", "a"), nil, "s/series.yaml:7:11: patches[0].file", fs.ErrNotExist},
		"unknown dependency":   {head + entry("one", "a", "dependsOn: [x]"), []string{"one"}, "s/series.yaml:15:17: patches[0].dependsOn[0]", ErrUnknownPatch},
		"doubled dependency":   {head + entry("one", "a") + entry("two", "a", "dependsOn: [one, one]"), []string{"one", "two"}, "patches[1].dependsOn[1]", nil},
		"depends on itself":    {head + entry("one", "a", "dependsOn: [one]"), []string{"one"}, "one -> one", ErrCycle},
		"cycle":                {head + entry("one", "a", "dependsOn: [two]") + entry("two", "a", "dependsOn: [one]"), []string{"one", "two"}, "one -> two -> one", ErrCycle},
		"stray patch":          {head + entry("one", "a"), []string{"one", "two"}, "does not list 0001-two.patch", nil},
		"licence not the same": {head + strings.Replace(entry("one", "a"), "GPL-2.0-only", "MIT", 1), []string{"one"}, `s/0001-one.patch: the header has no line "License: MIT"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadDir(folder(tc.yaml, tc.ids...), "s")
			var fault *SeriesError
			if !errors.As(err, &fault) {
				t.Fatalf("got %v, want a *SeriesError", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want %q in it", err, tc.want)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%q is not %q", err, tc.is)
			}
		})
	}
}

func TestLoadDirRefusesPatchWithUnsafePath(t *testing.T) {
	fsys := folder(head+entry("one", "a"), "one")
	fsys["s/0001-one.patch"].Data = []byte(diff("../one"))
	if _, err := LoadDir(fsys, "s"); !errors.Is(err, ErrUnsafePath) {
		t.Errorf("got %v, want ErrUnsafePath", err)
	}
}

func TestLoadUnknownSeries(t *testing.T) {
	_, err := Load("2.4.37")
	if !errors.Is(err, ErrUnknownSeries) || !strings.Contains(err.Error(), "2.6.32") {
		t.Errorf("got %v, want ErrUnknownSeries and the names there are", err)
	}
	for _, bad := range []string{"../2.6.32", "/2.6.32", ""} {
		if _, err := Load(bad); !errors.Is(err, ErrUnknownSeries) {
			t.Errorf("%q: got %v, want ErrUnknownSeries", bad, err)
		}
	}
}

func ids(patches []Patch) string {
	var out []string
	for _, p := range patches {
		out = append(out, p.ID)
	}
	return strings.Join(out, " ")
}

func TestSelect(t *testing.T) {
	s, err := LoadDir(folder(head+
		entry("one", "a", "dependsOn: [three]")+
		entry("two", "b", "dependsOn: [one]")+
		entry("three", "a")+
		entry("four", "a"), "one", "two", "three", "four"), "s")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sets, exclude []string
		want          string
		is            error
	}{
		"nothing":                      {nil, nil, "", nil},
		"dependencies first":           {[]string{"a"}, nil, "three one four", nil},
		"dependency from another set":  {[]string{"b"}, nil, "three one two", nil},
		"all, set named twice":         {[]string{"b", "a", "b"}, nil, "three one two four", nil},
		"exclude a leaf":               {[]string{"a"}, []string{"four"}, "three one", nil},
		"exclude a dependency":         {[]string{"a"}, []string{"three"}, "", ErrDependencyExcluded},
		"exclude dependency and users": {[]string{"a"}, []string{"three", "one"}, "four", nil},
		"exclude one's dependency":     {[]string{"b"}, []string{"three"}, "", ErrDependencyExcluded},
		"unknown set":                  {[]string{"c"}, nil, "", ErrUnknownSet},
		"unknown exclude":              {[]string{"a"}, []string{"five"}, "", ErrUnknownPatch},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Select(tc.sets, tc.exclude)
			if !errors.Is(err, tc.is) {
				t.Fatalf("got error %v, want %v", err, tc.is)
			}
			if ids(got) != tc.want {
				t.Errorf("got %q, want %q", ids(got), tc.want)
			}
		})
	}
}

func FuzzParseSeries(f *testing.F) {
	f.Add([]byte(head + entry("one", "a", "dependsOn: [two]") + entry("two", "b")))
	f.Add([]byte("kernel: 2.6.32\nsets: [{name: a, description: b}]\npatches: []\n"))
	f.Add([]byte("kernel: &x 2.6\nsets: *x\n"))
	f.Add([]byte("- 1\n"))
	f.Add([]byte("A: \nsets: !0000000000\n00000000000")) // once a panic in the YAML library
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseSeries("series.yaml", data)
		if err != nil {
			var fault *SeriesError
			if !errors.As(err, &fault) || fault.File != "series.yaml" {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		all, err := doc.series.Select(doc.series.setNames(), nil)
		if err != nil {
			t.Fatalf("accepted series cannot be selected whole: %v", err)
		}
		if len(all) != len(doc.series.Patches) {
			t.Fatalf("selecting all sets gives %d of %d patches", len(all), len(doc.series.Patches))
		}
	})
}
