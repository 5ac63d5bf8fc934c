// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kernels turns a recipe into a Linux kernel image: it gets and
// verifies the source, patches it, configures it, runs kbuild's make on it and
// keeps the outcome in a content-addressed cache.
//
// A [Recipe] holds everything that decides the bytes of the kernel and nothing
// else. [Cache.Configure] gives its final .config and says which of the symbols
// it asks for are not what was asked; [Cache.Build] gives the kernel. Both
// answer from the cache when the same recipe was seen with the same toolchain.
//
// The package knows nothing of profile files, initrds or OCI. It does not log:
// what goes on is told through a [Progress] function, what went wrong is
// returned ([SourceError], [ConfigError], [CompileError] and the sentinels).
package kernels
