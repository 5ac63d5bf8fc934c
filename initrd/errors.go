package initrd

import "errors"

var (
	// ErrArchive is wrapped by every error of [Read] that is about the
	// archive's own bytes: a wrong magic, a field that is not a number, a
	// name that leaves the archive, an archive that ends early.
	ErrArchive = errors.New("not a valid newc cpio archive")

	// ErrEntry is wrapped by [Write], [Build] and [Validate] when an entry
	// cannot be stored: a bad name, an unknown type, two entries of one name.
	ErrEntry = errors.New("invalid initrd entry")

	// ErrLimit is wrapped by [Read] when the archive is larger than its
	// [Limits] allow.
	ErrLimit = errors.New("initrd archive exceeds a limit")

	// ErrNoProgram is wrapped by [GuestInit] and [Programs] when the binary
	// is neither inside this program nor can be built from a checkout.
	ErrNoProgram = errors.New("guest program not available")
)
