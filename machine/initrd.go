package machine

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// cpioAlign is the boundary on which each archive after the first has to begin:
// init/initramfs.c (unpack_to_rootfs) takes a header only at a multiple of 4,
// and skips zero bytes before it.
const cpioAlign = 4

// openInitrd gives the one file that QEMU loads as the guest's initrd, or nil
// for none. A single archive is opened where it is, so that all guests share
// its pages; several are joined in anonymous memory, which goes with the last
// process that has it open.
func openInitrd(paths []string) (*os.File, error) {
	switch len(paths) {
	case 0:
		return nil, nil
	case 1:
		f, err := os.Open(paths[0])
		if err != nil {
			return nil, configError("initrd", "%w", err)
		}
		return f, nil
	}
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("join initrds: memfd_create: %w", err)
	}
	joined := os.NewFile(uintptr(fd), "initrd")
	if err := joinInitrds(joined, paths); err != nil {
		joined.Close()
		return nil, fmt.Errorf("join initrds: %w", err)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(joined.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		joined.Close()
		return nil, fmt.Errorf("join initrds: seal: %w", err)
	}
	return joined, nil
}

func joinInitrds(w io.Writer, paths []string) error {
	for _, path := range paths {
		n, err := copyFile(w, path)
		if err != nil {
			return configError("initrd", "%w", err)
		}
		if pad := -n & (cpioAlign - 1); pad > 0 {
			if _, err := w.Write(make([]byte, pad)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(w io.Writer, path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, f)
}
