package backports

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files (path to content) into a new folder.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// snapshot reads a folder back: path to mode and content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			content = string(data)
		}
		name, err := filepath.Rel(dir, file)
		found[name] = info.Mode().String() + " " + content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const ten = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"

const changeTwo = `diff --git a/a/ten b/a/ten
--- a/a/ten
+++ b/a/ten
@@ -1,3 +1,3 @@
 1
-2
+two
 3
@@ -8,3 +8,4 @@
 8
 9
 10
+eleven
`

const addFile = `diff --git a/new/deep/file b/new/deep/file
new file mode 100644
--- /dev/null
+++ b/new/deep/file
@@ -0,0 +1,1 @@
+hello
`

const addScript = `diff --git a/run.sh b/run.sh
new file mode 100755
--- /dev/null
+++ b/run.sh
@@ -0,0 +1,1 @@
+#!/bin/sh
`

const deleteTen = `diff --git a/a/ten b/a/ten
deleted file mode 100644
--- a/a/ten
+++ /dev/null
@@ -1,10 +0,0 @@
-1
-2
-3
-4
-5
-6
-7
-8
-9
-10
`

const renameTen = `diff --git a/a/ten b/b/ten
similarity index 90%
rename from a/ten
rename to b/ten
--- a/a/ten
+++ b/b/ten
@@ -1,2 +1,2 @@
-1
+one
 2
`

const makeExecutable = `diff --git a/a/ten b/a/ten
old mode 100644
new mode 100755
`

