package profiles

import (
	"errors"
	"strconv"
	"strings"
)

// Sentinel errors, found with errors.Is in what Load returns.
var (
	// ErrCycle is returned when profiles extend each other in a circle.
	ErrCycle = errors.New("profiles extend each other in a circle")
	// ErrUnknownProfile is returned when a name is neither a built-in
	// profile nor an alias of one.
	ErrUnknownProfile = errors.New("unknown profile")
)

// An Error is the one mistake that kept a profile from loading:
//
//	var e *profiles.Error
//	if errors.As(err, &e) {
//		fmt.Println(e.File, e.Line, e.Fix)
//	}
type Error struct {
	// File is the file that has to be changed; empty if the name given to
	// Load was wrong.
	File string
	// Line and Column count from 1; zero if the whole file is meant.
	Line, Column int
	// Field is the path of the field, such as "sources[0].sha256".
	Field string
	// Msg says what is wrong and Fix how to mend it.
	Msg, Fix string
	// Err is the cause, if there is a deeper one.
	Err error
}

// Error gives "file:line:column: field: message; fix", without the parts that
// are not known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
			if e.Column > 0 {
				b.WriteString(":" + strconv.Itoa(e.Column))
			}
		}
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Msg)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
