package artifact_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The specification shows what ExampleStore_Add prints, to the byte.
func TestSpecificationShowsTheRealThing(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/artifact-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, output, ok := strings.Cut(string(source), "\t// Output:\n")
	if !ok {
		t.Fatal("the example has no output")
	}
	output = strings.TrimSuffix(strings.ReplaceAll(output, "\t// ", ""), "}\n")
	head := regexp.MustCompile(`(?m)^(manifest|config|index|referrer) (sha256:[0-9a-f]{64})\n`)
	marks := head.FindAllStringSubmatchIndex(output, -1)
	if len(marks) != 5 {
		t.Fatalf("the example prints %d documents, want 5", len(marks))
	}
	for i, m := range marks {
		end := len(output)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		kind, digest, body := output[m[2]:m[3]], output[m[4]:m[5]], strings.TrimSpace(output[m[1]:end])
		if !strings.Contains(string(doc), "```json\n"+body+"\n```") {
			t.Errorf("docs/artifact-format.md does not show this %s:\n%s", kind, body)
		}
		if !strings.Contains(string(doc), digest) {
			t.Errorf("docs/artifact-format.md does not name the %s %s", kind, digest)
		}
	}
}
