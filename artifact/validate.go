package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCommandLine is COMMAND_LINE_SIZE of x86 (arch/x86/include/asm/setup.h), the
// same in 2.6.32 and 6.1; the kernel cuts what is longer without a word.
const maxCommandLine = 2048

// Patterns of fields that reach a command line. A CPU model may carry feature
// flags (QEMU: "model,+flag,-flag,name=value").
var (
	versionPattern   = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,4}([-+~._a-zA-Z0-9]*)$`)
	releasePattern   = regexp.MustCompile(`^[0-9][-+~._a-zA-Z0-9]{0,63}$`)
	wordPattern      = regexp.MustCompile(`^[a-zA-Z0-9][-+._a-zA-Z0-9]{0,127}$`)
	cpuPattern       = regexp.MustCompile(`^[a-zA-Z0-9][-._a-zA-Z0-9]*(,[-+]?[a-zA-Z0-9][-._a-zA-Z0-9]*(=[-._a-zA-Z0-9]+)?)*$`)
	consolePattern   = regexp.MustCompile(`^[a-zA-Z]+[0-9]*(,[0-9]+[noe]?[0-9]?r?)?$`)
	hexPattern       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	mediaTypePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)
	digestPattern    = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
)

// Validate reports the first field that breaks the format, as a *FieldError.
func (g Guest) Validate() error {
	switch {
	case g.SchemaVersion > SchemaVersion:
		return &FieldError{"config", "schemaVersion", fmt.Sprintf("%d is newer than %d, the newest this program knows; use a newer release", g.SchemaVersion, SchemaVersion), ErrSchema}
	case g.SchemaVersion != SchemaVersion:
		return invalid("config", "schemaVersion", "%d, want %d", g.SchemaVersion, SchemaVersion)
	case !versionPattern.MatchString(g.Kernel.Version) || len(g.Kernel.Version) > 64:
		return invalid("config", "kernel.version", "%q is not a kernel version such as 2.6.32.71", clip(g.Kernel.Version))
	case !releasePattern.MatchString(g.Kernel.Release):
		return invalid("config", "kernel.release", "%q is not what uname -r prints (at most 64 characters)", clip(g.Kernel.Release))
	case g.OS != "linux":
		return invalid("config", "os", "%q, want \"linux\"", clip(g.OS))
	case !wordPattern.MatchString(g.Architecture):
		return invalid("config", "architecture", "%q is not an OCI architecture such as amd64", clip(g.Architecture))
	case g.Profile != "" && !wordPattern.MatchString(g.Profile):
		return invalid("config", "profile", "%q is not a profile name", clip(g.Profile))
	case len(g.Features) > 256:
		return invalid("config", "features", "%d entries, at most 256 are allowed", len(g.Features))
	}
	for i, f := range g.Features {
		if !wordPattern.MatchString(f) {
			return invalid("config", fmt.Sprintf("features[%d]", i), "%q is not a feature name", clip(f))
		}
	}
	if err := g.Boot.validate(); err != nil {
		return err
	}
	if err := g.Machine.validate(); err != nil {
		return err
	}
	return g.Provenance.validate()
}

func (b Boot) validate() error {
	if b.Console != "" && (len(b.Console) > 64 || !consolePattern.MatchString(b.Console)) {
		return invalid("config", "boot.console", "%q is not a console such as ttyS0 or ttyS0,115200", clip(b.Console))
	}
	total := len("console= ") + len(b.Console)
	for i, p := range b.Append {
		if p == "" || !printable(p) || strings.ContainsRune(p, ' ') && !strings.Contains(p, `"`) {
			return invalid("config", fmt.Sprintf("boot.append[%d]", i), "%q is not one boot parameter: no control characters, and a space only within double quotes", clip(p))
		}
		total += len(p) + 1
	}
	if total > maxCommandLine {
		return invalid("config", "boot.append", "%d bytes in all, the kernel keeps %d", total, maxCommandLine)
	}
	return nil
}

