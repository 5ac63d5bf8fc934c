// Command job is what the tests start in a guest.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	args := os.Args[1:]
	number := func() int {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			panic(err)
		}
		return n
	}
	switch args[0] {
	case "cat":
		check(io.Copy(os.Stdout, struct{ io.Reader }{os.Stdin}))
	case "zeros":
		check(io.CopyN(os.Stdout, zeros{}, int64(number())))
	case "sink":
		n, err := io.Copy(io.Discard, os.Stdin)
		check(n, err)
		fmt.Println(n)
	case "exit":
		os.Exit(number())
	case "both":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "daemon": // ends and leaves a process
		cmd := exec.Command("/bin/job", "sleep")
		check(0, cmd.Start())
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Hour)
	case "trap":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(42)
	case "id":
		groups, _ := os.Getgroups()
		cwd, _ := os.Getwd()
		host, _ := os.Hostname()
		fmt.Println(os.Getuid(), os.Getgid(), groups, cwd, host, os.Getenv("COLOUR"), time.Now().Year())
	case "orphan": // a grandchild that ends after its parent
		cmd := exec.Command("/bin/job", "linger")
		check(0, cmd.Start())
		fmt.Println(cmd.Process.Pid)
	case "linger":
		time.Sleep(50 * time.Millisecond)
	case "tty":
		terminal()
	case "hog":
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	}
}

// terminal reports its size, follows a resize, then floods and exits at once.
func terminal() {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	fmt.Println("size", size())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch word := in.Text(); word {
		case "size":
			<-resized
			fmt.Println("resized", size())
		case "flood":
			fmt.Print(strings.Repeat("0123456789\n", 20000), "end")
			return
		}
	}
}

func size() string {
	var ws [4]uint16
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&ws)))
	if errno != 0 {
		return errno.Error()
	}
	return fmt.Sprintf("%dx%d", ws[0], ws[1])
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func check(_ int64, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
