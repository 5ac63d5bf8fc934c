// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenCacheThatCannotBeMade(t *testing.T) {
	file := put(t, filepath.Join(t.TempDir(), "file"), nil)
	_, err := OpenCache(filepath.Join(file, "cache"))
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "you may write to") {
		t.Errorf("error is %v", err)
	}
}

func TestLockWaitsAndSaysSoOnce(t *testing.T) {
	c := emptyCache(t)
	unlock, err := c.Lock(t.Context(), "a/b", StageKernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Another Cache of the same folder is as good as another process: flock(2)
	// locks belong to the open file.
	other, err := OpenCache(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var waits int
	waiting := make(chan struct{})
	got := make(chan error)
	go func() {
		again, err := other.Lock(t.Context(), "a/b", StageKernel, func(e Event) {
			if e.State == Waiting && e.Stage == StageKernel && strings.Contains(e.Detail, "another kbuild") {
				if waits++; waits == 1 {
					close(waiting)
				}
			}
		})
		if err == nil {
			again()
		}
		got <- err
	}()
	<-waiting
	select {
	case err := <-got:
		t.Fatalf("the lock was taken twice: %v", err)
	default:
	}
	unlock()
	if err := <-got; err != nil || waits != 1 {
		t.Errorf("error is %v after %d reports", err, waits)
	}
}

func TestLockIsGivenUpWithTheContext(t *testing.T) {
	c := emptyCache(t)
	unlock, err := c.Lock(t.Context(), "x", StageKernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.Lock(ctx, "x", StageKernel, func(Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestTempDirOfTheDeadIsSwept(t *testing.T) {
	c := emptyCache(t)
	alive, done, err := c.TempDir("build")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	// A process that died left its folder and a lock that nobody holds.
	dead := c.path(tmpDir, "build-1")
	put(t, filepath.Join(dead, "file"), nil)
	lock := put(t, dead+".lock", nil)
	old := time.Now().Add(-time.Hour)
	for _, l := range []string{lock, alive + ".lock"} {
		if err := os.Chtimes(l, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenCache(c.Dir()); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{dead, lock} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if _, err := os.Stat(alive); err != nil {
		t.Errorf("a folder in use was removed: %v", err)
	}
	done()
	if left, err := os.ReadDir(c.path(tmpDir)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
