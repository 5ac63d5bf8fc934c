package guestbuild

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// CommandsFile lists the small programs, below their module's folder.
const CommandsFile = "commands.txt"

// Command is one small program.
type Command struct {
	// Package is its Go package, as the go command takes it.
	Package string

	// Links are where it stands in the guest, below the root.
	Links []string
}

// Commands reads the list of the small programs of a checkout.
func Commands(root string) ([]Command, error) {
	file := filepath.Join(root, Programs().Dir, CommandsFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the list of guest programs: %w", err)
	}
	return parseCommands(file, data)
}

// parseCommands reads lines of a package and the folders its link goes to.
func parseCommands(file string, data []byte) ([]Command, error) {
	var commands []Command
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for line := 1; scanner.Scan(); line++ {
		text, _, _ := strings.Cut(scanner.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("%s:%d: %s: no folder; write the package and one or more of bin, sbin, usr/bin", file, line, fields[0])
		}
		c := Command{Package: fields[0]}
		for _, dir := range fields[1:] {
			c.Links = append(c.Links, path.Join(dir, path.Base(c.Package)))
		}
		commands = append(commands, c)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return commands, nil
}

// makebb is the command of gobusybox that rewrites main packages into one
// program; its version is pinned in the programs' own go.mod.
const makebb = "github.com/u-root/gobusybox/src/cmd/makebb"

// compileCommands builds all commands as one binary that acts by the name it
// is called by.
func (t Target) compileCommands(ctx context.Context, root, tmp, out string) error {
	commands, err := Commands(root)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, t.Dir)
	tool := filepath.Join(tmp, "makebb")
	host := []string{"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "GOAMD64="}
	if err := run(ctx, dir, host, "go", "build", "-o", tool, makebb); err != nil {
		return err
	}
	gen := filepath.Join(tmp, "gen")
	args := []string{"-g", "-gen-dir", gen}
	for _, c := range commands {
		args = append(args, c.Package)
	}
	if err := run(ctx, dir, nil, tool, args...); err != nil {
		return err
	}
	// makebb lays its sources out for GOPATH mode, in which the go command
	// does not heed GOTOOLCHAIN: name the toolchain's own.
	goroot, err := output(ctx, dir, nil, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	env := []string{"GO111MODULE=off", "GOPATH=" + gen, "GOTOOLCHAIN=local"}
	goCmd := filepath.Join(strings.TrimSpace(goroot), "bin/go")
	// makebb's own go build forces a build of everything, the standard library
	// too, each time.
	return t.goBuild(ctx, filepath.Join(gen, "src/bb.u-root.com/bb"), goCmd, env, out)
}
