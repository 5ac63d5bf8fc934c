package main

import (
	"fmt"
	"os"
	"strings"
)

// params are the kernel parameters that process 1 reads.
type params struct {
	quiet   bool
	channel string // runv.channel: hvc0, ttyS1 or a virtio port's name; "" finds one
	reset   bool   // runv.poweroff=reset: the machine has no ACPI
	unknown []string
}

// readParams parses /proc/cmdline.
func readParams(path string) (params, error) {
	line, err := os.ReadFile(path)
	if err != nil {
		return params{}, fmt.Errorf("read the kernel parameters: %w", err)
	}
	return parseParams(string(line)), nil
}

// parseParams takes the last of repeated parameters, as the kernel does. What
// follows "--" is for a program that the kernel starts: not for us.
func parseParams(line string) params {
	var p params
	for _, word := range strings.Fields(line) {
		if word == "--" {
			break
		}
		key, value, _ := strings.Cut(word, "=")
		switch {
		case word == "quiet":
			p.quiet = true
		case key == "runv.channel":
			p.channel = value
		case key == "runv.poweroff" && (value == "reset" || value == "acpi"):
			p.reset = value == "reset"
		case strings.HasPrefix(key, "runv."):
			p.unknown = append(p.unknown, word)
		}
	}
	return p
}
