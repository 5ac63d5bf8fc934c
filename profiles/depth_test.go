package profiles

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// The YAML parser recurses once a level; a stack that overflows cannot be
// recovered from. The largest file allowed must therefore be harmless.
func TestDeepNestingIsAnError(t *testing.T) {
	for name, unit := range map[string]string{"lists": "[", "mappings": "{a: ", "block lists": "- ", "keys": "? ", "tags": "!a ", "anchors": "&a ", "values": "a: "} {
		t.Run(name, func(t *testing.T) {
			data := []byte(strings.Repeat(unit, maxFileSize/len(unit)))
			start := time.Now()
			_, err := parseDocument("deep.yaml", data)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("got %v, want an *Error", err)
			}
		})
	}
}

// Indentation nests without any mark; a file has room for some 350 levels.
func TestDeepIndentationIsAnError(t *testing.T) {
	for name, line := range map[string]string{"mappings": "a:\n", "lists": "-\n"} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for depth := 0; b.Len()+depth+len(line) <= maxFileSize; depth++ {
				b.WriteString(strings.Repeat(" ", depth) + line)
			}
			start := time.Now()
			_, err := parseDocument("deep.yaml", []byte(b.String()))
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("got %v, want an *Error", err)
			}
		})
	}
}
