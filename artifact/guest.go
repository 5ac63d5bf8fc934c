package artifact

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SchemaVersion is the version of the config blob that this package writes and reads.
const SchemaVersion = 1

// Guest is the config blob of a guest image: what a host must know to boot it
// and where it came from. docs/artifact-format.md describes each field.
type Guest struct {
	SchemaVersion int        `json:"schemaVersion"`
	Kernel        KernelInfo `json:"kernel"`
	OS            string     `json:"os"`           // "linux"
	Architecture  string     `json:"architecture"` // OCI name: "amd64"
	Profile       string     `json:"profile,omitempty"`
	Features      []string   `json:"features,omitempty"`
	Boot          Boot       `json:"boot"`
	Machine       Machine    `json:"machine"`
	Provenance    Provenance `json:"provenance"`
}

// KernelInfo names the kernel.
type KernelInfo struct {
	Version string `json:"version"` // upstream version: "2.6.32.71"
	Release string `json:"release"` // what uname -r prints: "2.6.32.71-runv"
}

// Boot is what the kernel is told.
type Boot struct {
	Append  []string `json:"append,omitempty"`  // boot parameters, one an element
	Console string   `json:"console,omitempty"` // "ttyS0"
}

// Machine is what the virtual machine must be like.
type Machine struct {
	Type   string `json:"type"`             // "pc", "q35" or "microvm"
	Virtio string `json:"virtio,omitempty"` // "legacy", "transitional" or "modern"
	CPU    string `json:"cpu,omitempty"`    // QEMU CPU model; empty: QEMU's default
	ACPI   *bool  `json:"acpi,omitempty"`   // nil: the machine's default
	// Channel is the guest's device for the guest protocol: "hvc0" (the default)
	// or "ttyS1" for a kernel without virtio_console.
	Channel      string `json:"channel,omitempty"`
	MinMemoryMiB int    `json:"minMemoryMiB,omitempty"`
	MaxVCPUs     int    `json:"maxVCPUs,omitempty"` // 0: no limit of its own
}

// Provenance says what the kernel was made from, and with what.
type Provenance struct {
	Source        Source   `json:"source"`
	Patches       []Patch  `json:"patches,omitempty"` // in the order they were applied
	BackportSets  []string `json:"backportSets,omitempty"`
	Compiler      string   `json:"compiler,omitempty"`     // first line of cc --version
	KbuildVersion string   `json:"kbuildVersion"`          // version of the program that made the image
	ConfigSHA256  string   `json:"configSHA256,omitempty"` // hex digest of the kernel's .config
	BuildKey      string   `json:"buildKey,omitempty"`     // key of the build cache
}

// Source is where the kernel's source, or an imported kernel, was had.
type Source struct {
	URL          string `json:"url,omitempty"`    // empty for a local source
	Digest       string `json:"digest,omitempty"` // "sha256:<hex>" of the tarball, package, or tree
	Verification string `json:"verification"`     // "sha256", "sha256+pgp", "debian-package", "unverified-local"
	Package      string `json:"package,omitempty"`
	Path         string `json:"path,omitempty"` // path inside the package; never a path of the builder's machine
}

// Patch is one patch that was applied to the source.
type Patch struct {
	ID       string `json:"id"`
	SHA256   string `json:"sha256"`             // hex digest of the patch file
	Mainline string `json:"mainline,omitempty"` // the mainline commit it follows
}

// Platform returns the platform an index gives to this guest image: os.version
// is the kernel's version.
func (g Guest) Platform() ocispec.Platform {
	return ocispec.Platform{OS: g.OS, Architecture: g.Architecture, OSVersion: g.Kernel.Version}
}

// CommandLine returns the boot parameters joined, with the console first.
func (g Guest) CommandLine() string {
	params := make([]string, 0, len(g.Boot.Append)+1)
	if g.Boot.Console != "" {
		params = append(params, "console="+g.Boot.Console)
	}
	return strings.Join(append(params, g.Boot.Append...), " ")
}

// ParseGuest reads a config blob that anybody may have made. Unknown fields are
// ignored, known ones must be valid.
//
// The error is a *FieldError: errors.Is(err, ErrSchema) for a newer format,
// errors.Is(err, ErrInvalid) for all else.
func ParseGuest(data []byte) (Guest, error) {
	var g Guest
	if len(data) > maxConfigSize {
		return Guest{}, invalid("config", "size", "%d bytes is over the limit of %d", len(data), maxConfigSize)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		return Guest{}, jsonError("config", err)
	}
	if err := g.Validate(); err != nil {
		return Guest{}, err
	}
	return g, nil
}

// marshal returns the config blob. encoding/json writes struct fields in order,
// so the same guest gives the same bytes.
func (g Guest) marshal() ([]byte, error) {
	if g.SchemaVersion == 0 {
		g.SchemaVersion = SchemaVersion
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	data, err := marshalJSON(g)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	if len(data) > maxConfigSize {
		return nil, invalid("config", "size", "%d bytes is over the limit of %d", len(data), maxConfigSize)
	}
	return data, nil
}
