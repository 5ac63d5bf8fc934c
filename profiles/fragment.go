package profiles

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// The lines of a fragment, as the kernel's own reader takes them
// (scripts/kconfig/confdata.c, conf_read_simple). That reader skips what it
// does not understand without a word; here it is an error.
var (
	fragmentSet   = regexp.MustCompile(`^CONFIG_([A-Za-z0-9_]+)=(y|m|n|-?[0-9]+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*")$`)
	fragmentUnset = regexp.MustCompile(`^# CONFIG_([A-Za-z0-9_]+) is not set$`)
)

// checkFragment looks at the form of every line. Whether a symbol exists only
// the kernel's tree can tell.
func checkFragment(name string, data []byte) *Error {
	seen := map[string]int{}
	for i, raw := range bytes.Split(data, []byte("\n")) {
		line, number := strings.TrimRight(string(raw), " \t\r"), i+1
		at := position{file: name, line: number, column: 1}
		match := fragmentSet.FindStringSubmatch(line)
		if match == nil {
			match = fragmentUnset.FindStringSubmatch(line)
		}
		switch {
		case match == nil && (line == "" || strings.HasPrefix(line, "#")):
			continue
		case match == nil:
			return at.errorf("", `write CONFIG_NAME=y, =m, a number or a "string", "# CONFIG_NAME is not set", or a comment on a line of its own`,
				"%q is not a Kconfig line", shorten(line))
		}
		symbol := match[1]
		if earlier, ok := seen[symbol]; ok {
			return at.errorf("CONFIG_"+symbol, "keep one of them", "the symbol is already set in line %d", earlier)
		}
		seen[symbol] = number
	}
	return nil
}

func shorten(line string) string {
	const most = 80
	if len(line) <= most {
		return line
	}
	return fmt.Sprintf("%.*s...", most, line)
}
