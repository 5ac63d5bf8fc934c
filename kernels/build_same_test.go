// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/backports"
)

const withVirtio = "CONFIG_VIRTUALIZATION=y\nCONFIG_VIRTIO=y\n"

func TestIncrementalBuildEqualsACleanOne(t *testing.T) {
	k := newTiny(t, t.TempDir())
	k.mustBuild(k.recipe, BuildOptions{}, nil)
	var rec recorder
	incremental := k.mustBuild(k.with(withVirtio), BuildOptions{}, rec.progress)
	// printk.o does not depend on the symbol; main.o does, and virtio.o is new.
	if got, want := rec.compiled(), []string{"main.o", "virtio.o"}; !slices.Equal(got, want) {
		t.Errorf("compiled %v, want %v", got, want)
	}
	for _, e := range rec.events {
		if e.Stage == StageCompile && e.Total != 2 {
			t.Errorf("event %+v, want a total of 2", e)
		}
	}
	if rec.has(StageUnpack, Started) {
		t.Error("the source was unpacked again")
	}
	clean := newTiny(t, t.TempDir()).mustBuild(k.with(withVirtio), BuildOptions{}, nil)
	if clean.Key != incremental.Key || !maps.Equal(clean.SHA256, incremental.SHA256) {
		t.Errorf("incremental %v, clean %v", incremental.SHA256, clean.SHA256)
	}
	back := k.mustBuild(k.with("# CONFIG_VIRTIO is not set\n"), BuildOptions{}, nil)
	if !back.Cached {
		t.Error("the first configuration was built again")
	}
}

func TestFolderJobsAndEnvironmentDoNotShowInTheKernel(t *testing.T) {
	r := newTiny(t, t.TempDir()).with(withVirtio)
	first := newTiny(t, t.TempDir()).mustBuild(r, BuildOptions{Jobs: 1}, nil)
	for name, value := range map[string]string{
		"CFLAGS": "-O3", "KCFLAGS": "-DLEAK", "MAKEFLAGS": "-k", "KBUILD_BUILD_USER": "somebody",
		"KBUILD_BUILD_TIMESTAMP": "now", "KCONFIG_ALLCONFIG": "/nonexistent", "CPATH": "/nonexistent",
		"USER": "somebody", "HOSTNAME": "somewhere", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "ARCH": "arm",
	} {
		t.Setenv(name, value)
	}
	second := newTiny(t, filepath.Join(t.TempDir(), "a", "longer", "name")).mustBuild(r, BuildOptions{Jobs: 3}, nil)
	if first.Key != second.Key || !maps.Equal(first.SHA256, second.SHA256) {
		t.Errorf("keys %s and %s, digests %v and %v", first.Key, second.Key, first.SHA256, second.SHA256)
	}
	vmlinux, err := os.ReadFile(second.Vmlinux)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(vmlinux, []byte("longer/name")); i >= 0 {
		t.Errorf("vmlinux holds the folder of the build: %q", vmlinux[max(0, i-40):i+40])
	}
	if !bytes.Contains(vmlinux, []byte("kbuild@runv-legacy Thu Jan  1 00:00:00 UTC 1970 "+buildTime)) {
		t.Error("vmlinux does not say that kbuild built it at the epoch")
	}
}

