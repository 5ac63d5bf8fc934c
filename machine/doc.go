// Package machine runs one guest in QEMU: it picks an accelerator, writes the
// command line from the guest image's needs, speaks QMP, watches the console
// and says in one line why a guest that died, died.
//
// A [Machine] is started with [Start], brought to its first word with
// [Machine.Boot], waited for with [Machine.Wait] and ended with [Machine.Stop]
// or [Machine.Kill]. QEMU never outlives the process that started it, and
// leaves no file behind: QMP, console and guest channel are inherited sockets
// without a path, and joined initrds live in anonymous memory.
//
// The package knows nothing of containers or of how a kernel was built.
package machine
