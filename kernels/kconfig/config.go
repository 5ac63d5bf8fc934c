// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxLine bounds a line of a .config. The longest in use are those of
// CONFIG_EXTRA_FIRMWARE and CONFIG_CMDLINE.
const maxLine = 1 << 20

// Config is a .config: the values of symbols by name, without CONFIG_, as the file
// has them: y, m, n for "is not set", a number, or a string in its quotes.
type Config map[string]string

// ParseConfig reads a .config as conf does (scripts/kconfig/confdata.c,
// conf_read_simple): lines that are no settings are passed over, and the last
// setting of a symbol counts.
func ParseConfig(r io.Reader) (Config, error) {
	c := Config{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if symbol, value, ok := parseSetting(lines.Text()); ok {
			c[symbol] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read .config: line %d: %w", n+1, err)
	}
	return c, nil
}

// WriteTo writes the .config, sorted by symbol.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, symbol := range slices.Sorted(maps.Keys(c)) {
		b.WriteString(setting(symbol, c[symbol]))
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Value is the value of a symbol, "n" if it has none.
func (c Config) Value(symbol string) string {
	if v, ok := c[strings.TrimPrefix(symbol, "CONFIG_")]; ok {
		return v
	}
	return "n"
}

// setting is a line of a .config.
func setting(symbol, value string) string {
	if value == "n" {
		return "# CONFIG_" + symbol + " is not set\n"
	}
	return "CONFIG_" + symbol + "=" + value + "\n"
}

// parseSetting reads "CONFIG_X=value" or "# CONFIG_X is not set".
func parseSetting(line string) (symbol, value string, ok bool) {
	line = strings.TrimRight(line, " \t\r\n")
	if name, found := strings.CutPrefix(line, "# CONFIG_"); found {
		name, off := strings.CutSuffix(name, " is not set")
		return name, "n", off && isName(name)
	}
	name, found := strings.CutPrefix(line, "CONFIG_")
	if !found {
		return "", "", false
	}
	symbol, value, ok = strings.Cut(name, "=")
	return symbol, value, ok && isName(symbol) && value != ""
}

// isName says whether s can be a symbol's name.
func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isWordRune(r) })
}

func isWordRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
}