func TestApply(t *testing.T) {
	for name, tc := range map[string]struct {
		patch string
		want  map[string]string // regular files after
	}{
		"change":          {changeTwo, map[string]string{"a/ten": "-rw-r--r-- 1\ntwo\n3\n4\n5\n6\n7\n8\n9\n10\neleven\n"}},
		"new file":        {addFile, map[string]string{"a/ten": "-rw-r--r-- " + ten, "new/deep/file": "-rw-r--r-- hello\n"}},
		"new script":      {addScript, map[string]string{"a/ten": "-rw-r--r-- " + ten, "run.sh": "-rwxr-xr-x #!/bin/sh\n"}},
		"delete":          {deleteTen, map[string]string{}},
		"rename":          {renameTen, map[string]string{"b/ten": "-rw-r--r-- " + strings.Replace(ten, "1\n", "one\n", 1)}},
		"mode":            {makeExecutable, map[string]string{"a/ten": "-rwxr-xr-x " + ten}},
		"change and new":  {changeTwo + addFile, map[string]string{"a/ten": "-rw-r--r-- 1\ntwo\n3\n4\n5\n6\n7\n8\n9\n10\neleven\n", "new/deep/file": "-rw-r--r-- hello\n"}},
		"delete and new":  {deleteTen + addFile, map[string]string{"new/deep/file": "-rw-r--r-- hello\n"}},
		"header and tail": {"From: x\nSubject: y\n\nwords\n---\n" + addScript + "-- \n2.39.5\n", map[string]string{"a/ten": "-rw-r--r-- " + ten, "run.sh": "-rwxr-xr-x #!/bin/sh\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"a/ten": ten})
			if err := Apply(dir, []Patch{{ID: "p", Data: []byte(tc.patch)}}); err != nil {
				t.Fatal(err)
			}
			got := snapshot(t, dir)
			maps.DeleteFunc(got, func(_, v string) bool { return v[0] == 'd' })
			if !maps.Equal(got, tc.want) {
				t.Errorf("got %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestApplyFailureChangesNothing(t *testing.T) {
	line := func(s, old, new string) string { return strings.Replace(s, old, new, 1) }
	for name, tc := range map[string]struct {
		patch string
		file  string
		hunk  int
		line  int
		is    error
	}{
		"context differs":        {line(changeTwo, " 9\n", " nine\n"), "a/ten", 2, 9, nil},
		"first hunk":             {line(changeTwo, "-2\n", "-zwei\n"), "a/ten", 1, 2, nil},
		"no offset":              {line(changeTwo, "@@ -8,3 +8,4 @@", "@@ -7,3 +7,4 @@"), "a/ten", 2, 7, nil},
		"beyond the end":         {line(changeTwo, "@@ -8,3 +8,4 @@", "@@ -80,3 +80,4 @@"), "a/ten", 2, 11, nil},
		"good file, then bad":    {addFile + line(changeTwo, " 9\n", " nine\n"), "a/ten", 2, 9, nil},
		"no such file":           {strings.ReplaceAll(changeTwo, "a/ten", "a/none"), "a/none", 0, 0, fs.ErrNotExist},
		"new file exists":        {strings.ReplaceAll(addFile, "new/deep/file", "a/ten"), "a/ten", 0, 0, nil},
		"new file under a file":  {strings.ReplaceAll(addFile, "new/deep", "a/ten"), "a/ten/file", 0, 0, nil},
		"delete leaves lines":    {line(line(deleteTen, "-10\n", ""), "-1,10", "-1,9"), "a/ten", 1, 0, nil},
		"changes a folder":       {strings.ReplaceAll(changeTwo, "a/ten", "a"), "a", 0, 0, nil},
		"rename onto a file":     {strings.ReplaceAll(renameTen, "b/ten", "a/other"), "a/other", 0, 0, nil},
		"through a link":         {strings.ReplaceAll(changeTwo, "a/ten", "inside/ten"), "inside/ten", 0, 0, ErrUnsafePath},
		"new through a link out": {strings.ReplaceAll(addFile, "new/deep", "outside"), "outside/file", 0, 0, ErrUnsafePath},
		"dot dot":                {strings.ReplaceAll(addFile, "new/deep", "../x"), "", 0, 0, ErrUnsafePath},
		"absolute":               {"--- /dev/null\n+++ /abs/file\n@@ -0,0 +1,1 @@\n+x\n", "", 0, 0, ErrUnsafePath},
		"file twice":             {addFile + addFile, "", 0, 0, nil},
		"symbolic link":          {line(addFile, "100644", "120000"), "", 0, 0, nil},
		"submodule":              {line(addFile, "100644", "160000"), "", 0, 0, nil},
		"cut off":                {changeTwo[:len(changeTwo)-8], "", 0, 0, nil},
		"empty":                  {"", "", 0, 0, nil},
		"only words":             {"Subject: nothing\n", "", 0, 0, nil},
		"hunk counts wrong":      {line(changeTwo, "@@ -8,3 +8,4 @@", "@@ -8,3 +8,9 @@"), "", 0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"a/ten": ten, "a/other": "x\n"})
			outside := t.TempDir()
			for link, to := range map[string]string{"inside": "a", "outside": outside} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, dir)
			err := Apply(dir, []Patch{{ID: "p", Data: []byte(tc.patch)}})
			var failed *ApplyError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want an *ApplyError", err)
			}
			if failed.Patch != "p" || failed.File != tc.file || failed.Hunk != tc.hunk || (tc.line != 0 && failed.Line != tc.line) {
				t.Errorf("got patch %q, file %q, hunk %d, line %d (%v); want file %q, hunk %d, line %d",
					failed.Patch, failed.File, failed.Hunk, failed.Line, err, tc.file, tc.hunk, tc.line)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%q is not %q", err, tc.is)
			}
			if after := snapshot(t, dir); !maps.Equal(before, after) {
				t.Errorf("the tree changed:\nbefore %q\nafter  %q", before, after)
			}
			if left := snapshot(t, outside); len(left) > 0 {
				t.Errorf("outside the tree: %q", left)
			}
		})
	}
}

