package distro

import "errors"

var (
	// ErrFormat is wrapped when a file is not what its option says: no
	// bzImage, no Debian or RPM package, a broken archive inside.
	ErrFormat = errors.New("wrong file format")

	// ErrLimit is wrapped when a package or a module is larger than any real
	// one.
	ErrLimit = errors.New("import exceeds a limit")

	// ErrMismatch is wrapped when kernel and modules are of different
	// releases.
	ErrMismatch = errors.New("kernel and modules do not belong together")

	// ErrNoKernel is wrapped when a package has no kernel image.
	ErrNoKernel = errors.New("no kernel image found")

	// ErrUnusable is wrapped when the kernel cannot run a guest: it has
	// neither built in nor as a module what a guest cannot do without.
	ErrUnusable = errors.New("kernel cannot be a guest's")
)
