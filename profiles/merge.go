package profiles

import (
	"maps"
	"slices"
)

// merge lays child over parent. The rules, which docs/profiles.md states for
// users: a scalar of the child replaces the parent's; lists append, the
// parent's items first; maps merge by key; sources replace as a whole,
// because a half-inherited source would pair one tarball's URL with another
// one's digest. Name, aliases, description and extends are a profile's own
// and are not inherited.
func merge(parent, child *document) *document {
	m := *child
	m.Kernel = kernelDoc{
		Version:      scalar(parent.Kernel.Version, child.Kernel.Version),
		Arch:         scalar(parent.Kernel.Arch, child.Kernel.Arch),
		LocalVersion: scalar(parent.Kernel.LocalVersion, child.Kernel.LocalVersion),
	}
	if child.Sources == nil {
		m.Sources = parent.Sources
	}
	m.Config = configDoc{
		Base:      scalar(parent.Config.Base, child.Config.Base),
		Fragments: slices.Concat(parent.Config.Fragments, child.Config.Fragments),
	}
	m.Backports = backportsDoc{
		Series:  scalar(parent.Backports.Series, child.Backports.Series),
		Sets:    slices.Concat(parent.Backports.Sets, child.Backports.Sets),
		Exclude: slices.Concat(parent.Backports.Exclude, child.Backports.Exclude),
	}
	m.Toolchain = toolchainDoc{
		CC:         scalar(parent.Toolchain.CC, child.Toolchain.CC),
		MinGCC:     scalar(parent.Toolchain.MinGCC, child.Toolchain.MinGCC),
		MaxGCC:     scalar(parent.Toolchain.MaxGCC, child.Toolchain.MaxGCC),
		CFlags:     slices.Concat(parent.Toolchain.CFlags, child.Toolchain.CFlags),
		KCFlags:    slices.Concat(parent.Toolchain.KCFlags, child.Toolchain.KCFlags),
		HostCFlags: slices.Concat(parent.Toolchain.HostCFlags, child.Toolchain.HostCFlags),
		MakeVars:   mergeMaps(parent.Toolchain.MakeVars, child.Toolchain.MakeVars),
		Target:     scalar(parent.Toolchain.Target, child.Toolchain.Target),
		Image:      scalar(parent.Toolchain.Image, child.Toolchain.Image),
	}
	m.Guest = guestDoc{
		Append:   slices.Concat(parent.Guest.Append, child.Guest.Append),
		Features: slices.Concat(parent.Guest.Features, child.Guest.Features),
	}
	m.Machine = machineDoc{
		Type:         scalar(parent.Machine.Type, child.Machine.Type),
		Virtio:       scalar(parent.Machine.Virtio, child.Machine.Virtio),
		CPU:          scalar(parent.Machine.CPU, child.Machine.CPU),
		MinMemoryMiB: scalar(parent.Machine.MinMemoryMiB, child.Machine.MinMemoryMiB),
		MaxVCPUs:     scalar(parent.Machine.MaxVCPUs, child.Machine.MaxVCPUs),
		ACPI:         scalar(parent.Machine.ACPI, child.Machine.ACPI),
	}
	return &m
}

func scalar[T any](parent, child *T) *T {
	if child != nil {
		return child
	}
	return parent
}

func mergeMaps(parent, child map[string]text) map[string]text {
	if len(parent) == 0 {
		return child
	}
	merged := maps.Clone(parent)
	maps.Copy(merged, child)
	return merged
}
