package profiles

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

var (
	sha256Pattern      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	fingerprintPattern = regexp.MustCompile(`^[0-9A-F]{40}$`)
	packagePattern     = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	flagPattern        = regexp.MustCompile(`^-[!-~]+$`)
	makeVarPattern     = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	commandPattern     = regexp.MustCompile(`^[!-~]+( [!-~]+)*$`)
)

// reservedMakeVars are set by the builder itself from other fields. A second
// way to set them would make the record of the build a lie.
const reservedMakeVars = "ARCH CC CROSS_COMPILE HOSTCC HOSTCFLAGS KCFLAGS KBUILD_BUILD_HOST KBUILD_BUILD_TIMESTAMP" +
	" KBUILD_BUILD_USER KBUILD_BUILD_VERSION KBUILD_OUTPUT KCONFIG_ALLCONFIG LOCALVERSION O M MAKEFLAGS SRCARCH"

func (r *resolver) sources(d *document, k *Kernel) []Source {
	if len(d.Sources) == 0 {
		r.fail(d.pos.errorf("sources", "add a source, or extend a profile that has one", "there is no source"))
	}
	var sources []Source
	for i, s := range d.Sources {
		field := fmt.Sprintf("sources[%d]", i)
		sources = append(sources, r.source(s, d, field, k))
	}
	return sources
}

func (r *resolver) source(s sourceDoc, d *document, field string, k *Kernel) Source {
	kind := r.required(s.Type, d.pos, field+".type", "write upstream or debian")
	r.oneOf(s.Type, field+".type", SourceUpstream, SourceDebian)
	if r.err != nil {
		return Source{}
	}
	at := s.Type.pos
	src := Source{Type: kind, SHA256: r.optional(s.SHA256, field+".sha256")}
	r.match(s.SHA256, field+".sha256", sha256Pattern, "write 64 lower-case hex digits, as sha256sum prints them")
	if kind == SourceDebian {
		src.Package = r.required(s.Package, at, field+".package", "name the package, such as linux-source-6.1")
		r.match(s.Package, field+".package", packagePattern, "write a Debian package name")
		src.Path = r.required(s.Path, at, field+".path", "write the tarball's path, such as /usr/src/linux-source-6.1.tar.xz")
		if s.Path != nil && (!path.IsAbs(src.Path) || path.Clean(src.Path) != src.Path) {
			r.fail(s.Path.pos.errorf(field+".path", "write a clean absolute path", "%q is not one", src.Path))
		}
		r.foreign(kind, field, map[string]bool{"urls": s.URLs != nil, "pgp": s.PGP != nil}, at)
		return src
	}
	r.required(s.SHA256, at, field+".sha256", "write the tarball's sha256: an upstream source is never used unchecked")
	src.URLs = r.urls(s.URLs, at, field+".urls")
	r.foreign(kind, field, map[string]bool{"package": s.Package != nil, "path": s.Path != nil}, at)
	if strings.Count(k.Version, ".") < 2 && r.err == nil && !strings.Contains(path.Base(src.URLs[0]), "-"+k.Version+".tar") {
		r.fail(d.Kernel.Version.pos.errorf("kernel.version", "write the release that the tarball holds",
			"%q is a series, and an upstream source is one release", k.Version))
	}
	if s.PGP != nil {
		src.PGP = r.pgp(s.PGP, at, field+".pgp")
	}
	return src
}

// foreign fails if a source has fields of the other type.
func (r *resolver) foreign(kind, field string, present map[string]bool, at position) {
	for _, name := range []string{"urls", "pgp", "package", "path"} {
		if present[name] {
			r.fail(at.errorf(field+"."+name, "remove it", "a source of type %s has no such field", kind))
		}
	}
}

func (r *resolver) urls(list []text, at position, field string) []string {
	if len(list) == 0 {
		r.fail(at.errorf(field, "add at least one URL", "the field is missing"))
	}
	var urls []string
	for i, t := range list {
		u, err := url.Parse(t.value)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			r.fail(t.pos.errorf(fmt.Sprintf("%s[%d]", field, i), "write an http or https URL without user or password", "%q is not valid", t.value))
		}
		urls = append(urls, t.value)
	}
	return urls
}

func (r *resolver) pgp(d *pgpDoc, at position, field string) *PGP {
	p := &PGP{SignatureURLs: r.urls(d.SignatureURLs, at, field+".signatureUrls")}
	name := r.required(d.KeyFile, at, field+".keyFile", "name the file with the public keys")
	if len(d.Fingerprints) == 0 {
		r.fail(at.errorf(field+".fingerprints", "list the primary keys that may sign", "the field is missing"))
	}
	p.Fingerprints = r.words(d.Fingerprints, field+".fingerprints", fingerprintPattern, "write 40 upper-case hex digits without blanks")
	if r.err != nil {
		return nil
	}
	p.KeyFile = resolve(d.KeyFile.pos.file, name)
	data, err := r.loader.files.read(p.KeyFile)
	if err != nil {
		e := d.KeyFile.pos.errorf(field+".keyFile", "check the path, which is relative to this file", "cannot read %s: %s", p.KeyFile, why(err))
		e.Err = err
		r.fail(e)
		return nil
	}
	p.Key = string(data)
	r.keyring(d, field, p)
	return p
}

