package profiles

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A resolver turns a merged document into a Profile. It keeps the first
// error; after one, its methods do nothing more.
type resolver struct {
	loader *loader
	err    error
}

func (r *resolver) fail(e *Error) {
	if r.err == nil {
		r.err = e
	}
}

func (r *resolver) profile(d *document) *Profile {
	p := &Profile{
		Name:        r.required(d.Name, d.pos, "name", "give the profile a name"),
		Description: r.optional(d.Description, "description"),
		Extends:     r.optional(d.Extends, "extends"),
	}
	r.ownNames(p, d)
	p.Kernel = r.kernel(d)
	p.Sources = r.sources(d, &p.Kernel)
	p.Config = r.config(d)
	p.Backports = r.backports(d.Backports)
	p.Toolchain = r.toolchain(d.Toolchain)
	p.Guest = r.guest(d.Guest)
	p.Machine = r.machine(d)
	return p
}

// Patterns of what a field may hold.
var (
	namePattern         = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	releasePattern      = regexp.MustCompile(`^(2\.6\.\d{1,2}(\.\d{1,3})?|[3-9]\.\d{1,2}(\.\d{1,4})?)$`)
	localVersionPattern = regexp.MustCompile(`^-[A-Za-z0-9][A-Za-z0-9._-]{0,30}$`)
	wordPattern         = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._,+-]{0,63}$`)
	featurePattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// required gives a scalar's value, or fails if it is absent or blank.
func (r *resolver) required(t *text, whole position, field, fix string) string {
	if t == nil {
		r.fail(whole.errorf(field, fix, "the field is missing"))
		return ""
	}
	return r.optional(t, field)
}

// optional gives a scalar's value, or "" if it is absent. Written, it must
// not be blank: a blank value would look like one that was meant.
func (r *resolver) optional(t *text, field string) string {
	if t == nil {
		return ""
	}
	if strings.TrimSpace(t.value) == "" {
		r.fail(t.pos.errorf(field, "give it a value or remove it", "the field is empty"))
	}
	return t.value
}

// match fails unless the value of t, where there is one, has the pattern.
func (r *resolver) match(t *text, field string, pattern *regexp.Regexp, fix string) {
	if t != nil && !pattern.MatchString(t.value) {
		r.fail(t.pos.errorf(field, fix, "%q is not valid", t.value))
	}
}

// oneOf gives a scalar's value, which must be one of allowed; the first is
// the default.
func (r *resolver) oneOf(t *text, field string, allowed ...string) string {
	if t == nil {
		return allowed[0]
	}
	if !slices.Contains(allowed, t.value) {
		r.fail(t.pos.errorf(field, "write "+strings.Join(allowed, " or "), "%q is not known", t.value))
	}
	return t.value
}

// number gives an integer between low and high; absent, it is low if low is
// zero, and an error otherwise.
func (r *resolver) number(i *integer, whole position, field string, low, high int) int {
	if i == nil {
		if low > 0 {
			r.fail(whole.errorf(field, fmt.Sprintf("write a number from %d to %d", low, high), "the field is missing"))
		}
		return 0
	}
	if i.value < low || i.value > high {
		r.fail(i.pos.errorf(field, fmt.Sprintf("write a number from %d to %d", low, high), "%d is out of range", i.value))
	}
	return i.value
}

// words gives a list's values, each of the pattern; a repeated one counts
// once, because a child may name again what its parent has.
func (r *resolver) words(list []text, field string, pattern *regexp.Regexp, fix string) []string {
	var values []string
	for i, t := range list {
		r.match(&t, fmt.Sprintf("%s[%d]", field, i), pattern, fix)
		if !slices.Contains(values, t.value) {
			values = append(values, t.value)
		}
	}
	return values
}

func (r *resolver) ownNames(p *Profile, d *document) {
	const fix = "use at most 63 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit"
	r.match(d.Name, "name", namePattern, fix)
	if r.err != nil {
		return
	}
	self, isBuiltin := builtinName(d.Name.pos.file)
	switch owner, taken := r.loader.index[p.Name]; {
	case isBuiltin && self != p.Name:
		r.fail(d.Name.pos.errorf("name", "rename one of them", "profile %q stands in the file %s.yaml", p.Name, self))
	case !isBuiltin && taken:
		r.fail(d.Name.pos.errorf("name", "choose another name", "%q already names the built-in profile %s", p.Name, owner))
	}
	for i, alias := range d.Aliases {
		field := fmt.Sprintf("aliases[%d]", i)
		r.match(&alias, field, namePattern, fix)
		owner, taken := r.loader.index[alias.value]
		switch {
		case alias.value == p.Name:
			r.fail(alias.pos.errorf(field, "remove it", "%q is the profile's name", alias.value))
		case slices.Contains(p.Aliases, alias.value):
			r.fail(alias.pos.errorf(field, "remove it", "%q is listed twice", alias.value))
		case !isBuiltin && taken:
			r.fail(alias.pos.errorf(field, "choose another word", "%q already names the built-in profile %s", alias.value, owner))
		}
		p.Aliases = append(p.Aliases, alias.value)
	}
}

func (r *resolver) kernel(d *document) Kernel {
	k := Kernel{
		Version: r.required(d.Kernel.Version, d.pos, "kernel.version", "write the kernel's release, such as 6.1.187"),
		Arch:    r.oneOf(d.Kernel.Arch, "kernel.arch", "x86_64"),
	}
	r.match(d.Kernel.Version, "kernel.version", releasePattern, "write a release such as 2.6.32.71 or 6.1.187, without a suffix")
	k.LocalVersion = r.optional(d.Kernel.LocalVersion, "kernel.localVersion")
	r.match(d.Kernel.LocalVersion, "kernel.localVersion", localVersionPattern, "begin with '-', then at most 31 letters, digits, '.', '_' and '-'")
	return k
}

func (r *resolver) backports(d backportsDoc) Backports {
	b := Backports{Series: r.optional(d.Series, "backports.series")}
	r.match(d.Series, "backports.series", namePattern, "write the name of a series, such as 2.6.32")
	b.Sets = r.words(d.Sets, "backports.sets", namePattern, "write the name of a set, such as toolchain")
	b.Exclude = r.words(d.Exclude, "backports.exclude", wordPattern, "write a patch's id")
	if d.Series == nil {
		const fix, msg = "add backports.series", "there is no series to choose from"
		if len(d.Sets) > 0 {
			r.fail(d.Sets[0].pos.errorf("backports.sets", fix, msg))
		}
		if len(d.Exclude) > 0 {
			r.fail(d.Exclude[0].pos.errorf("backports.exclude", fix, msg))
		}
	}
	return b
}

func (r *resolver) guest(d guestDoc) Guest {
	g := Guest{Features: r.words(d.Features, "guest.features", featurePattern, "use lower-case letters, digits and '-'")}
	length := 0
	for i, t := range d.Append {
		field := fmt.Sprintf("guest.append[%d]", i)
		if t.value == "" || strings.ContainsFunc(t.value, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.fail(t.pos.errorf(field, "write one parameter an item, in printable ASCII", "%q is not one kernel parameter", t.value))
		}
		g.Append = append(g.Append, t.value)
		// COMMAND_LINE_SIZE is 2048 (arch/x86/include/asm/setup.h); what a
		// host appends at boot must fit too.
		if length += len(t.value) + 1; length > 1024 {
			r.fail(t.pos.errorf(field, "shorten it", "the kernel parameters exceed 1024 bytes"))
		}
	}
	return g
}

func (r *resolver) machine(d *document) Machine {
	m := Machine{
		Type: r.oneOf(d.Machine.Type, "machine.type", "pc", "q35"),
		CPU:  r.optional(d.Machine.CPU, "machine.cpu"),
	}
	if d.Machine.Virtio == nil {
		r.fail(d.pos.errorf("machine.virtio", "write legacy, transitional or modern", "the field is missing"))
	}
	m.Virtio = r.oneOf(d.Machine.Virtio, "machine.virtio", VirtioLegacy, VirtioTransitional, VirtioModern)
	r.match(d.Machine.CPU, "machine.cpu", wordPattern, "write a CPU model of QEMU, such as qemu64 or kvm64,+aes")
	m.MinMemoryMiB = r.number(d.Machine.MinMemoryMiB, d.pos, "machine.minMemoryMiB", 1, 1<<20)
	m.MaxVCPUs = r.number(d.Machine.MaxVCPUs, d.pos, "machine.maxVCPUs", 1, 255)
	if d.Machine.ACPI != nil {
		acpi := d.Machine.ACPI.value
		m.ACPI = &acpi
	}
	return m
}

// relativePath gives a scalar that names a file inside the kernel tree.
func (r *resolver) relativePath(t *text, field, fallback string) string {
	value := cmp.Or(r.optional(t, field), fallback)
	if t != nil && (path.IsAbs(value) || path.Clean(value) != value || strings.HasPrefix(value, "..")) {
		r.fail(t.pos.errorf(field, "write a path inside the kernel tree", "%q leads out of the tree", value))
	}
	return value
}
