package programs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every package of commands.txt that is not of this module is imported by
// tools.go, or go.mod would lose what it needs at the next "go mod tidy".
func TestCommandsArePinned(t *testing.T) {
	list, err := os.ReadFile("commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	tools, err := os.ReadFile("tools.go")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, line := range strings.Split(string(list), "\n") {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "github.com/u-root/") {
			want = append(want, f[0])
		}
	}
	for _, m := range regexp.MustCompile(`_ "(github.com/u-root/u-root/[^"]+)"`).FindAllStringSubmatch(string(tools), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("tools.go imports\n%q\ncommands.txt lists\n%q", got, want)
	}
}
