// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// The files of a finished build.
const (
	imageFile     = "vmlinuz"
	vmlinuxFile   = "vmlinux"
	systemMapFile = "System.map"
	configFile    = "config"
	recordFile    = "build.json"
)

// buildRecord is a finished build's build.json.
type buildRecord struct {
	Format        int                     `json:"format"`
	Key           string                  `json:"key"`
	KernelRelease string                  `json:"kernelRelease"`
	Compiler      Compiler                `json:"compiler"`
	Seconds       float64                 `json:"seconds"`
	Files         map[string]recordedFile `json:"files"`
}

type recordedFile struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// buildFiles says where a build's files are found in a work tree.
func (t Toolchain) buildFiles() map[string]string {
	return map[string]string{
		imageFile: t.image(), vmlinuxFile: "vmlinux", systemMapFile: "System.map", configFile: ".config",
	}
}

// loadBuild reads a finished build. A build that is not whole, or whose record is
// not one, is an error and is built again. That its files have the recorded sizes
// is enough here: they were on disk before the folder got its name, and what
// copies them on digests them anyway.
func (c *Cache) loadBuild(key string) (*Build, error) {
	dir := c.path(buildsDir, key)
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	var rec buildRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, fmt.Errorf("build record of %s: %w", key, err)
	}
	if rec.Key != key || rec.KernelRelease == "" {
		return nil, fmt.Errorf("build record of %s is another's", key)
	}
	sums := map[string]string{}
	for name := range (Toolchain{}).buildFiles() {
		want, recorded := rec.Files[name]
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if !recorded || info.Size() != want.Size || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("build %s: %s is not as recorded", key, name)
		}
		sums[name] = want.SHA256
	}
	return &Build{
		Key: key, Dir: dir, Log: c.logPath(key), SHA256: sums,
		Image: filepath.Join(dir, imageFile), Vmlinux: filepath.Join(dir, vmlinuxFile),
		SystemMap: filepath.Join(dir, systemMapFile), Config: filepath.Join(dir, configFile),
		KernelRelease: rec.KernelRelease, Compiler: rec.Compiler.Name,
		Duration: time.Duration(rec.Seconds * float64(time.Second)),
	}, nil
}

// store copies a build's files out of the work tree. They get their place in the
// cache together, when all of them are on disk.
func (j *job) store(ctx context.Context, w *workTree, took time.Duration) (*Build, error) {
	j.progress.report(Event{Stage: StageStore, State: Started})
	tmp, done, err := j.TempDir("build")
	if err != nil {
		return nil, err
	}
	defer done()
	release, err := w.release()
	if err != nil {
		return nil, err
	}
	rec := buildRecord{
		Format: recipeFormat, Key: j.key, KernelRelease: release, Compiler: j.compiler,
		Seconds: took.Seconds(), Files: map[string]recordedFile{},
	}
	dir := filepath.Join(tmp, j.key)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store the kernel: %w", err)
	}
	for name, from := range j.recipe.Toolchain.buildFiles() {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("store the kernel: %w", context.Cause(ctx))
		}
		if rec.Files[name], err = copyDigested(filepath.Join(dir, name), w.path(from)); err != nil {
			return nil, fmt.Errorf("store the kernel: %w", err)
		}
	}
	b, err := json.MarshalIndent(rec, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(dir, recordFile), append(b, '\n'), 0o644)
	}
	if err == nil {
		err = j.placeBuild(dir, tmp)
	}
	if err != nil {
		return nil, fmt.Errorf("store the kernel: %w", err)
	}
	j.progress.report(Event{Stage: StageStore, State: Finished})
	return j.loadBuild(j.key)
}

// placeBuild gives a stored build its name. A build of that name that is there
// already was found not to be whole.
func (j *job) placeBuild(dir, tmp string) error {
	home := j.path(buildsDir, j.key)
	err := os.Rename(home, filepath.Join(tmp, "old"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, home); err != nil {
		return err
	}
	return syncDir(filepath.Dir(home))
}

// copyDigested copies a file and waits until the copy is on disk.
func copyDigested(dst, src string) (recordedFile, error) {
	in, err := os.Open(src)
	if err != nil {
		return recordedFile{}, err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return recordedFile{}, err
	}
	defer out.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = out.Close()
	}
	return recordedFile{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// spareDisk gives the disk back what the build's tree takes when the disk is full:
// the tree is of no use any more, and others need the room.
func (j *job) spareDisk(err error) error {
	if err != nil && errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, j.discardTree(j.tree))
	}
	return err
}
