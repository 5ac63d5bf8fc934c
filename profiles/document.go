package profiles

import "fmt"

// maxFileSize bounds every file that a profile is made of. The built-in ones
// are below 16 KiB. The parser recurses once a nesting level, so the bound
// also limits how deep a hostile file can drive it.
const maxFileSize = 64 << 10

// position is where in which file a value stands.
type position struct {
	file         string
	line, column int
}

// errorf makes the error for field at p. fix may be empty.
func (p position) errorf(field, fix, format string, args ...any) *Error {
	return &Error{File: p.file, Line: p.line, Column: p.column, Field: field,
		Msg: fmt.Sprintf(format, args...), Fix: fix}
}

// text is a string that knows where it was written. A plain number is taken
// as it stands in the file: "version: 3.10" must not become 3.1.
type text struct {
	value string
	pos   position
}

// integer and boolean are the like for numbers and truth values.
type integer struct {
	value int
	pos   position
}

type boolean struct {
	value bool
	pos   position
}

// document is a profile file as written: what is absent is nil. The yaml
// keys are the JSON keys of Profile, except that files are named, not held.
type document struct {
	Name        *text        `yaml:"name"`
	Aliases     []text       `yaml:"aliases"`
	Description *text        `yaml:"description"`
	Extends     *text        `yaml:"extends"`
	Kernel      kernelDoc    `yaml:"kernel"`
	Sources     []sourceDoc  `yaml:"sources"`
	Config      configDoc    `yaml:"config"`
	Backports   backportsDoc `yaml:"backports"`
	Toolchain   toolchainDoc `yaml:"toolchain"`
	Guest       guestDoc     `yaml:"guest"`
	Machine     machineDoc   `yaml:"machine"`
	pos         position     // the start of the file
}

type kernelDoc struct {
	Version      *text `yaml:"version"`
	Arch         *text `yaml:"arch"`
	LocalVersion *text `yaml:"localVersion"`
}

type sourceDoc struct {
	Type    *text   `yaml:"type"`
	URLs    []text  `yaml:"urls"`
	SHA256  *text   `yaml:"sha256"`
	PGP     *pgpDoc `yaml:"pgp"`
	Package *text   `yaml:"package"`
	Path    *text   `yaml:"path"`
}

type pgpDoc struct {
	SignatureURLs []text `yaml:"signatureUrls"`
	KeyFile       *text  `yaml:"keyFile"`
	Fingerprints  []text `yaml:"fingerprints"`
}

type configDoc struct {
	Base      *text  `yaml:"base"`
	Fragments []text `yaml:"fragments"`
}

type backportsDoc struct {
	Series  *text  `yaml:"series"`
	Sets    []text `yaml:"sets"`
	Exclude []text `yaml:"exclude"`
}

type toolchainDoc struct {
	CC         *text           `yaml:"cc"`
	MinGCC     *integer        `yaml:"minGcc"`
	MaxGCC     *integer        `yaml:"maxGcc"`
	CFlags     []text          `yaml:"cflags"`
	KCFlags    []text          `yaml:"kcflags"`
	HostCFlags []text          `yaml:"hostCflags"`
	MakeVars   map[string]text `yaml:"makeVars"`
	Target     *text           `yaml:"target"`
	Image      *text           `yaml:"image"`
}

type guestDoc struct {
	Append   []text `yaml:"append"`
	Features []text `yaml:"features"`
}

type machineDoc struct {
	Type         *text    `yaml:"type"`
	Virtio       *text    `yaml:"virtio"`
	CPU          *text    `yaml:"cpu"`
	MinMemoryMiB *integer `yaml:"minMemoryMiB"`
	MaxVCPUs     *integer `yaml:"maxVCPUs"`
	ACPI         *boolean `yaml:"acpi"`
}