// keyring checks that the file holds every key that is to be trusted.
func (r *resolver) keyring(d *pgpDoc, field string, p *PGP) {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(p.Key))
	if err != nil {
		r.fail(d.KeyFile.pos.errorf(field+".keyFile", "export the keys with gpg --armor --export", "%s holds no armoured public keys: %v", p.KeyFile, err))
		return
	}
	var held []string
	for _, entity := range ring {
		held = append(held, strings.ToUpper(hex.EncodeToString(entity.PrimaryKey.Fingerprint)))
	}
	for i, t := range d.Fingerprints {
		if !slices.Contains(held, t.value) {
			r.fail(t.pos.errorf(fmt.Sprintf("%s.fingerprints[%d]", field, i), "add the key to that file, or remove the fingerprint",
				"%s does not hold key %s", p.KeyFile, t.value))
		}
	}
}

func (r *resolver) config(d *document) Config {
	c := Config{Base: r.oneOf(d.Config.Base, "config.base", "allnoconfig", "defconfig")}
	if len(d.Config.Fragments) == 0 {
		r.fail(d.pos.errorf("config.fragments", "name at least one fragment", "there is no fragment"))
	}
	for i, t := range d.Config.Fragments {
		field := fmt.Sprintf("config.fragments[%d]", i)
		name := resolve(t.pos.file, r.optional(&t, field))
		if slices.ContainsFunc(c.Fragments, func(f Fragment) bool { return f.Name == name }) {
			r.fail(t.pos.errorf(field, "name it once", "fragment %s is listed twice", name))
		}
		if r.err != nil {
			return c
		}
		data, err := r.loader.files.read(name)
		if err != nil {
			e := t.pos.errorf(field, "check the path, which is relative to this file", "cannot read fragment %s: %s", name, why(err))
			e.Err = err
			r.fail(e)
			return c
		}
		if e := checkFragment(name, data); e != nil {
			r.fail(e)
		}
		c.Fragments = append(c.Fragments, Fragment{Name: name, Data: data})
	}
	return c
}

func (r *resolver) toolchain(d toolchainDoc) Toolchain {
	t := Toolchain{
		CC:     cmp.Or(r.optional(d.CC, "toolchain.cc"), "gcc"),
		MinGCC: r.number(d.MinGCC, position{}, "toolchain.minGcc", 0, 99),
		MaxGCC: r.number(d.MaxGCC, position{}, "toolchain.maxGcc", 0, 99),
		Target: cmp.Or(r.optional(d.Target, "toolchain.target"), "bzImage"),
		Image:  r.relativePath(d.Image, "toolchain.image", "arch/x86/boot/bzImage"),
	}
	r.match(d.CC, "toolchain.cc", commandPattern, "write a command such as gcc or \"ccache gcc-12\"")
	r.match(d.Target, "toolchain.target", wordPattern, "write one make target, such as bzImage")
	if t.MaxGCC != 0 && t.MinGCC > t.MaxGCC {
		r.fail(d.MaxGCC.pos.errorf("toolchain.maxGcc", "swap them", "it is below minGcc, which is %d", t.MinGCC))
	}
	t.CFlags = r.flags(d.CFlags, "toolchain.cflags")
	t.KCFlags = r.flags(d.KCFlags, "toolchain.kcflags")
	t.HostCFlags = r.flags(d.HostCFlags, "toolchain.hostCflags")
	t.MakeVars = r.makeVars(d.MakeVars)
	return t
}

func (r *resolver) flags(list []text, field string) []string {
	var flags []string
	for i, t := range list {
		r.match(&t, fmt.Sprintf("%s[%d]", field, i), flagPattern, "write one flag an item, beginning with '-' and without blanks")
		flags = append(flags, t.value)
	}
	return flags
}

func (r *resolver) makeVars(vars map[string]text) map[string]string {
	if len(vars) == 0 {
		return nil
	}
	values := map[string]string{}
	for _, name := range slices.SortedFunc(maps.Keys(vars), func(a, b string) int { return vars[a].pos.line - vars[b].pos.line }) {
		t, field := vars[name], "toolchain.makeVars."+name
		switch {
		case !makeVarPattern.MatchString(name):
			r.fail(t.pos.errorf(field, "use upper-case letters, digits and '_'", "%q is not a variable's name", name))
		case slices.Contains(strings.Fields(reservedMakeVars), name):
			r.fail(t.pos.errorf(field, "use the profile's own fields (cc, cflags, kcflags, hostCflags, localVersion)", "%s is set by the builder", name))
		case strings.ContainsFunc(t.value, func(c rune) bool { return c < ' ' || c > '~' || c == '$' }):
			r.fail(t.pos.errorf(field, "use printable ASCII without '$', which make would expand", "%q is not valid", t.value))
		}
		values[name] = t.value
	}
	return values
}
