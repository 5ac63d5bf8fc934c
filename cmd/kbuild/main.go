// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kbuild builds, publishes and boots guest images.
package main

import (
	"os"

	"github.com/runv-legacy/runv-legacy/cmd/kbuild/command"
)

func main() {
	os.Exit(command.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
