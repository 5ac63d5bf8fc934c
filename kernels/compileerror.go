// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// CompileError is a failed make. Its message is the first real error of the log:
// not the "Error 2" of the makes above, and not what the first one entailed.
type CompileError struct {
	// File and Line are where the error is, relative to the kernel tree; a
	// linker or make error may have neither.
	File string
	Line int
	// Message is the tool's own.
	Message string
	// Log is the path of the whole log.
	Log string
	// Err is how make ended.
	Err error
}

// Error has one line: file, line, message, log.
func (e *CompileError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:", e.Line)
		}
		b.WriteString(" ")
	}
	return b.String() + e.Message + " (log: " + e.Log + ")"
}

// Unwrap gives how make ended, and syscall.ENOSPC or syscall.ENOMEM where the
// disk or the memory was what failed.
func (e *CompileError) Unwrap() []error {
	errs := []error{e.Err}
	switch {
	case strings.Contains(e.Message, "No space left on device"):
		errs = append(errs, syscall.ENOSPC)
	case strings.Contains(e.Message, outOfMemory):
		errs = append(errs, syscall.ENOMEM)
	}
	return errs
}

// outOfMemory is added to the message of a compiler that was killed.
const outOfMemory = "out of memory?"

// logError is a form that an error has in a log. The named groups file, line and
// msg say what is in it; without msg the whole line is the message.
type logError struct {
	re *regexp.Regexp
	// consequence: as a rule something else has caused this, or it is no error. It
	// counts only when nothing else is found.
	consequence bool
	killed      bool
}

// logErrors are the forms, and which program's they are.
func logErrors() []logError {
	c := regexp.MustCompile
	return []logError{
		// gcc: its driver, or cc1 before it has read a line.
		{re: c(`^(?:(?:\S*/)?[\w.-]*gcc[\w.-]*|cc1|lto1): (?:fatal )?error: (?P<msg>Killed signal terminated program.*)$`), killed: true},
		{re: c(`^(?:\S*/)?[\w.-]*gcc[\w.-]*: internal compiler error: (?P<msg>Killed .*)$`), killed: true},
		{re: c(`^(?P<msg>(?:(?:\S*/)?[\w.-]*gcc[\w.-]*|cc1|lto1): (?:(?:fatal )?error|internal compiler error): .*)$`)},
		{re: c(`^(?P<msg>cc1: out of memory allocating .*|virtual memory exhausted: .*)$`), killed: true},
		// gcc, bison and sparse.
		{re: c(`^(?P<file>[^\s:]+):(?P<line>\d+)(?:[:.][-\d.]+)?: (?:fatal error|error|internal compiler error): (?P<msg>.*)$`)},
		// gas.
		{re: c(`^(?P<file>[^\s:]+):(?P<line>\d+): (?:Error|Fatal error): (?P<msg>.*)$`)},
		{re: c(`^(?P<file>[^\s:]+): (?:Error|Fatal error): (?P<msg>.*)$`)},
		{re: c(`^(?P<file>[^\s:]+): Assembler messages:$`), consequence: true},
		{re: c(`^(?P<msg>(?:\S*/)?as: (?:BFD|unrecognized option|.*[Ee]rror).*)$`)},
		// ld, with and without debug information.
		{re: c(`^(?:(?:\S*/)?[\w.-]*ld[\w.-]*: )?(?:[^\s:]+\.[oa]:)?(?P<file>[^\s:]+):(?P<line>\d+): (?P<msg>(?:undefined reference to|multiple definition of) .*)$`)},
		{re: c(`^(?:(?:\S*/)?[\w.-]*ld[\w.-]*: )?(?P<file>[^\s:]+):\([^)]*\): (?P<msg>(?:undefined reference to|multiple definition of|relocation truncated to fit) .*)$`)},
		{re: c(`^(?:\S*/)?ld(?:\.\w+)?: (?P<file>[^\s:]+): (?P<msg>(?:undefined reference to|in function .*: undefined|relocation|file not recognized|file truncated|final close failed|error).*)$`)},
		{re: c(`^(?:\S*/)?ld(?:\.\w+)?: (?P<msg>(?:final link failed|cannot (?:find|open)|unrecognized|error|no input files|section \S+ .*overlaps|internal error).*)$`)},
		{re: c(`^(?:\S*/)?ld(?:\.\w+)?:(?P<file>[^\s:]+):(?P<line>\d+): (?P<msg>.*(?:error|syntax).*)$`)},
		// The rest of binutils, and programs that write into a full disk.
		{re: c(`^(?P<msg>.*No space left on device.*)$`)},
		{re: c(`^(?P<msg>(?:\S*/)?(?:ar|objcopy|nm|strip|ranlib): .*)$`), consequence: true},
		// objtool, modpost, sorttable and their like.
		{re: c(`^(?P<file>[^\s:]+\.o): error: (?P<msg>objtool: .*)$`)},
		{re: c(`^(?P<msg>(?:ERROR|FATAL|error): .*)$`)},
		// perl, whose last words look like its warnings.
		{re: c(`^(?P<msg>.*) at (?P<file>\S+) line (?P<line>\d+)\.$`), consequence: true},
		// sh, when a program is missing.
		{re: c(`^(?:/bin/)?(?:ba|da)?sh: (?:line )?(?:\d+: )?(?P<msg>\S+: (?:command )?not found)$`)},
		{re: c(`^(?P<file>[^\s:]+): (?:line )?(?P<line>\d+): (?P<msg>\S+: (?:command )?not found)$`)},
		{re: c(`^make(?:\[\d+\])?: (?P<msg>\S+: No such file or directory)$`)},
		// flex and Kconfig.
		{re: c(`^(?P<msg>flex: .*)$`)},
		{re: c(`^(?P<file>[^\s:]*Kconfig\S*):(?P<line>\d+): (?P<msg>(?:syntax error|unknown|invalid|unexpected|missing|can't open).*)$`)},
		// make itself: $(error ...), syntax, a missing file, a signal.
		{re: c(`^(?P<file>[^\s:]+):(?P<line>\d+): \*\*\* (?P<msg>.*?)(?:\.)?\s+Stop\.$`)},
		{re: c(`^make(?:\[\d+\])?: \*\*\* (?P<msg>No rule to make target .*?)(?:\.)?\s+Stop\.$`)},
		{re: c(`^make(?:\[\d+\])?: \*\*\* \[(?P<file>[^\s:\]]+):(?P<line>\d+): (?P<msg>\S+\] Killed)$`), killed: true, consequence: true},
		{re: c(`^make(?:\[\d+\])?: \*\*\* \[(?P<file>[^\s:\]]+):(?P<line>\d+): (?P<msg>\S+\] Error \d+.*)$`), consequence: true},
		{re: c(`^make(?:\[\d+\])?: \*\*\* (?P<msg>.*)$`), consequence: true},
	}
}

