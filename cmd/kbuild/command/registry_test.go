// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"path/filepath"
	"testing"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/artifact/registrytest"
)

// serveGuests gives the address of a registry with three images of a guest that
// is none, for scripts that only move it about: kernels:good, kernels:damaged,
// whose kernel comes with wrong bytes, and kernels:foreign, for arm64.
func serveGuests(t *testing.T) string {
	t.Helper()
	registry := registrytest.NewMemory(t)
	store, err := artifact.OpenStore(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	for tag, image := range map[string]artifact.Image{
		"good": plainImage("amd64", "kernel"), "damaged": plainImage("amd64", "kernel to damage"), "foreign": plainImage("arm64", "kernel"),
	} {
		desc, err := store.Add(t.Context(), image, "kernels:"+tag, artifact.AddOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// By digest, since a reference to an index wants this host's platform.
		dest := registry.Addr + "/kernels:" + tag
		if _, err := store.Push(t.Context(), desc.Digest.String(), dest, artifact.RemoteOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if tag != "damaged" {
			continue
		}
		r, err := store.Resolve(t.Context(), "kernels:damaged")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Layers {
			if l.MediaType == artifact.MediaTypeKernel {
				registry.SetBlob("kernels", l.Digest, []byte("kernel to DAMAGE"))
			}
		}
	}
	return registry.Addr
}

func plainImage(arch, kernel string) artifact.Image {
	return artifact.Image{
		Guest: artifact.Guest{
			Kernel:       artifact.KernelInfo{Version: "2.6.32.71", Release: "2.6.32.71-test"},
			OS:           "linux",
			Architecture: arch,
			Boot:         artifact.Boot{Console: "ttyS0"},
			Machine:      artifact.Machine{Type: "pc", Virtio: "legacy"},
			Provenance: artifact.Provenance{
				Source: artifact.Source{Verification: "unverified-local"}, KbuildVersion: "test",
			},
		},
		Kernel: artifact.Bytes([]byte(kernel)),
		Initrd: artifact.Bytes([]byte("initrd")),
	}
}
