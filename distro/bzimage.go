package distro

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Offsets of the x86 boot protocol's setup header
// (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
const (
	offSetupSects    = 0x1f1
	offBootFlag      = 0x1fe
	offMagic         = 0x202
	offProtocol      = 0x206
	offKernelVersion = 0x20e
	offLoadFlags     = 0x211
	offXLoadFlags    = 0x236
	setupHeaderEnd   = 0x238

	sector = 512

	// maxVersion is more than any kernel's version string, whose parts
	// (utsname, builder, compiler-independent date) stay below 400 bytes.
	maxVersion = 1024
)

// Image is what a bzImage says about itself.
type Image struct {
	// Release is what uname -r shows: "6.1.0-56-cloud-amd64".
	Release string

	// Version is the whole text: release, builder and build date.
	Version string

	// Protocol is the boot protocol's version, 0x020f for 2.15.
	Protocol uint16
}

// ParseImage reads the header of an x86 bzImage. The error wraps [ErrFormat].
func ParseImage(kernel []byte) (Image, error) {
	le := binary.LittleEndian
	switch {
	case bytes.HasPrefix(kernel, []byte("\x7fELF")):
		return Image{}, fmt.Errorf("%w: an ELF vmlinux; give the bzImage, which /boot calls vmlinuz", ErrFormat)
	case len(kernel) < setupHeaderEnd:
		return Image{}, fmt.Errorf("%w: %d bytes are too few for a bzImage", ErrFormat, len(kernel))
	case le.Uint16(kernel[offBootFlag:]) != 0xaa55 || string(kernel[offMagic:offMagic+4]) != "HdrS":
		return Image{}, fmt.Errorf("%w: no x86 kernel image (no boot flag or \"HdrS\" in its header)", ErrFormat)
	}
	img := Image{Protocol: le.Uint16(kernel[offProtocol:])}
	// 2.02 is that of Linux 2.4.0-test3; before it a kernel is loaded low.
	if img.Protocol < 0x0202 || kernel[offLoadFlags]&1 == 0 {
		return Image{}, fmt.Errorf("%w: boot protocol %#x is not that of a bzImage", ErrFormat, img.Protocol)
	}
	// XLF_KERNEL_64 came with protocol 2.12 (Linux 3.8).
	if img.Protocol >= 0x020c && le.Uint16(kernel[offXLoadFlags:])&1 == 0 {
		return Image{}, fmt.Errorf("%w: the kernel is 32-bit; guests are x86_64", ErrFormat)
	}
	text, err := versionText(kernel)
	if err != nil {
		return Image{}, err
	}
	img.Version = text
	img.Release, _, _ = strings.Cut(text, " ")
	if !validRelease(img.Release) {
		return Image{}, fmt.Errorf("%w: the image's version %.80q starts with no kernel release", ErrFormat, text)
	}
	return img, nil
}

// versionText follows the kernel_version pointer, which counts from 0x200 and
// stays within the setup sectors.
func versionText(kernel []byte) (string, error) {
	pointer := int(binary.LittleEndian.Uint16(kernel[offKernelVersion:]))
	sects := int(kernel[offSetupSects])
	if sects == 0 {
		sects = 4 // the protocol's word for images older than the field
	}
	start, end := 0x200+pointer, min((sects+1)*sector, len(kernel))
	if pointer == 0 || start >= end {
		return "", fmt.Errorf("%w: the image's version pointer %#x leads outside its %d setup sectors", ErrFormat, pointer, sects)
	}
	text := kernel[start:min(end, start+maxVersion)]
	n := bytes.IndexByte(text, 0)
	if n < 0 {
		return "", fmt.Errorf("%w: the image's version text does not end", ErrFormat)
	}
	return string(text[:n]), nil
}

// validRelease keeps out what cannot be the name of one folder.
func validRelease(s string) bool {
	if s == "" || len(s) > 64 || s[0] < '0' || s[0] > '9' {
		return false // UTS_RELEASE is at most 64 (Makefile: uts_len)
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("._+-~", c) >= 0:
		default:
			return false
		}
	}
	return true
}
