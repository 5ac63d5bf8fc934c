// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/runv-legacy/runv-legacy/artifact"
	"github.com/runv-legacy/runv-legacy/kernels"
)

// The environment variables that move kbuild's folders.
const (
	envCache = "RUNV_LEGACY_CACHE"
	envStore = "RUNV_LEGACY_STORE"
)

// systemStore is where root's guest images are: the runtime looks there.
const systemStore = "/var/lib/runv-legacy/store"

// cacheDir is where sources, work trees and built kernels are kept: a cache in
// the sense of the XDG base directory specification, safe to delete.
func (a *app) cacheDir() (string, error) {
	if a.cache != "" {
		return a.cache, nil
	}
	if dir := os.Getenv(envCache); dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the build cache: %w; name one with --cache or $%s", err, envCache)
	}
	return filepath.Join(base, "runv-legacy"), nil
}

// storeDir is where guest images are kept.
func (a *app) storeDir() (string, error) {
	if a.store != "" {
		return a.store, nil
	}
	if dir := os.Getenv(envStore); dir != "" {
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return systemStore, nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "runv-legacy", "store"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the store: %w; name one with --store or $%s", err, envStore)
	}
	return filepath.Join(home, ".local", "share", "runv-legacy", "store"), nil
}

func (a *app) openCache() (*kernels.Cache, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	c, err := kernels.OpenCache(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; name a folder that can be written with --cache or $%s", err, envCache)
	}
	return c, nil
}

func (a *app) openStore() (*artifact.Store, error) {
	dir, err := a.storeDir()
	if err != nil {
		return nil, err
	}
	s, err := artifact.OpenStore(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; name a folder that can be written with --store or $%s", err, envStore)
	}
	return s, nil
}
