// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"strings"
)

// SourceErrorKind tells the failures of getting source apart.
type SourceErrorKind string

// The kinds of a [SourceError].
const (
	SourceBuiltIn     SourceErrorKind = "built-in"    // a folder in which make has been run
	SourceChanged     SourceErrorKind = "changed"     // it changed while it was being read, or since
	SourceCorrupt     SourceErrorKind = "corrupt"     // its compression or tar format is broken
	SourceMismatch    SourceErrorKind = "mismatch"    // its digest is not the pinned one
	SourceNotFound    SourceErrorKind = "not-found"   // there is nothing there
	SourceNotKernel   SourceErrorKind = "not-kernel"  // no Makefile with VERSION and PATCHLEVEL
	SourceSignature   SourceErrorKind = "signature"   // its PGP signature is not good
	SourceTruncated   SourceErrorKind = "truncated"   // it ends too early
	SourceUnavailable SourceErrorKind = "unavailable" // no candidate could be had; Attempts says why
	SourceUnsafe      SourceErrorKind = "unsafe"      // an entry that would leave the folder, or a device
	SourceUnsupported SourceErrorKind = "unsupported" // not a folder nor a tarball of a known kind
	SourceVersion     SourceErrorKind = "version"     // another kernel version than the spec's
)

// SourceError says why a source cannot be used. Use errors.As to get at it:
//
//	var se *kernels.SourceError
//	if errors.As(err, &se) && se.Kind == kernels.SourceMismatch { ... }
type SourceError struct {
	Kind      SourceErrorKind
	Path      string    // the file, folder or URL
	Got, Want string    // digests or versions, where Kind is about two of them
	Attempts  []Attempt // what was tried, where Kind is SourceUnavailable
	Msg       string    // what is wrong
	Fix       string    // how to mend it
	Err       error     // the cause, or nil
}

// Attempt is one place where source was looked for in vain.
type Attempt struct {
	What string // a URL or a package
	Err  error
}

// Error gives what is wrong and how to mend it. It has one line, and one more for
// each attempt.
func (e *SourceError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n  %s: %v", a.What, a.Err)
	}
	if e.Fix != "" {
		if len(e.Attempts) > 0 {
			b.WriteString("\n" + e.Fix)
		} else {
			b.WriteString("; " + e.Fix)
		}
	}
	return b.String()
}

// Unwrap gives the causes.
func (e *SourceError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// unavailable is the error of a spec none of whose candidates could be had.
func unavailable(spec SourceSpec, tried []Attempt) error {
	fix := "if you have the source, give it with --source DIR|TARBALL, or store it once with " +
		"`kbuild fetch --profile " + spec.Name + " --source DIR|TARBALL`"
	if len(tried) == 0 {
		tried = []Attempt{{What: "profile", Err: fmt.Errorf("it names no source")}}
	}
	return &SourceError{
		Kind: SourceUnavailable, Attempts: tried, Fix: fix,
		Msg: fmt.Sprintf("the source of %s (Linux %s) could not be had", spec.Name, spec.Version),
	}
}
