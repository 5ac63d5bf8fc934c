// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/machine"
)

// Figures of docs/performance.md at the command line. Those of single packages
// are theirs: kernels (against plain make), machine (boot), protocol.

func onEachKernelB(b *testing.B, bench func(b *testing.B, k guestKernel)) {
	for _, k := range []guestKernel{old2632, debian6} {
		b.Run(k.profile, func(b *testing.B) { bench(b, k) })
	}
}

// BenchmarkWarmBuild is a kbuild with nothing changed.
func BenchmarkWarmBuild(b *testing.B) {
	onEachKernelB(b, func(b *testing.B, k guestKernel) {
		k.image(b)
		args := append([]string{"--profile", k.profile}, k.source(b)...)
		kbuild(b, args...).must(b)
		for b.Loop() {
			kbuild(b, args...).must(b)
		}
	})
}

// BenchmarkSizes reports the sizes of kernel and initrd.
func BenchmarkSizes(b *testing.B) {
	onEachKernelB(b, func(b *testing.B, k guestKernel) {
		dir := b.TempDir()
		k.image(b)
		for b.Loop() {
			kbuild(b, append([]string{"--profile", k.profile, "--output", dir}, k.source(b)...)...).must(b)
		}
		b.ReportMetric(0, "ns/op")
		for name, unit := range map[string]string{"vmlinuz": "kernel-bytes", "initrd.img": "initrd-bytes"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size()), unit)
		}
	})
}

// BenchmarkBootToCommand is all of kbuild boot -- true: QEMU, kernel, guestinit,
// the command, power-off. It reports the median and the extremes.
func BenchmarkBootToCommand(b *testing.B) {
	onEachKernelB(b, func(b *testing.B, k guestKernel) {
		ref := k.image(b)
		kbuild(b, "boot", ref, "--", "true").must(b)
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			kbuild(b, "boot", ref, "--", "true").must(b)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "median-ms")
		b.ReportMetric(took[0].Seconds()*1000, "min-ms")
		b.ReportMetric(took[len(took)-1].Seconds()*1000, "max-ms")
	})
}

// BenchmarkSmallestMemory looks for the least --memory that boots to a command.
func BenchmarkSmallestMemory(b *testing.B) {
	onEachKernelB(b, func(b *testing.B, k guestKernel) {
		ref := k.image(b)
		least := 0
		for b.Loop() {
			var err error
			least, err = machine.SmallestMemory(b.Context(), 12, 128, func(_ context.Context, mib int) (bool, error) {
				r := command{
					args:  []string{"boot", ref, "--memory", fmt.Sprintf("%dM", mib), "--", "uname", "-r"},
					limit: 2 * time.Minute,
				}.run(b)
				return r.code == 0, nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(least), "MiB")
	})
}
