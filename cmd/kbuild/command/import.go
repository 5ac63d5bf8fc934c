// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/distro"
	"github.com/runv-legacy/runv-legacy/initrd"
	"github.com/runv-legacy/runv-legacy/machine"
)

func (a *app) importCommand() *cobra.Command {
	var (
		opts   distro.Options
		tag    string
		virtio string
	)
	cmd := &cobra.Command{
		Use:   "import --deb FILE | --rpm FILE | --kernel VMLINUZ [--modules DIR]  --tag NAME:TAG",
		Short: "Wrap a distribution's kernel into a guest image",
		Long: `Wrap a distribution's kernel into a guest image: its kernel as it is, with our
initrd, which has the modules that a guest needs and the order to load them in.
Prints the manifest's digest on stdout.`,
		Example: `  kbuild import --deb linux-image-6.1.0-49-cloud-amd64.deb --tag kernels:debian-cloud
  kbuild import --kernel /boot/vmlinuz-6.1.0-49-amd64 --modules /lib/modules --tag kernels:host`,
		Args: exactly(0, "no arguments; name what to import with --deb, --rpm or --kernel"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tag == "" {
				return usagef("import: name the image with --tag NAME:TAG")
			}
			digest, err := a.importKernel(cmd.Context(), opts, tag, virtio)
			if err != nil {
				return err
			}
			return writeLine(a.stdout, digest)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.Deb, "deb", "", "a Debian package with a kernel")
	flags.StringVar(&opts.RPM, "rpm", "", "an RPM package with a kernel")
	flags.StringArrayVar(&opts.Packages, "package", nil, "a further package with parts of the same kernel; may be repeated")
	flags.StringVar(&opts.Kernel, "kernel", "", "a kernel image (bzImage)")
	flags.StringVar(&opts.ModulesDir, "modules", "", "the kernel's modules, such as /lib/modules/RELEASE")
	flags.StringVarP(&tag, "tag", "t", "", "name in the store")
	flags.StringVar(&virtio, "virtio", "", "virtio generation: legacy, transitional or modern (default by the kernel's version)")
	cmd.MarkFlagsOneRequired("deb", "rpm", "kernel")
	cmd.MarkFlagsMutuallyExclusive("deb", "rpm", "kernel")
	return cmd
}

func (a *app) importKernel(ctx context.Context, opts distro.Options, tag, virtio string) (string, error) {
	store, err := a.openStore()
	if err != nil {
		return "", err
	}
	if err := store.CheckWritable(ctx); err != nil {
		return "", err
	}
	kernel, err := distro.Import(ctx, opts)
	if err != nil {
		return "", err
	}
	for _, m := range kernel.Missing {
		fmt.Fprintf(a.stderr, "kbuild: Linux %s has no %s: %s\n", kernel.Release, m.Name, m.Effect)
	}
	ramdisk, err := initrd.Build(ctx, kernel.Initrd())
	if err != nil {
		return "", err
	}
	guest, err := importedGuest(kernel, opts, virtio)
	if err != nil {
		return "", err
	}
	img := artifact.Image{Guest: guest, Kernel: artifact.Bytes(kernel.Kernel), Initrd: artifact.Bytes(ramdisk)}
	if kernel.Config != nil {
		img.Config = artifact.Bytes(kernel.Config)
	}
	if kernel.SystemMap != nil {
		img.SystemMap = artifact.Bytes(kernel.SystemMap)
	}
	if len(kernel.Modules) > 0 {
		modules, err := modulesTar(kernel)
		if err != nil {
			return "", err
		}
		img.Modules = artifact.Bytes(modules)
	}
	desc, err := store.Add(ctx, img, tag, artifact.AddOptions{Created: sourceDate()})
	if err != nil {
		return "", err
	}
	fmt.Fprintf(a.stderr, "image      %s %s, %d modules\n", tag, kernel.Release, len(kernel.Modules))
	return desc.Digest.String(), nil
}

var (
	upstreamVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,3}`)
	majorVersion    = regexp.MustCompile(`^([4-9]|[1-9][0-9]+)\.`)
)

// Memory that a distribution's kernel boots in: it has all built in that a
// server may want, and its initrd holds modules.
const importedMinMemoryMiB = 128

// importedGuest describes a kernel that we did not build: what is not known of
// it is set so that it boots.
func importedGuest(k *distro.Result, opts distro.Options, virtio string) (artifact.Guest, error) {
	version := upstreamVersion.FindString(k.Release)
	if version == "" {
		return artifact.Guest{}, fmt.Errorf("import: the kernel's release %q does not begin with a version", k.Release)
	}
	// Virtio 1.0 came with Linux 4.0; a panic timeout below zero with 2.6.39.
	modern := majorVersion.MatchString(version)
	panicParam := "panic=1"
	if modern {
		panicParam = "panic=-1"
	}
	if virtio == "" {
		virtio = "legacy"
		if modern {
			virtio = "transitional"
		}
	}
	file := opts.Kernel
	for _, name := range []string{opts.Deb, opts.RPM} {
		if name != "" {
			file = name
		}
	}
	digest, err := fileSHA256(file)
	if err != nil {
		return artifact.Guest{}, err
	}
	channel := ""
	if !k.Unchecked && !k.Has("virtio_console") {
		channel = machine.ChannelSerial
	}
	return artifact.Guest{
		SchemaVersion: artifact.SchemaVersion,
		Kernel:        artifact.KernelInfo{Version: version, Release: k.Release},
		OS:            "linux",
		Architecture:  artifact.DefaultPlatform().Architecture,
		Boot:          artifact.Boot{Console: "ttyS0", Append: []string{"quiet", panicParam, "no_timer_check"}},
		Machine:       artifact.Machine{Type: "pc", Virtio: virtio, Channel: channel, MinMemoryMiB: importedMinMemoryMiB},
		Provenance: artifact.Provenance{
			Source: artifact.Source{
				Package: filepath.Base(file), Digest: "sha256:" + digest, Verification: "unverified-local",
			},
			KbuildVersion: Version,
		},
	}, nil
}

// modulesTar is the modules layer: the same bytes for the same modules.
func modulesTar(k *distro.Result) ([]byte, error) {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, m := range k.Modules {
		hdr := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join("lib/modules", k.Release, m.Path),
			Size: int64(len(m.Data)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return nil, fmt.Errorf("pack module %s: %w", m.Path, err)
		}
		if _, err := tw.Write(m.Data); err != nil {
			return nil, fmt.Errorf("pack module %s: %w", m.Path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
