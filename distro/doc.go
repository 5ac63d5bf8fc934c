// Package distro takes a distribution's kernel apart for a guest: from a
// .deb, an .rpm, or a kernel image and its modules folder. It finds the
// kernel's release, its configuration and System.map, and the modules that a
// guest on QEMU needs, in the order in which they can be loaded.
//
// All of it is hostile input: a package is unpacked below a temporary folder
// through [os.Root], sizes are limited, and no parser trusts a length.
package distro
