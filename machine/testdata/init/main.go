// Command init is process 1 of the machine package's tests. What it does is
// named by mode= on the kernel command line, which the kernel hands to process 1
// as an environment entry.
package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func main() {
	fmt.Println("test-init: mode", os.Getenv("mode"))
	if extra, err := os.ReadFile("/extra"); err == nil {
		fmt.Printf("test-init: extra %s\n", extra)
	}
	switch os.Getenv("mode") {
	case "hello":
		channel := open()
		fmt.Fprintln(channel, "hello")
		echo(channel)
		end()
	case "disk":
		disk(open())
	case "exit":
		os.Exit(3)
	case "fatal":
		fmt.Println("runv-init: panic: no such luck")
		os.Exit(1)
	case "panic":
		panic("out of ideas")
	case "poweroff", "reboot":
		end()
	case "hang":
		time.Sleep(time.Hour)
	case "crash":
		fmt.Fprintln(open(), "hello")
		crash()
	case "eat":
		eat()
	}
	time.Sleep(time.Hour)
}

// open is the channel in raw mode, since both hvc0 and ttyS1 are terminals.
func open() *os.File {
	name := os.Getenv("channel")
	f, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
	if err != nil {
		fmt.Println("runv-init: no channel:", err)
		os.Exit(1)
	}
	raw(f)
	return f
}

// echo sends back what comes until a line says "end".
func echo(channel *os.File) {
	buf := make([]byte, 64<<10)
	last := ""
	for {
		n, err := channel.Read(buf)
		if err != nil && err != io.EOF {
			fmt.Println("runv-init: no channel:", err)
			os.Exit(1)
		}
		last += string(buf[:n])
		if len(last) > 4 {
			last = last[len(last)-4:]
		}
		if _, err := channel.Write(buf[:n]); err != nil {
			fmt.Println("runv-init: no channel:", err)
			os.Exit(1)
		}
		if last == "end\n" {
			return
		}
	}
}

func end() {
	how := syscall.LINUX_REBOOT_CMD_POWER_OFF
	if os.Getenv("mode") == "reboot" || os.Getenv("end") == "reboot" {
		how = syscall.LINUX_REBOOT_CMD_RESTART
	}
	_ = syscall.Reboot(how)
}

func crash() {
	_ = os.Mkdir("/proc", 0o755)
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Println("mount /proc:", err)
	}
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		fmt.Println("sysrq:", err)
		os.Exit(1)
	}
}

// disk says on the channel what the first disk begins with, and whether it takes
// a write.
func disk(channel *os.File) {
	if err := syscall.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		fmt.Println("mount /dev:", err)
	}
	content := make([]byte, 512)
	f, err := os.Open("/dev/vda")
	if err == nil {
		_, err = io.ReadFull(f, content)
	}
	if err != nil {
		fmt.Fprintln(channel, "read:", err)
		return
	}
	wrote := "written"
	w, err := os.OpenFile("/dev/vda", os.O_WRONLY|os.O_SYNC, 0)
	if err == nil {
		_, err = w.Write(append([]byte("guest was here"), content[14:]...))
	}
	if err != nil {
		wrote = "refused"
	}
	fmt.Fprintf(channel, "%.14s %s\n", content, wrote)
}

// eat takes memory until there is none; process 1 is all there is to kill.
func eat() {
	var kept [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		kept = append(kept, block)
	}
}