// firstError finds the first real error in a log. dir is where make ran.
func firstError(log io.Reader, dir string) (*CompileError, bool) {
	var fallback *CompileError
	forms := logErrors()
	lines := bufio.NewReader(log)
	for {
		s, err := lines.ReadString('\n')
		if e, form := matchError(strings.TrimRight(s, "\r\n"), forms, dir); e != nil {
			if !form.consequence {
				return e, true
			}
			if fallback == nil {
				fallback = e
			}
		}
		if err != nil {
			return fallback, fallback != nil
		}
	}
}

// matchError reads one line.
func matchError(s string, forms []logError, dir string) (*CompileError, logError) {
	// ld and gcc warn of some of the same things.
	if len(s) > 4096 || strings.HasPrefix(s, "+ ") || strings.Contains(s, "warning: ") || strings.Contains(s, "Warning: ") {
		return nil, logError{}
	}
	for _, form := range forms {
		m := form.re.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		e := &CompileError{Message: s}
		for i, name := range form.re.SubexpNames() {
			switch name {
			case "file":
				e.File = relativeTo(dir, m[i])
			case "line":
				e.Line, _ = strconv.Atoi(m[i])
			case "msg":
				e.Message = strings.ReplaceAll(m[i], dir+"/", "")
			}
		}
		if form.killed {
			e.Message += " (" + outOfMemory + ")"
		}
		return e, form
	}
	return nil, logError{}
}

// relativeTo makes a path in dir relative to it.
func relativeTo(dir, path string) string {
	return filepath.Clean(strings.TrimPrefix(path, dir+"/"))
}

// compileError says why a make that failed with err did, by what is in the log.
func (l *buildLog) compileError(dir string, err error) error {
	f, openErr := os.Open(l.Name())
	if openErr != nil {
		return fmt.Errorf("make failed (%w), and its log cannot be read: %w", err, openErr)
	}
	defer f.Close()
	e, ok := firstError(f, dir)
	switch {
	case ok:
	case l.lost != nil:
		e = &CompileError{Message: "make failed, and its log could not be written: " + l.lost.Error()}
		err = errors.Join(err, l.lost)
	default:
		e = &CompileError{Message: "make failed: " + err.Error()}
	}
	e.Log, e.Err = l.Name(), err
	return e
}
