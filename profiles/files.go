package profiles

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed builtin
var embedded embed.FS

// builtinPrefix marks the name of a file that is part of the program. A
// user's profile can name such a file too: "builtin:fragments/net.config".
const builtinPrefix = "builtin:"

// files reads what profiles name: from the embedded tree, or from disk.
type files struct {
	builtin fs.FS
}

func embeddedFiles() (files, error) {
	sub, err := fs.Sub(embedded, "builtin")
	if err != nil {
		return files{}, fmt.Errorf("open embedded profiles: %w", err)
	}
	return files{builtin: sub}, nil
}

// resolve gives the full name of a file that the file from names.
func resolve(from, name string) string {
	if strings.HasPrefix(name, builtinPrefix) || filepath.IsAbs(name) {
		return name
	}
	if dir, ok := strings.CutPrefix(from, builtinPrefix); ok {
		return builtinPrefix + path.Join(path.Dir(dir), name)
	}
	return filepath.Join(filepath.Dir(from), name)
}

// read gives the content of a file by its full name. A file that is no plain
// file (a FIFO would block, /dev/zero would not end) or that is larger than
// maxFileSize is an error.
func (f files) read(name string) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFileSize)
	}
	return data, nil
}

func (f files) open(name string) (fs.File, error) {
	if inside, ok := strings.CutPrefix(name, builtinPrefix); ok {
		return f.builtin.Open(inside)
	}
	// Opening a FIFO waits for a writer unless the kind is looked at first.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return os.Open(name)
}

// why reduces an error of the file system to its reason: the name is already
// part of the message it goes into.
func why(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
