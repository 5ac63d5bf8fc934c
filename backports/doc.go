// Package backports holds patch series for old kernels and the strict engine
// that selects and applies them.
//
// A series is a folder: series.yaml names every patch with what it brings, the
// symptom without it, the mainline commit, the kernels it applies to and how it
// was proved; beside it lie the patches in git format. The series of this
// project are embedded ([Load]); others come from any [io/fs.FS] ([LoadDir]).
//
//	series, err := backports.Load("2.6.32")
//	patches, err := series.Select([]string{"toolchain"}, nil)
//	err = backports.Apply("/path/to/linux-2.6.32.71", patches)
//
// Application is strict: no fuzz, no offset. A patch is applied whole or not at
// all.
//
// # Licence
//
// The patch data (the folders 2.6.32 and 3.10) changes files of the Linux
// kernel and is licensed GPL-2.0-only (see COPYING in this folder), as is this
// folder as a whole. Every patch says so in its header, and [LoadDir] refuses
// one that does not name its licence.
package backports
