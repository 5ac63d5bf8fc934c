package artifact

import (
	"fmt"
	"regexp"
	"strings"
)

// titlePattern has no slash, backslash, colon, space or control character, and
// starts with a letter or digit: no hidden file, no option, no parent folder.
var titlePattern = regexp.MustCompile(`^[a-zA-Z0-9][-+._a-zA-Z0-9]{0,127}$`)

// CheckTitle reports, wrapping ErrTitle, whether a layer's title can be a file's
// name in any folder on any system. It is stricter than it must be on Linux:
// names that mean a device on Windows are refused too, and only ASCII passes,
// so that no two titles look alike.
func CheckTitle(title string) error {
	fail := func(why string) error {
		return fmt.Errorf("%w %q: %s", ErrTitle, clip(title), why)
	}
	if !titlePattern.MatchString(title) {
		return fail("a title is at most 128 letters, digits and \"-+._\", and starts with a letter or digit")
	}
	if strings.HasSuffix(title, ".") {
		return fail("ends with a dot")
	}
	if strings.EqualFold(title, TitleGuest) {
		return fail("is reserved for the config")
	}
	base, _, _ := strings.Cut(strings.ToUpper(title), ".")
	switch base {
	case "CON", "PRN", "AUX", "NUL":
		return fail("is a device's name")
	}
	if len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) && base[3] >= '0' && base[3] <= '9' {
		return fail("is a device's name")
	}
	return nil
}
