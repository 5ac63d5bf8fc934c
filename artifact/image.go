package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// FileRef is a file's content: a path or bytes. The zero FileRef is no file.
type FileRef struct {
	Path string
	Data []byte
}

// FileAt refers to a file that is read when the image is added.
func FileAt(path string) FileRef { return FileRef{Path: path} }

// Bytes refers to content in memory.
func Bytes(data []byte) FileRef { return FileRef{Data: data} }

// IsZero reports whether there is no file.
func (f FileRef) IsZero() bool { return f.Path == "" && f.Data == nil }

func (f FileRef) open() (io.ReadCloser, error) {
	if f.Path == "" {
		return io.NopCloser(bytes.NewReader(f.Data)), nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	if fi, err := file.Stat(); err != nil || !fi.Mode().IsRegular() {
		file.Close()
		if err == nil {
			err = fmt.Errorf("%s is not a regular file", f.Path)
		}
		return nil, err
	}
	return file, nil
}

func (f FileRef) read() ([]byte, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Image is what Add makes a guest image from. Kernel and Initrd are needed.
type Image struct {
	Guest     Guest
	Kernel    FileRef // bzImage
	Initrd    FileRef // compressed newc cpio
	Config    FileRef // the kernel's .config
	SystemMap FileRef
	Modules   FileRef // gzip'd tar, made reproducibly by the caller
	Debug     FileRef // vmlinux: ELF is compressed here, gzip and zstd are taken as they are
}

func (i Image) validate() error {
	switch {
	case i.Kernel.IsZero():
		return errors.New("add image: no kernel is given")
	case i.Initrd.IsZero():
		return errors.New("add image: no initrd is given")
	}
	return i.Guest.Validate()
}

// AddOptions say what goes beside the image. All of it is part of the digests.
type AddOptions struct {
	// Created is the time of the annotation org.opencontainers.image.created.
	// To be reproducible it must not be the time of day: take it from
	// SOURCE_DATE_EPOCH. The zero time leaves the annotation out.
	Created time.Time
	// Licenses is an SPDX expression; empty means "GPL-2.0-only AND Apache-2.0",
	// the kernel's and guestinit's.
	Licenses string
	// Annotations are added to the manifest's; org.opencontainers.image.* of the
	// caller win over what Add makes.
	Annotations map[string]string
	// Source attaches the corresponding source. nil attaches none.
	Source *CorrespondingSource
	// NoSBOM leaves the SPDX document out.
	NoSBOM bool
}

// defaultLicenses covers the kernel and the init in its initrd.
const defaultLicenses = "GPL-2.0-only AND Apache-2.0"

func (o AddOptions) licenses() string {
	if o.Licenses != "" {
		return o.Licenses
	}
	return defaultLicenses
}
