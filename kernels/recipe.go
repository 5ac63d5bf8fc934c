// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import "github.com/runv-legacy/runv-legacy/backports"

// Recipe is everything that decides a kernel's bytes. Two recipes that are
// alike, built with the same compiler, give the same kernel.
type Recipe struct {
	// Source is what [Cache.FetchSource] returned. Its Digest is part of the
	// build's key, its Path is not.
	Source Source
	// Version is the kernel's own version, "2.6.32.71". It is compared with the
	// Makefile of the source.
	Version string
	// Arch is the kernel's name of the architecture, make's ARCH: "x86_64".
	Arch string
	// LocalVersion is appended to Version in `uname -r`: "-runv".
	LocalVersion string
	// Patches are applied in this order.
	Patches []backports.Patch
	// Base is the configuration the fragments are laid over: "allnoconfig" or
	// "defconfig".
	Base string
	// Fragments are laid over Base in order; a later one wins.
	Fragments []Fragment
	// Toolchain is what builds it.
	Toolchain Toolchain
}

// Fragment is a part of a .config. Its lines ask for symbols; a symbol that does
// not come out as asked is a [ConfigProblem] that names Name and the line.
type Fragment struct {
	Name string
	Data []byte
}

// Toolchain says which compiler builds a kernel, and with what.
type Toolchain struct {
	// CC is the compiler, one word, "gcc" when empty.
	CC string
	// MinGCC and MaxGCC bound the compiler's major version; 0 is no bound.
	MinGCC, MaxGCC int
	// CFlags follow CC on make's command line, so that they reach every object,
	// those that have CFLAGS of their own included (arch/x86/boot/compressed and
	// the vDSO do not see KCFLAGS).
	CFlags []string
	// KCFlags are make's KCFLAGS.
	KCFlags []string
	// HostCFlags follow the host compiler on make's command line.
	HostCFlags []string
	// MakeVars are further variables of make's command line.
	MakeVars map[string]string
	// Target is the make target, "bzImage" when empty.
	Target string
	// Image is where Target is found in the tree, "arch/x86/boot/bzImage" when
	// empty.
	Image string
}