func TestMakeSeesNothingOfTheUsersEnvironment(t *testing.T) {
	k := newTiny(t, t.TempDir())
	t.Setenv("SECRET_OF_THE_USER", "1")
	t.Setenv("CFLAGS", "-O3")
	b := k.mustBuild(k.recipe, BuildOptions{}, nil)
	_, tree := k.keysOf(k.recipe)
	env, err := os.ReadFile(k.path(treesDir, tree, treeSource, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(b.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"SECRET_OF_THE_USER", "-O3"} {
		if bytes.Contains(env, []byte(s)) || bytes.Contains(log, []byte(s)) {
			t.Errorf("%s reached make:\n%s\n%s", s, env, log)
		}
	}
	for _, s := range []string{"LC_ALL=C\n", "SOURCE_DATE_EPOCH=0\n", "KBUILD_BUILD_VERSION=1\n"} {
		if !bytes.Contains(env, []byte(s)) {
			t.Errorf("%q is not in make's environment:\n%s", s, env)
		}
	}
}

func TestFlagsReachTheCompiler(t *testing.T) {
	k := newTiny(t, t.TempDir())
	r := k.recipe
	r.Toolchain.CFlags = []string{"-DTINY_C", "-O1"}
	r.Toolchain.KCFlags = []string{"-DTINY_K", "-O1"}
	r.Toolchain.HostCFlags = []string{"-DTINY_HOST"}
	r.Toolchain.MakeVars = map[string]string{"TINY_VAR": "a b"}
	b := k.mustBuild(r, BuildOptions{}, nil)
	log, err := os.ReadFile(b.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"'CC=gcc -DTINY_C -O1 ", "'KCFLAGS=-DTINY_K -O1'", "'HOSTCC=gcc -DTINY_HOST'", "'TINY_VAR=a b'"} {
		if !bytes.Contains(log, []byte(s)) {
			t.Errorf("%s is not on make's command line:\n%s", s, log)
		}
	}
}

func TestKeyHoldsWhatDecidesTheKernel(t *testing.T) {
	base := Recipe{
		Source: Source{Digest: "sha256:aa", Path: "/here"}, Version: "2.6.32.71", Arch: "x86_64", Base: "allnoconfig",
		Fragments: []Fragment{{Name: "a", Data: []byte("CONFIG_A=y\n")}, {Name: "b", Data: []byte("CONFIG_B=y\n")}},
	}
	compiler := Compiler{Name: "gcc 12", Major: 12, Details: "d", Linker: "l", Assembler: "a", Compressor: "g"}
	key := func(r Recipe, c Compiler) [2]string {
		t.Helper()
		b, tree, err := keys(r, c)
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{b, tree}
	}
	want := key(base, compiler)
	type change func(*Recipe, *Compiler)
	for name, f := range map[string]change{
		"path of the source":    func(r *Recipe, _ *Compiler) { r.Source.Path = "/there" },
		"verification":          func(r *Recipe, _ *Compiler) { r.Source.Verification = "sha256+pgp" },
		"names of fragments":    func(r *Recipe, _ *Compiler) { r.Fragments = []Fragment{{"x", r.Fragments[0].Data}, r.Fragments[1]} },
		"the default named":     func(r *Recipe, _ *Compiler) { r.Toolchain.CC, r.Toolchain.Target = "gcc", "bzImage" },
		"bounds of the version": func(r *Recipe, _ *Compiler) { r.Toolchain.MinGCC, r.Toolchain.MaxGCC = 5, 20 },
	} {
		r, c := base, compiler
		f(&r, &c)
		if got := key(r, c); got != want {
			t.Errorf("%s changes the key", name)
		}
	}
	onlyBuild := map[string]change{
		"fragment":     func(r *Recipe, _ *Compiler) { r.Fragments = []Fragment{r.Fragments[0], {"b", []byte("CONFIG_B=n\n")}} },
		"order":        func(r *Recipe, _ *Compiler) { r.Fragments = []Fragment{r.Fragments[1], r.Fragments[0]} },
		"base":         func(r *Recipe, _ *Compiler) { r.Base = "defconfig" },
		"localversion": func(r *Recipe, _ *Compiler) { r.LocalVersion = "-x" },
		"target":       func(r *Recipe, _ *Compiler) { r.Toolchain.Target = "vmlinux" },
		"image":        func(r *Recipe, _ *Compiler) { r.Toolchain.Image = "vmlinux" },
	}
	both := map[string]change{
		"source":       func(r *Recipe, _ *Compiler) { r.Source.Digest = "sha256:bb" },
		"cc":           func(r *Recipe, _ *Compiler) { r.Toolchain.CC = "gcc-11" },
		"cflags":       func(r *Recipe, _ *Compiler) { r.Toolchain.CFlags = []string{"-O1"} },
		"kcflags":      func(r *Recipe, _ *Compiler) { r.Toolchain.KCFlags = []string{"-O1"} },
		"host cflags":  func(r *Recipe, _ *Compiler) { r.Toolchain.HostCFlags = []string{"-O1"} },
		"make vars":    func(r *Recipe, _ *Compiler) { r.Toolchain.MakeVars = map[string]string{"A": "b"} },
		"patch":        func(r *Recipe, _ *Compiler) { r.Patches = onePatch("p", "x") },
		"patch's data": func(r *Recipe, _ *Compiler) { r.Patches = onePatch("p", "y") },
		"patch's id":   func(r *Recipe, _ *Compiler) { r.Patches = onePatch("q", "x") },
		"compiler":     func(_ *Recipe, c *Compiler) { c.Name = "gcc 13" },
		"gcc -v":       func(_ *Recipe, c *Compiler) { c.Details = "e" },
		"linker":       func(_ *Recipe, c *Compiler) { c.Linker = "m" },
		"assembler":    func(_ *Recipe, c *Compiler) { c.Assembler = "m" },
		"compressor":   func(_ *Recipe, c *Compiler) { c.Compressor = "m" },
	}
	seen := map[string]string{want[0]: "the base"}
	for i, set := range []map[string]change{onlyBuild, both} {
		for name, f := range set {
			r, c := base, compiler
			f(&r, &c)
			got := key(r, c)
			if other, ok := seen[got[0]]; ok {
				t.Errorf("%s has the key of %s", name, other)
			}
			seen[got[0]] = name
			if (got[1] == want[1]) != (i == 0) {
				t.Errorf("%s: work tree shared: %v, want %v", name, got[1] == want[1], i == 0)
			}
		}
	}
}

func TestRecipeThatCannotBeBuiltIsRefused(t *testing.T) {
	k := newTiny(t, t.TempDir())
	for name, c := range map[string]struct {
		spoil func(*Recipe)
		want  string
	}{
		"no source":      {func(r *Recipe) { r.Source = Source{} }, "recipe: Source: "},
		"arch":           {func(r *Recipe) { r.Arch = "arm64" }, `recipe: Arch: "arm64" is not supported`},
		"base":           {func(r *Recipe) { r.Base = "tinyconfig" }, `recipe: Base: "tinyconfig" is unknown`},
		"local version":  {func(r *Recipe) { r.LocalVersion = "-a b" }, "recipe: LocalVersion: "},
		"cc":             {func(r *Recipe) { r.Toolchain.CC = "gcc -O2" }, "recipe: Toolchain.CC: "},
		"image":          {func(r *Recipe) { r.Toolchain.Image = "../x" }, "recipe: Toolchain.Image: "},
		"make var":       {func(r *Recipe) { r.Toolchain.MakeVars = map[string]string{"ARCH": "arm"} }, "recipe: Toolchain.MakeVars: ARCH "},
		"make var name":  {func(r *Recipe) { r.Toolchain.MakeVars = map[string]string{"a b": "c"} }, "recipe: Toolchain.MakeVars: "},
		"not a setting":  {func(r *Recipe) { r.Fragments[0].Data = []byte("#\nCONFIG_NET\n") }, `tiny.config:2: "CONFIG_NET" is not a setting`},
		"value":          {func(r *Recipe) { r.Fragments[0].Data = []byte("CONFIG_A=\"x\n") }, "tiny.config:1: CONFIG_A has the value"},
		"localversion":   {func(r *Recipe) { r.Fragments[0].Data = []byte("CONFIG_LOCALVERSION=\"-x\"\n") }, "tiny.config:1: CONFIG_LOCALVERSION"},
		"git's version":  {func(r *Recipe) { r.Fragments[0].Data = []byte("CONFIG_LOCALVERSION_AUTO=y\n") }, "tiny.config:1: CONFIG_LOCALVERSION_AUTO"},
		"compiler":       {func(r *Recipe) { r.Toolchain.CC = "gcc-of-the-future" }, "not installed: gcc-of-the-future"},
		"compiler path":  {func(r *Recipe) { r.Toolchain.CC = "/nonexistent/gcc" }, "not installed: /nonexistent/gcc"},
		"compiler old":   {func(r *Recipe) { r.Toolchain.MinGCC = 99 }, "needs gcc 99 or newer"},
		"compiler new":   {func(r *Recipe) { r.Toolchain.MaxGCC = 3 }, "gcc 3 at most"},
		"not a compiler": {func(r *Recipe) { r.Toolchain.CC = "true" }, "it is not gcc"},
	} {
		t.Run(name, func(t *testing.T) {
			r := k.with("")
			c.spoil(&r)
			_, err := k.Build(t.Context(), r, BuildOptions{}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func onePatch(id, data string) []backports.Patch {
	return []backports.Patch{{ID: id, Data: []byte(data)}}
}
