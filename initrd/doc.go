// Package initrd packs files into the initial RAM file system of a guest: a
// reproducible newc cpio archive, compressed with gzip.
//
// The format is that of Documentation/filesystems/ramfs-rootfs-initramfs.txt
// and Documentation/early-userspace/buffer-format.txt in the kernel tree; what
// a kernel really accepts is in its init/initramfs.c, and the comments of this
// package cite the behaviour of 2.6.32 where it is stricter than a later one.
//
// [Write] and [Read] handle any archive. [Build] makes the initrd that boots a
// guest: process 1, the device nodes that the kernel itself opens, the folders
// that process 1 mounts on, and, for a modular kernel, its modules in load
// order. [Programs] is a second archive with a shell and the usual small
// commands, to be given to the kernel behind the first.
package initrd
