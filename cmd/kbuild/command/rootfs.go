// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
	"github.com/runv-legacy/runv-legacy/initrd"
	"github.com/runv-legacy/runv-legacy/machine"
)

// programs is where the programs of a boot come from: an archive beside the
// initrd, or a disk.
type programs struct {
	dir     string // temporary files
	initrds []string
	disks   []machine.Disk
	root    string // where the disk is mounted in the guest; empty without one
}

func (p *programs) remove() {
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// programs makes what --rootfs asks for, or the built-in programs.
func (a *app) programs(ctx context.Context, rootfs string) (_ *programs, err error) {
	dir, err := os.MkdirTemp("", "kbuild-boot-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	p := &programs{dir: dir}
	defer func() {
		if err != nil {
			p.remove()
		}
	}()
	if rootfs != "" {
		return p, p.addDisk(ctx, rootfs)
	}
	data, err := initrd.Programs(ctx)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "programs.cpio.gz")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return nil, err
	}
	p.initrds = []string{name}
	return p, nil
}

// The features of mke2fs 1.47's ext4 that Linux 2.6.32 cannot write to.
const ext4Features = "^64bit,^metadata_csum,^metadata_csum_seed,^orphan_file"

// addDisk makes an ext4 file system of a folder or tarball, with room to write.
func (p *programs) addDisk(ctx context.Context, rootfs string) error {
	info, err := os.Stat(rootfs)
	if err != nil {
		return usagef("--rootfs: %w", err)
	}
	folder := rootfs
	if !info.IsDir() {
		folder = filepath.Join(p.dir, "rootfs")
		if err := unpackRootfs(ctx, rootfs, folder); err != nil {
			return err
		}
	}
	blocks, inodes, err := measure(folder)
	if err != nil {
		return fmt.Errorf("--rootfs: %w", err)
	}
	image := filepath.Join(p.dir, "rootfs.ext4")
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-O", ext4Features,
		"-E", "root_owner=0:0", "-L", "rootfs", "-b", "4096", "-N", strconv.FormatInt(inodes, 10),
		"-d", folder, image, strconv.FormatInt(blocks, 10)).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("--rootfs: mke2fs is not installed; install Debian's e2fsprogs")
	}
	if err != nil {
		return fmt.Errorf("--rootfs: mke2fs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	p.disks = []machine.Disk{{Path: image, Serial: "rootfs"}}
	p.root = "/mnt/rootfs"
	return nil
}

// unpackRootfs leaves the archive's format to tar, which knows them all, and its
// dangers to tar as well: GNU tar refuses names that leave the folder.
func unpackRootfs(ctx context.Context, tarball, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	args := []string{"-x", "-f", tarball, "-C", dir, "--numeric-owner"}
	if os.Geteuid() == 0 {
		args = append(args, "-p")
	} else {
		args = append(args, "--no-same-owner", "--exclude=./dev/*", "--exclude=dev/*")
	}
	out, err := exec.CommandContext(ctx, "tar", args...).CombinedOutput()
	if err != nil {
		return usagef("--rootfs %s: tar: %w: %s", tarball, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// measure gives the size of a file system for a folder: its content, a quarter
// more, and 32 MiB.
func measure(dir string) (blocks, inodes int64, err error) {
	const block, room = 4096, 32 << 20
	var size int64
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inodes++
		size += (info.Size()+block-1)/block*block + block
		return nil
	})
	return (size + size/4 + room) / block, inodes + inodes/4 + 1024, err
}

// mount brings the disk into the guest, with what programs expect to find
// mounted below it.
func (p *programs) mount(ctx context.Context, c *protocol.Client) error {
	if p.root == "" {
		return nil
	}
	for _, m := range []protocol.Mount{
		{Source: "/dev/vda", Target: p.root, FSType: "ext4", Mkdir: true, WaitMillis: 5000},
		{Source: "/dev", Target: p.root + "/dev", Flags: []string{"rbind"}, Mkdir: true},
		{Source: "proc", Target: p.root + "/proc", FSType: "proc", Mkdir: true},
		{Source: "sysfs", Target: p.root + "/sys", FSType: "sysfs", Mkdir: true},
		{Source: "tmpfs", Target: p.root + "/run", FSType: "tmpfs", Mkdir: true},
		{Source: "tmpfs", Target: p.root + "/tmp", FSType: "tmpfs", Mkdir: true, Data: "mode=1777"},
	} {
		if err := c.Mount(ctx, m); err != nil {
			return fmt.Errorf("mount %s in the guest: %w", m.Target, err)
		}
	}
	return nil
}
