// Package programs is the small set of commands that `kbuild boot` gives a
// guest without a root file system of its own: u-root's, and a shell and a few
// more of ours, in one static binary that acts by the name it is called by.
//
// It is a module of its own, for Go 1.23, the last that supports Linux 2.6.32;
// u-root v0.14.0 is the last release that this Go compiles. commands.txt lists
// what is in the binary, and gobusybox's makebb compiles it.
package programs
