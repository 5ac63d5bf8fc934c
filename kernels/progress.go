// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

// Progress is told what a long operation is doing. It is called from the
// goroutine that does the work, one call at a time, and must return soon: make
// waits for it. A nil Progress is allowed everywhere and hears nothing.
type Progress func(Event)

// State says what happened to a stage.
type State int

// The states of a stage. A stage goes from Started (with any number of Advanced
// after it) to Finished; a stage that was answered from the cache is Cached and
// nothing else; a stage that must first wait for another process is Waiting and
// then, when the wait is over, one of the others.
const (
	Started State = iota
	Advanced
	Finished
	Cached
	Waiting
)

// String gives the state's name in lower case.
func (s State) String() string {
	switch s {
	case Started:
		return "started"
	case Advanced:
		return "advanced"
	case Finished:
		return "finished"
	case Cached:
		return "cached"
	case Waiting:
		return "waiting"
	}
	return "unknown"
}

// The stages this package reports, in the order a cold build goes through them.
const (
	StageFetch     = "fetch"     // Unit is UnitBytes
	StageVerify    = "verify"    // Unit is UnitBytes
	StageUnpack    = "unpack"    // Unit is UnitBytes
	StagePatch     = "patch"     // Unit is UnitPatches
	StageConfigure = "configure" // no unit
	StagePlan      = "plan"      // no unit
	StageCompile   = "compile"   // Unit is UnitObjects
	StageStore     = "store"     // no unit
	StageKernel    = "kernel"    // Cached, Waiting: the kernel as a whole
)

// The units of [Event.Done] and [Event.Total].
const (
	UnitBytes   = "bytes"
	UnitObjects = "objects"
	UnitPatches = "patches"
)

// Event is one report of a stage.
type Event struct {
	// Stage is one of the Stage constants.
	Stage string
	State State
	// Done never exceeds Total, unless Total is 0, which means not known.
	Done, Total int64
	// Unit is what Done and Total count; empty when they count nothing.
	Unit string
	// Detail is a short text for people: the URL, the object being compiled,
	// what is waited for.
	Detail string
}

// report calls p when there is one.
func (p Progress) report(e Event) {
	if p != nil {
		p(e)
	}
}
