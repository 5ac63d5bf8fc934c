// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// kconfigOf unpacks the Kconfig files of a real kernel.
func kconfigOf(t *testing.T, r io.Reader) string {
	dir := t.TempDir()
	entries := tar.NewReader(r)
	for {
		h, err := entries.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !strings.HasPrefix(path.Base(name), "Kconfig") || !filepath.IsLocal(name) {
			continue
		}
		b, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func loadReal(t *testing.T, dir string, least int) *Tree {
	tree, err := LoadTree(dir, "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range tree.Ignored {
		t.Log("ignored: " + line)
	}
	if len(tree.Ignored) > 5 {
		t.Errorf("%d lines and more were not understood", len(tree.Ignored))
	}
	if tree.Len() < least {
		t.Errorf("%d symbols, want at least %d", tree.Len(), least)
	}
	t.Logf("%d symbols in %d files", tree.Len(), tree.files)
	return tree
}

// says checks what an explanation holds.
func says(t *testing.T, x Explanation, parts ...string) {
	t.Helper()
	t.Log(x.Text)
	for _, p := range parts {
		if !strings.Contains(x.Text, p) {
			t.Errorf("the explanation lacks %q", p)
		}
	}
}

func TestRealLegacyTree(t *testing.T) {
	file := os.Getenv("RUNV_TEST_LINUX_2_6_32")
	if file == "" {
		t.Skip("RUNV_TEST_LINUX_2_6_32 does not name the source of Linux 2.6.32.71")
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree := loadReal(t, kconfigOf(t, f), 5000)
	minimal := Config{"64BIT": "y", "X86_64": "y", "X86": "y", "PCI": "y", "BLOCK": "y", "NET": "y", "EXPERIMENTAL": "y"}
	x := tree.Explain("VIRTIO_BLK", "y", minimal)
	says(t, x, "VIRTIO_BLK=y wanted, is not set", "depends on VIRTIO, which is not set", "VIRTUALIZATION")
	if !contains(x.Needs, "VIRTUALIZATION=y") {
		t.Errorf("needs are %v", x.Needs)
	}
	says(t, tree.Explain("CONFIG_VIRTIO_PCI", "y", minimal), "VIRTUALIZATION")
	says(t, tree.Explain("EXT4_FS_XATTR", "y", minimal), "EXT4_FS")
	says(t, tree.Explain("VIRTIO_BLOCK", "y", minimal), "no symbol of that name", "VIRTIO_BLK")
	says(t, tree.Explain("VIRTIO", "y", minimal), "has no prompt", "VIRTIO_PCI")
	says(t, tree.Explain("OVERLAY_FS", "y", minimal), "no symbol of that name")
	says(t, tree.Explain("HOTPLUG", "n", Config{"HOTPLUG": "y"}), "EMBEDDED")
	says(t, tree.Explain("NET_9P_VIRTIO", "y", minimal))
	says(t, tree.Explain("SLUB", "y", Config{"SLAB": "y"}), "SLAB")
}

func TestRealDebianTree(t *testing.T) {
	const file = "/usr/src/linux-source-6.1.tar.xz"
	if _, err := os.Stat(file); err != nil {
		t.Skip("Debian's package linux-source-6.1 is not installed")
	}
	if testing.Short() {
		t.Skip("decompresses 1.3 GB")
	}
	cmd := exec.CommandContext(t.Context(), "xz", "-dc", "-T0", file)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := kconfigOf(t, out)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	tree := loadReal(t, dir, 14000)
	minimal := Config{"64BIT": "y", "X86_64": "y", "X86": "y", "BLOCK": "y", "NET": "y"}
	says(t, tree.Explain("VIRTIO_BLK", "y", minimal), "BLK_DEV")
	says(t, tree.Explain("VIRTIO_PCI", "y", minimal), "PCI")
	says(t, tree.Explain("KVM_INTEL", "m", minimal), "MODULES")
	says(t, tree.Explain("CC_HAS_IBT", "y", minimal))
	says(t, tree.Explain("OVERLAY_FS", "y", minimal))
}
