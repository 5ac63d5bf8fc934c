// Package profiles describes guest kernels as data: which source, which
// Kconfig fragments, which backports, which toolchain and which machine make
// one guest image.
//
// A profile is a YAML file. The built-in ones are embedded in the program;
// a user's own file may extend them. Load resolves inheritance, reads every
// file the profile names, and either returns a complete [Profile] or exactly
// one [*Error] that says where the mistake is and how to mend it.
package profiles

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Source types: how a kernel's source is come by.
const (
	// SourceUpstream is a tarball from kernel.org or a mirror of it.
	SourceUpstream = "upstream"
	// SourceDebian is the tarball that an installed linux-source-* package
	// of Debian holds.
	SourceDebian = "debian"
)

// Virtio generations that a guest kernel's drivers can bind to.
const (
	// VirtioLegacy is virtio 0.9.5 over PCI: device ids 0x1000 to 0x103f and
	// I/O ports. Kernels before 4.0 know nothing else
	// (drivers/virtio/virtio_pci.c).
	VirtioLegacy = "legacy"
	// VirtioTransitional devices speak 0.9.5 and 1.0; either driver binds.
	VirtioTransitional = "transitional"
	// VirtioModern is virtio 1.0 only: device ids from 0x1040 and memory BARs.
	VirtioModern = "modern"
)

// A Profile is everything that makes one guest image, with inheritance
// resolved and every named file read.
type Profile struct {
	// Name identifies the profile; the built-in ones are named by kernel
	// version.
	Name string `json:"name"`
	// Aliases are other names that Load accepts for it.
	Aliases []string `json:"aliases,omitempty"`
	// Description is one sentence for a person who has to choose.
	Description string `json:"description"`
	// Extends is the profile this one was derived from, as written.
	Extends string `json:"extends,omitempty"`

	Kernel    Kernel    `json:"kernel"`
	Sources   []Source  `json:"sources"`
	Config    Config    `json:"config"`
	Backports Backports `json:"backports"`
	Toolchain Toolchain `json:"toolchain"`
	Guest     Guest     `json:"guest"`
	Machine   Machine   `json:"machine"`
}

// Kernel says which kernel it is.
type Kernel struct {
	// Version is the exact release ("2.6.32.71"), which the source tree's
	// Makefile must agree with. Where every source is of type debian it is
	// the series ("6.1"), of which the installed package gives some release.
	Version string `json:"version"`
	// Arch is the architecture in uname's words. Only x86_64 is known.
	Arch string `json:"arch"`
	// LocalVersion is appended to the release that uname -r shows.
	LocalVersion string `json:"localVersion,omitempty"`
}

// A Source is one place the kernel's source may come from. Sources are tried
// in order until one gives a file that verifies.
type Source struct {
	// Type is SourceUpstream or SourceDebian.
	Type string `json:"type"`
	// URLs of one and the same tarball, tried in order (upstream).
	URLs []string `json:"urls,omitempty"`
	// SHA256 of the tarball as downloaded, in hex. Upstream sources always
	// have one; a debian source has one only if it is pinned to one upload.
	SHA256 string `json:"sha256,omitempty"`
	// PGP says which signature, if any, must also verify (upstream).
	PGP *PGP `json:"pgp,omitempty"`
	// Package is the Debian package that installs Path (debian).
	Package string `json:"package,omitempty"`
	// Path is where the package puts the tarball (debian).
	Path string `json:"path,omitempty"`
}

// PGP names a detached signature and who may have made it. kernel.org signs
// the uncompressed tar, not the .tar.xz (https://www.kernel.org/signature.html).
type PGP struct {
	// SignatureURLs of the detached signature, tried in order.
	SignatureURLs []string `json:"signatureUrls"`
	// KeyFile is the name of the file the keys were read from.
	KeyFile string `json:"keyFile"`
	// Key is that file's content: ASCII-armoured public keys.
	Key string `json:"key"`
	// Fingerprints are the primary keys that are trusted to sign; other keys
	// in the file are not. Upper-case hex without blanks.
	Fingerprints []string `json:"fingerprints"`
}