// A fault while putting files in place must undo what is in place already. The
// cause here is a file that turns up after its absence was checked.
func TestCommitUndoes(t *testing.T) {
	dir := tree(t, map[string]string{"a/ten": ten, "gone": "x\n", "a/other": "y\n"})
	before := snapshot(t, dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	err = commit(root, []change{
		{name: "new/deep/file", data: []byte("n\n"), mode: 0o644, created: true},
		{name: "a/ten", data: []byte("changed\n"), mode: 0o755},
		{name: "gone"},
		{name: "missing"}, // cannot be removed
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want fs.ErrNotExist", err)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("not undone:\nbefore %q\nafter  %q", before, after)
	}
}

func TestApplyStopsAtFailedPatch(t *testing.T) {
	dir := tree(t, map[string]string{"a/ten": ten})
	err := Apply(dir, []Patch{
		{ID: "good", Data: []byte(addFile)},
		{ID: "bad", Data: []byte(strings.Replace(changeTwo, "-2", "-zwei", 1))},
		{ID: "never", Data: []byte(addScript)},
	})
	var failed *ApplyError
	if !errors.As(err, &failed) || failed.Patch != "bad" {
		t.Fatalf("got %v, want an *ApplyError of patch bad", err)
	}
	got := snapshot(t, dir)
	if _, ok := got["new/deep/file"]; !ok {
		t.Error("the patch before the failed one is not applied")
	}
	if _, ok := got["run.sh"]; ok {
		t.Error("the patch after the failed one is applied")
	}
	if want := "apply patch bad: a/ten:2: hunk 1: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %q does not start with %q", err, want)
	}
}

func TestApplyTwiceFails(t *testing.T) {
	dir := tree(t, map[string]string{"a/ten": ten})
	p := []Patch{{ID: "p", Data: []byte(changeTwo)}}
	if err := Apply(dir, p); err != nil {
		t.Fatal(err)
	}
	if err := Apply(dir, p); err == nil {
		t.Error("an applied patch was applied again")
	}
}

func TestApplyChecksDigest(t *testing.T) {
	dir := tree(t, map[string]string{"a/ten": ten})
	sum := sha256.Sum256([]byte(changeTwo))
	p := Patch{ID: "p", Data: []byte(changeTwo + "\n"), SHA256: hex.EncodeToString(sum[:])}
	if err := Apply(dir, []Patch{p}); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("got %v, want a digest error", err)
	}
	p.Data = []byte(changeTwo)
	if err := Apply(dir, []Patch{p}); err != nil {
		t.Error(err)
	}
}

// A tree that shares files by hard links (cp -al) must not change its twin.
func TestApplyLeavesHardLinksAlone(t *testing.T) {
	dir := tree(t, map[string]string{"a/ten": ten})
	twin := filepath.Join(t.TempDir(), "twin")
	if err := os.Link(filepath.Join(dir, "a/ten"), twin); err != nil {
		t.Skip("no hard links here: ", err)
	}
	if err := Apply(dir, []Patch{{ID: "p", Data: []byte(changeTwo)}}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(twin); err != nil || string(data) != ten {
		t.Errorf("twin is %q, %v", data, err)
	}
}

func FuzzApply(f *testing.F) {
	for _, seed := range []string{changeTwo, addFile, addScript, deleteTen, renameTen, makeExecutable, changeTwo + addFile} {
		f.Add(seed)
	}
	f.Add(strings.ReplaceAll(addFile, "new/deep", "../x"))
	f.Add("--- a/a/ten\n+++ b/a/ten\n@@ -1,1 +1,1 @@\n-1\n+2\n")
	f.Fuzz(func(t *testing.T, patch string) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "tree")
		if err := os.MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a/ten"), []byte(ten), 0o644); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		err := Apply(dir, []Patch{{ID: "p", Data: []byte(patch)}})
		if entries, derr := os.ReadDir(parent); derr != nil || len(entries) != 1 {
			t.Fatalf("outside the tree: %v, %v", entries, derr)
		}
		var failed *ApplyError
		if err != nil && (!errors.As(err, &failed) || failed.Patch != "p") {
			t.Fatalf("not an *ApplyError: %v", err)
		}
		if err != nil && !maps.Equal(before, snapshot(t, dir)) {
			t.Fatalf("failed (%v) but changed the tree", err)
		}
		for name := range snapshot(t, dir) {
			if strings.HasPrefix(filepath.Base(name), ".ten") {
				t.Fatalf("temporary file %s is left", name)
			}
		}
	})
}
