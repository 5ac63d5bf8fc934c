package initrd

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"path"
	"strings"
)

// ModulesList is the file, below the root, that tells process 1 which modules
// to load: one absolute path a line, in load order.
const ModulesList = "etc/runv/modules"

// Module is one kernel module of an initrd.
type Module struct {
	// Path is below /lib/modules/<release>, as in modules.dep:
	// "kernel/drivers/virtio/virtio.ko".
	Path string

	// Data is the module, uncompressed: process 1 hands it to init_module(2)
	// as it is, and only 6.0 and later can decompress one.
	Data []byte
}

// Options say what goes into an initrd.
type Options struct {
	// Release is the kernel's release ("6.1.0-56-cloud-amd64"); needed if
	// there are modules.
	Release string

	// Modules are loaded by process 1 in this order.
	Modules []Module

	// ExtraEntries are added as they are.
	ExtraEntries []Entry

	// Init replaces the built-in guestinit as /init.
	Init []byte
}

// Build makes the initrd of a guest: a gzip'd newc archive with process 1 as
// /init. Same options and same guestinit, same bytes.
func Build(ctx context.Context, opts Options) ([]byte, error) {
	init := opts.Init
	if init == nil {
		var err error
		if init, err = GuestInit(ctx); err != nil {
			return nil, fmt.Errorf("build initrd: %w", err)
		}
	}
	entries := append(skeleton(init), opts.ExtraEntries...)
	modules, err := moduleEntries(opts)
	if err != nil {
		return nil, fmt.Errorf("build initrd: %w", err)
	}
	data, err := Compress(append(entries, modules...))
	if err != nil {
		return nil, fmt.Errorf("build initrd: %w", err)
	}
	return data, nil
}

// skeleton is what every guest needs before process 1 has mounted anything.
func skeleton(init []byte) []Entry {
	return []Entry{
		File("init", 0o755, init),
		// init_post of init/main.c opens /dev/console as process 1's
		// standard streams. It does so before any devtmpfs is mounted: with
		// an initramfs the kernel never mounts it itself
		// (drivers/base/devtmpfs.c, devtmpfs_mount, is called by
		// prepare_namespace only, which an initramfs skips).
		CharDevice("dev/console", 0o600, 5, 1),
		// A program started before /dev is mounted gets its closed streams
		// from here (os/exec opens it).
		CharDevice("dev/null", 0o666, 1, 3),
		Dir("dev", 0o755),
		Dir("etc", 0o755),
		Dir("mnt", 0o755),
		Dir("proc", 0o555),
		Dir("root", 0o700),
		Dir("run", 0o755),
		Dir("sys", 0o555),
		Dir("tmp", 0o1777),
	}
}

func moduleEntries(opts Options) ([]Entry, error) {
	if len(opts.Modules) == 0 {
		return nil, nil
	}
	if msg := nameProblem(opts.Release); msg != "" || strings.Contains(opts.Release, "/") {
		return nil, fmt.Errorf("%w: modules need the kernel's release, and %q is none", ErrEntry, opts.Release)
	}
	var list strings.Builder
	entries := make([]Entry, 0, len(opts.Modules)+1)
	for _, m := range opts.Modules {
		if strings.ContainsAny(m.Path, "\n\r") {
			return nil, fmt.Errorf("%w: module path %q has a line break", ErrEntry, m.Path)
		}
		if err := checkModule(m); err != nil {
			return nil, err
		}
		name := path.Join("lib/modules", opts.Release) + "/" + m.Path
		entries = append(entries, File(name, 0o644, m.Data))
		fmt.Fprintf(&list, "/%s\n", name)
	}
	return append(entries, File(ModulesList, 0o644, []byte(list.String()))), nil
}

func checkModule(m Module) error {
	if msg := nameProblem(m.Path); msg != "" {
		return fmt.Errorf("%w: module path %q: %s", ErrEntry, m.Path, msg)
	}
	if !bytes.HasPrefix(m.Data, []byte("\x7fELF")) {
		return fmt.Errorf("%w: module %s is not an ELF file; decompress it first", ErrEntry, m.Path)
	}
	return nil
}

// Compress packs entries as [Write] does and compresses them with gzip, which
// every kernel that can load an initrd unpacks (CONFIG_RD_GZIP; 2.6.32 knows
// gzip, bzip2 and lzma only). The gzip header has no name and no time.
//
// Archives may follow each other: unpack_to_rootfs goes on after each member,
// and a later file replaces an earlier one of its name.
func Compress(entries []Entry) ([]byte, error) {
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress initrd: %w", err)
	}
	if err := Write(zw, entries); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("compress initrd: %w", err)
	}
	return out.Bytes(), nil
}
