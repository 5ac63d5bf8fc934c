package registrytest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// Program is the real registry; Debian's package of the same name has it.
const Program = "docker-registry"

// Start runs a registry on a free loopback port until the test ends, and returns
// its address ("127.0.0.1:40123"). Without the program the test is skipped.
func Start(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath(Program)
	if err != nil {
		t.Skipf("%s is not installed (apt-get install %s): not tested against a real registry", Program, Program)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n", filepath.Join(dir, "data"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		in.Close()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-exited
		}
	})
	return awaitAddress(t, out)
}

// awaitAddress reads the log up to the line that says where the registry
// listens, and keeps it flowing afterwards.
func awaitAddress(t testing.TB, out io.Reader) string {
	t.Helper()
	listening := regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)
	found := make(chan string, 1)
	var head []string
	go func() {
		defer close(found)
		lines := bufio.NewScanner(out)
		sent := false
		for lines.Scan() {
			if sent {
				continue
			}
			head = append(head, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
				sent = true
			}
		}
	}()
	select {
	case addr, ok := <-found:
		if !ok {
			t.Fatalf("%s ended at once:\n%v", Program, head)
		}
		return addr
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not listen within 30 s", Program)
	}
	return ""
}
