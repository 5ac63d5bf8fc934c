// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// recipeFormat is part of every key. It changes when this package does anything
// that may change a kernel's bytes: the environment, make's command line, the way
// fragments are merged.
const recipeFormat = 1

// keyInput is what a build's key digests: everything that decides the kernel's
// bytes, and no path, time or number of jobs. Fields are in a fixed order and maps
// are written sorted, so that the JSON is canonical.
type keyInput struct {
	Format       int       `json:"format"`
	Tree         treeInput `json:"tree"`
	Version      string    `json:"version"`
	LocalVersion string    `json:"localVersion"`
	Base         string    `json:"base"`
	Fragments    []string  `json:"fragments"` // SHA-256 of each; their names are for messages only
	Target       string    `json:"target"`
	Image        string    `json:"image"`
}

// treeInput is the part that builds which share a work tree have in common: what
// make does not look at again when it is run a second time in one tree, or what
// would make it compile everything anew.
type treeInput struct {
	Format     int               `json:"format"`
	Source     string            `json:"source"`
	Arch       string            `json:"arch"`
	Patches    []patchInput      `json:"patches"`
	CC         string            `json:"cc"`
	Compiler   Compiler          `json:"compiler"`
	CFlags     []string          `json:"cflags"`
	KCFlags    []string          `json:"kcflags"`
	HostCFlags []string          `json:"hostCFlags"`
	MakeVars   map[string]string `json:"makeVars"`
}

type patchInput struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

func newTreeInput(r Recipe, c Compiler) treeInput {
	in := treeInput{
		Format: recipeFormat, Source: r.Source.Digest, Arch: r.Arch,
		CC: r.Toolchain.cc(), Compiler: c,
		CFlags: r.Toolchain.CFlags, KCFlags: r.Toolchain.KCFlags,
		HostCFlags: r.Toolchain.HostCFlags, MakeVars: r.Toolchain.MakeVars,
	}
	for _, p := range r.Patches {
		// The patch's data is digested here rather than taken from its SHA256
		// field: the key must hold what is applied.
		in.Patches = append(in.Patches, patchInput{p.ID, hexSHA256(p.Data)})
	}
	return in
}

// keys gives the names of r's build and of its work tree.
func keys(r Recipe, c Compiler) (build, tree string, err error) {
	in := keyInput{
		Format: recipeFormat, Tree: newTreeInput(r, c),
		Version: r.Version, LocalVersion: r.LocalVersion, Base: r.Base,
		Target: r.Toolchain.target(), Image: r.Toolchain.image(),
	}
	for _, f := range r.Fragments {
		in.Fragments = append(in.Fragments, hexSHA256(f.Data))
	}
	if build, err = digestJSON(in); err != nil {
		return "", "", err
	}
	tree, err = digestJSON(in.Tree)
	return build, tree, err
}

func digestJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("compute the build's key: %w", err)
	}
	return hexSHA256(b), nil
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// RecipeError is a recipe that no kernel can be built from.
type RecipeError struct {
	Field string // "Arch"
	Msg   string
}

func (e *RecipeError) Error() string { return "recipe: " + e.Field + ": " + e.Msg }

// validate refuses what would only fail later, and less clearly, in make.
func (r Recipe) validate() error {
	bad := func(field, format string, arg ...any) error {
		return &RecipeError{field, fmt.Sprintf(format, arg...)}
	}
	switch {
	case r.Source.Digest == "":
		return bad("Source", "it has no digest; use the Source that FetchSource returns")
	case r.Arch != "x86_64":
		return bad("Arch", "%q is not supported; use x86_64", r.Arch)
	case r.Base != baseAllNo && r.Base != baseDef:
		return bad("Base", "%q is unknown; use %s or %s", r.Base, baseAllNo, baseDef)
	case strings.ContainsFunc(r.LocalVersion, notReleaseChar):
		return bad("LocalVersion", "%q: use letters, digits and -._ only", r.LocalVersion)
	case strings.ContainsAny(r.Toolchain.cc(), " \t\n'\"$"):
		return bad("Toolchain.CC", "%q is not one word; put flags into CFlags", r.Toolchain.CC)
	case !relativeClean(r.Toolchain.image()):
		return bad("Toolchain.Image", "%q is not a path inside the kernel tree", r.Toolchain.Image)
	}
	for name := range r.Toolchain.MakeVars {
		if name == "" || strings.ContainsFunc(name, notVarChar) {
			return bad("Toolchain.MakeVars", "%q is not the name of a make variable", name)
		}
		if slices.Contains(ownVars(), name) {
			return bad("Toolchain.MakeVars", "%s is set by the build itself; %s", name, ownVarsFix)
		}
	}
	return nil
}

// ownVars are the variables that make's command line always sets.
func ownVars() []string {
	return []string{"ARCH", "CC", "HOSTCC", "HOSTCFLAGS_gen_init_cpio.o", "KCFLAGS", "LOCALVERSION", "MAKEFLAGS", "O", "SHELL", "KBUILD_OUTPUT"}
}

const ownVarsFix = "use the recipe's fields for it"

// relativeClean says whether a path stays in the folder it is relative to.
func relativeClean(p string) bool {
	return filepath.IsLocal(p) && filepath.Clean(p) == p
}