func (m Machine) validate() error {
	switch {
	case !slices.Contains([]string{"pc", "q35", "microvm"}, m.Type):
		return invalid("config", "machine.type", "%q, want pc, q35 or microvm", clip(m.Type))
	case !slices.Contains([]string{"", "legacy", "transitional", "modern"}, m.Virtio):
		return invalid("config", "machine.virtio", "%q, want legacy, transitional or modern", clip(m.Virtio))
	case !slices.Contains([]string{"", "hvc0", "ttyS1"}, m.Channel):
		return invalid("config", "machine.channel", "%q, want hvc0 or ttyS1", clip(m.Channel))
	case m.CPU != "" && !cpuPattern.MatchString(m.CPU):
		return invalid("config", "machine.cpu", "%q is not a QEMU CPU model with flags", clip(m.CPU))
	case m.MinMemoryMiB < 0 || m.MinMemoryMiB > 1<<24:
		return invalid("config", "machine.minMemoryMiB", "%d is out of range 0..%d", m.MinMemoryMiB, 1<<24)
	case m.MaxVCPUs < 0 || m.MaxVCPUs > 8192:
		return invalid("config", "machine.maxVCPUs", "%d is out of range 0..8192", m.MaxVCPUs)
	}
	return nil
}

func (p Provenance) validate() error {
	texts := map[string]string{
		"source.url": p.Source.URL, "source.verification": p.Source.Verification, "source.package": p.Source.Package,
		"source.path": p.Source.Path, "compiler": p.Compiler, "kbuildVersion": p.KbuildVersion, "buildKey": p.BuildKey,
	}
	for _, field := range slices.Sorted(maps.Keys(texts)) {
		if v := texts[field]; len(v) > 4096 || !printable(v) {
			return invalid("config", "provenance."+field, "%q is too long or has control characters", clip(v))
		}
	}
	if p.Source.Digest != "" && !digestPattern.MatchString(p.Source.Digest) {
		return invalid("config", "provenance.source.digest", "%q is not a sha256 or sha512 digest", clip(p.Source.Digest))
	}
	if p.ConfigSHA256 != "" && !hexPattern.MatchString(p.ConfigSHA256) {
		return invalid("config", "provenance.configSHA256", "%q is not 64 lower-case hex digits", clip(p.ConfigSHA256))
	}
	if len(p.Patches) > 4096 {
		return invalid("config", "provenance.patches", "%d entries, at most 4096 are allowed", len(p.Patches))
	}
	for i, patch := range p.Patches {
		at := fmt.Sprintf("provenance.patches[%d]", i)
		switch {
		case !wordPattern.MatchString(patch.ID):
			return invalid("config", at+".id", "%q is not a patch id", clip(patch.ID))
		case !hexPattern.MatchString(patch.SHA256):
			return invalid("config", at+".sha256", "%q is not 64 lower-case hex digits", clip(patch.SHA256))
		case len(patch.Mainline) > 256 || !printable(patch.Mainline):
			return invalid("config", at+".mainline", "%q is too long or has control characters", clip(patch.Mainline))
		}
	}
	for i, set := range p.BackportSets {
		if !wordPattern.MatchString(set) {
			return invalid("config", fmt.Sprintf("provenance.backportSets[%d]", i), "%q is not a set's name", clip(set))
		}
	}
	return nil
}

// printable reports whether a terminal can be shown s as it is.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clip keeps what a stranger wrote from filling an error message.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}

// jsonError gives a decoder's error the document's and the field's name.
func jsonError(document string, err error) error {
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) && typeErr.Field != "" {
		return invalid(document, typeErr.Field, "a JSON %s is not allowed here", typeErr.Value)
	}
	return invalid(document, "json", "%v", err)
}

// marshalJSON encodes without escaping <, > and &, which version strings and
// URLs hold, and without the encoder's final newline.
func marshalJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
