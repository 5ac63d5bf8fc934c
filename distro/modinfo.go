package distro

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// modinfo is what a module says about itself in its section .modinfo
// (include/linux/module.h, MODULE_INFO).
type modinfo struct {
	depends  []string // modules whose symbols it uses; modpost writes it
	pre      []string // MODULE_SOFTDEP
	post     []string
	aliases  []string
	vermagic string
}

// parseModinfo reads an uncompressed module.
func parseModinfo(ko []byte) (info modinfo, err error) {
	// Package debug/elf is not made for hostile files: it says itself that it
	// may panic.
	defer func() {
		if p := recover(); p != nil {
			info, err = modinfo{}, fmt.Errorf("%w: broken ELF file: %v", ErrFormat, p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return modinfo{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_REL {
		return modinfo{}, fmt.Errorf("%w: no x86_64 kernel module (%v, %v)", ErrFormat, f.Machine, f.Type)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return modinfo{}, fmt.Errorf("%w: no kernel module (no section .modinfo)", ErrFormat)
	}
	data, err := section.Data()
	if err != nil {
		return modinfo{}, fmt.Errorf("%w: section .modinfo: %w", ErrFormat, err)
	}
	for _, field := range bytes.Split(data, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		info.set(key, value)
	}
	return info, nil
}

func (m *modinfo) set(key, value string) {
	switch key {
	case "depends":
		for _, name := range strings.Split(value, ",") {
			if name = moduleName(name); name != "" {
				m.depends = append(m.depends, name)
			}
		}
	case "softdep":
		pre, post := parseSoftdep(value)
		m.pre, m.post = append(m.pre, pre...), append(m.post, post...)
	case "alias":
		m.aliases = append(m.aliases, value)
	case "vermagic":
		m.vermagic = value
	}
}

// parseSoftdep reads "pre: a b post: c" (modprobe.d(5), softdep).
func parseSoftdep(s string) (pre, post []string) {
	var into *[]string
	for _, word := range strings.Fields(s) {
		switch {
		case word == "pre:":
			into = &pre
		case word == "post:":
			into = &post
		case into != nil:
			*into = append(*into, word)
		}
	}
	return pre, post
}
