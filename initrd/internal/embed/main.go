// Command embed builds the programs that run in the guest into
// initrd/embedded, from where they are compiled into the host programs:
//
//	go run ./initrd/internal/embed [CHECKOUT]
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/runv-legacy/runv-legacy/initrd"
)

func main() {
	checkout := "."
	if len(os.Args) > 1 {
		checkout = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := initrd.MakeEmbedded(ctx, checkout, func(name string, size int, built bool) {
		state := "up to date"
		if built {
			state = "built"
		}
		fmt.Fprintf(os.Stderr, "initrd/embedded/%s: %s, %d bytes\n", name, state, size)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		stop()
		os.Exit(1)
	}
}
