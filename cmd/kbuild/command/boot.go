// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
	"github.com/runv-legacy/runv-legacy/machine"
)

// bootFlags are the flags of kbuild boot.
type bootFlags struct {
	profile string
	memory  string
	append  []string
	rootfs  string
	accel   string
	cpus    int
	tty     bool
	qemu    string
}

func (a *app) bootCommand() *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "boot REF | --profile NAME  [-- COMMAND ARG...]",
		Short: "Boot a guest image in QEMU, with a shell or for one command",
		Long: `Boot a guest image in QEMU. Without a command there is a shell on this
terminal; with one, it is the guest's only job: what it prints comes out here,
and kbuild exits with its exit code.

Programs come from --rootfs, a folder or tarball that the guest gets as a disk
of its own (what is written there is gone afterwards). Without it a small set of
programs (sh, ls, cat, uname, ps, mount, dmesg, ip and the like) is packed
beside the initrd.

` + exitHelp,
		Example: `  kbuild boot 2.6.32
  kbuild boot --profile legacy --memory 64M -- uname -a
  kbuild boot 6.1 --rootfs ./rootfs -- /bin/sh -c 'ls /etc'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, command, err := splitBootArgs(cmd, args, f.profile)
			if err != nil {
				return err
			}
			return a.boot(cmd.Context(), ref, command, f)
		},
		ValidArgsFunction: a.completeRefs,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.profile, "profile", "", "boot this profile's image, built first if the store has none")
	flags.StringVar(&f.memory, "memory", "", "guest memory, such as 64M (default what the image needs, 128M at least)")
	flags.StringArrayVar(&f.append, "append", nil, "further kernel parameters; may be repeated")
	flags.StringVar(&f.rootfs, "rootfs", "", "folder or tarball with the programs")
	flags.StringVar(&f.accel, "accel", machine.AccelAuto, "accelerator: auto, kvm or tcg")
	flags.IntVar(&f.cpus, "cpus", 1, "number of virtual CPUs")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	flags.StringVar(&f.qemu, "qemu", "", "QEMU program (default qemu-system-x86_64 from $PATH)")
	_ = cmd.RegisterFlagCompletionFunc("profile", completeProfiles)
	return cmd
}

// splitBootArgs tells the image from the command: what follows -- is the
// command, and before it stands one image, unless --profile names it.
func splitBootArgs(cmd *cobra.Command, args []string, profile string) (ref string, command []string, err error) {
	before := args
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		before, command = args[:dash], args[dash:]
		if len(command) == 0 {
			return "", nil, usagef("boot: no command after --")
		}
	}
	switch {
	case profile != "" && len(before) > 0:
		return "", nil, usagef("boot takes an image or --profile, not both (%q); a command comes after --", before[0])
	case profile == "" && len(before) != 1:
		return "", nil, usagef("boot takes one image, or --profile; a command comes after --")
	case profile == "":
		ref = before[0]
	}
	return ref, command, nil
}

// memoryMiB reads a size as QEMU's -m does: a number of MiB, or one with a
// suffix.
func memoryMiB(s string) (int, error) {
	bad := usagef("--memory %q: want a size such as 64M or 1G", s)
	if s == "" {
		return 0, nil
	}
	unit := 1.0
	switch s[len(s)-1] {
	case 'k', 'K':
		unit, s = 1.0/1024, s[:len(s)-1]
	case 'm', 'M':
		s = s[:len(s)-1]
	case 'g', 'G':
		unit, s = 1024, s[:len(s)-1]
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, bad
	}
	mib := int(float64(n) * unit)
	if mib < 1 || mib > 1<<20 {
		return 0, bad
	}
	return mib, nil
}

// defaultMemoryMiB is enough for a shell and small programs on every kernel.
const defaultMemoryMiB = 128

func (a *app) boot(ctx context.Context, ref string, command []string, f bootFlags) (err error) {
	memory, err := memoryMiB(f.memory)
	if err != nil {
		return err
	}
	img, err := a.bootImage(ctx, ref, f.profile)
	if err != nil {
		return err
	}
	defer func() { err = bootFailed(err) }()
	need := img.Guest.Machine
	if memory == 0 {
		memory = max(defaultMemoryMiB, need.MinMemoryMiB)
	}
	if need.MaxVCPUs > 0 && f.cpus > need.MaxVCPUs {
		return usagef("--cpus %d: this kernel was built for at most %d", f.cpus, need.MaxVCPUs)
	}
	programs, err := a.programs(ctx, f.rootfs)
	if err != nil {
		return err
	}
	defer programs.remove()
	cacheDir, err := a.cacheDir()
	if err != nil {
		return err
	}
	cfg := machine.Config{
		QEMU: f.qemu, Accel: f.accel, CacheDir: cacheDir,
		Kernel: img.Kernel, Initrd: img.Initrd, ExtraInitrds: programs.initrds, Disks: programs.disks,
		Append:    append(strings.Fields(img.Guest.CommandLine()), f.append...),
		MemoryMiB: memory, VCPUs: f.cpus,
		Type: need.Type, Virtio: need.Virtio, CPU: need.CPU,
		ACPI: need.ACPI == nil || *need.ACPI, Channel: need.Channel,
		RNG: true,
	}
	if a.verbose {
		cfg.ConsoleLog = a.stderr
		cfg.Append = dropQuiet(cfg.Append)
	}
	guest, err := startGuest(ctx, cfg)
	if err != nil {
		return err
	}
	defer guest.machine.Close()
	if a.verbose {
		accel := guest.machine.Accel()
		fmt.Fprintf(a.stderr, "kbuild: accelerator %s: %s\n", accel.Name, accel.Reason)
	}
	return a.runIn(ctx, guest, programs, command, f.tty)
}

// bootFailed gives kbuild's own failures around a guest their exit code, and
// shows the last console lines of a guest that died.
func bootFailed(err error) error {
	var (
		code  codeError
		usage usageError
		dead  *machine.BootError
	)
	switch {
	case err == nil, errors.As(err, &code), errors.As(err, &usage), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dead):
		return codeError{exitBoot, errors.New(dead.Detail())}
	}
	return codeError{exitBoot, err}
}

func dropQuiet(params []string) []string {
	var kept []string
	for _, p := range params {
		if p != "quiet" {
			kept = append(kept, p)
		}
	}
	return kept
}

// runIn runs the command, or a shell, as the guest's only job and ends the
// guest afterwards.
func (a *app) runIn(ctx context.Context, g *guest, programs *programs, command []string, tty bool) error {
	if err := programs.mount(ctx, g.client); err != nil {
		return g.explain(err)
	}
	in, _ := a.stdin.(*os.File)
	terminal := isTerminal(in)
	start := protocol.Start{
		Args: command,
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root", "TERM=" + termName(),
		},
		Root: programs.root,
		Cwd:  "/",
	}
	if len(command) == 0 {
		start.Args = []string{"/bin/sh"}
		tty = tty || terminal
	}
	exit, err := a.job(ctx, g, start, in, tty)
	if err != nil {
		return g.explain(err)
	}
	if err := g.powerOff(ctx); err != nil {
		fmt.Fprintf(a.stderr, "kbuild: the command ended, but not the guest: %v\n", err)
	}
	if exit.Code != 0 {
		return codeError{code: exit.Code}
	}
	return nil
}
