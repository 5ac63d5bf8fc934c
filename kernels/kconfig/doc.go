// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kconfig reads the kernel's configuration: .config files and fragments
// of them, and the Kconfig language itself, of 2.6.32 as well as of 6.x.
//
// It does not configure kernels, conf does. It says what conf does not: why a
// symbol that was asked for did not come out as asked. See [Tree.Explain].
package kconfig
