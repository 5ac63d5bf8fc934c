package backports

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinel errors, for errors.Is.
var (
	// ErrCycle is returned by LoadDir when patches depend on each other in a ring.
	ErrCycle = errors.New("dependency cycle")
	// ErrDependencyExcluded is returned by Select when a selected patch needs
	// one that is excluded.
	ErrDependencyExcluded = errors.New("dependency is excluded")
	// ErrKernelRange is returned by Check when a patch is not meant for the kernel.
	ErrKernelRange = errors.New("patch is not for this kernel version")
	// ErrUnknownPatch is returned for a patch id that the series does not have.
	ErrUnknownPatch = errors.New("unknown patch id")
	// ErrUnknownSeries is returned by Load and LoadDir when there is no such folder.
	ErrUnknownSeries = errors.New("unknown series")
	// ErrUnknownSet is returned by Select for a set that the series does not declare.
	ErrUnknownSet = errors.New("unknown patch set")
	// ErrUnsafePath is returned by LoadDir and Apply when a patch names a path
	// that could lie outside the kernel tree.
	ErrUnsafePath = errors.New("path leaves the kernel tree")
)

// SeriesError is a fault in a series file or in a patch of a series. Line and
// Column are 0 when the fault has no place in the file.
type SeriesError struct {
	File         string // series.yaml or the patch, with the series folder
	Line, Column int
	Field        string // e.g. "patches[3].kernels"; may be empty
	Err          error
}

func (e *SeriesError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *SeriesError) Unwrap() error { return e.Err }

// ApplyError says which patch, file, hunk and line could not be applied.
// Nothing of that patch has been written; the patches before it are applied.
//
//	var failed *backports.ApplyError
//	if err := backports.Apply(dir, patches); errors.As(err, &failed) {
//		fmt.Printf("%s does not fit %s (hunk %d, line %d)\n",
//			failed.Patch, failed.File, failed.Hunk, failed.Line)
//	}
type ApplyError struct {
	Patch string // id of the patch
	File  string // path in the kernel tree, with slashes; empty if no file is at fault
	Hunk  int    // number of the hunk in that file, from 1; 0 if no hunk is at fault
	Line  int    // line in the file of the tree, from 1; 0 if not known
	Err   error
}

func (e *ApplyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apply patch %s", e.Patch)
	if e.File != "" {
		fmt.Fprintf(&b, ": %s", e.File)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Hunk > 0 {
		fmt.Fprintf(&b, ": hunk %d", e.Hunk)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *ApplyError) Unwrap() error { return e.Err }