// Config says how the kernel is configured.
type Config struct {
	// Base is the make target the fragments are laid over: "allnoconfig" or
	// "defconfig".
	Base string `json:"base"`
	// Fragments in order; of two that set one symbol the later wins.
	Fragments []Fragment `json:"fragments"`
}

// A Fragment is one file of Kconfig lines.
type Fragment struct {
	// Name is where it was read from, for messages. Built-in ones begin with
	// "builtin:". It says nothing about content; do not put it into a digest.
	Name string
	// Data is the file, comments and blank lines included, so that line
	// numbers in messages are those of the file.
	Data []byte
}

type fragmentJSON struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Text   string `json:"text"`
}

// MarshalJSON gives the text as it is, and its digest.
func (f Fragment) MarshalJSON() ([]byte, error) {
	sum := sha256.Sum256(f.Data)
	return json.Marshal(fragmentJSON{f.Name, hex.EncodeToString(sum[:]), string(f.Data)})
}

// UnmarshalJSON reads what MarshalJSON wrote. It fails if digest and text do
// not belong together.
func (f *Fragment) UnmarshalJSON(data []byte) error {
	var j fragmentJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(j.Text))
	if got := hex.EncodeToString(sum[:]); got != j.SHA256 {
		return fmt.Errorf("fragment %s: text has sha256 %s, field sha256 says %q", j.Name, got, j.SHA256)
	}
	f.Name, f.Data = j.Name, []byte(j.Text)
	return nil
}

// Backports chooses patches.
type Backports struct {
	// Series is the patch series to choose from; empty means no patches.
	Series string `json:"series,omitempty"`
	// Sets of that series to apply.
	Sets []string `json:"sets,omitempty"`
	// Exclude holds ids of patches to leave out nevertheless.
	Exclude []string `json:"exclude,omitempty"`
}

// Toolchain says what compiles the kernel, and how make is called.
type Toolchain struct {
	// CC is the compiler's command.
	CC string `json:"cc"`
	// MinGCC and MaxGCC are the major versions of gcc known to work; zero
	// means that there is no such bound.
	MinGCC int `json:"minGcc,omitempty"`
	MaxGCC int `json:"maxGcc,omitempty"`
	// CFlags are appended to CC itself. That is the one place which reaches
	// every object of an old kernel: the decompressor, the real-mode setup
	// code and the vdso set their own flags and never see KCFLAGS.
	CFlags []string `json:"cflags,omitempty"`
	// KCFlags become KCFLAGS.
	KCFlags []string `json:"kcflags,omitempty"`
	// HostCFlags become HOSTCFLAGS, for the programs that make builds to run
	// on the building machine.
	HostCFlags []string `json:"hostCflags,omitempty"`
	// MakeVars are further variables on make's command line.
	MakeVars map[string]string `json:"makeVars,omitempty"`
	// Target is what make is asked for, and Image the file it gives,
	// relative to the tree.
	Target string `json:"target"`
	Image  string `json:"image"`
}

// Guest says what the booted kernel is told and what it can do.
type Guest struct {
	// Append are kernel command line parameters.
	Append []string `json:"append,omitempty"`
	// Features are words that a host may look for; docs/profiles.md lists
	// those in use.
	Features []string `json:"features,omitempty"`
}

// Machine says what virtual machine the kernel needs.
type Machine struct {
	// Type is QEMU's machine: "pc" or "q35".
	Type string `json:"type"`
	// Virtio is VirtioLegacy, VirtioTransitional or VirtioModern.
	Virtio string `json:"virtio"`
	// CPU is QEMU's CPU model; empty leaves the choice to the host.
	CPU string `json:"cpu,omitempty"`
	// MinMemoryMiB is the least memory that boots to a command.
	MinMemoryMiB int `json:"minMemoryMiB"`
	// MaxVCPUs is the most virtual CPUs the kernel was configured for.
	MaxVCPUs int `json:"maxVCPUs"`
	// ACPI says whether the machine has ACPI; nil means that it has.
	ACPI *bool `json:"acpi,omitempty"`
}

// A Summary is what a list shows of a built-in profile.
type Summary struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases,omitempty"`
	Description string   `json:"description"`
	Version     string   `json:"version"`
}
