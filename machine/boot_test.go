package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestGuestBootsTalksAndPowersOff(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		for name, change := range map[string]func(*Config){
			"pc":         func(*Config) {},
			"q35":        func(c *Config) { c.Type = TypeQ35 },
			"two vCPUs":  func(c *Config) { c.VCPUs = 2 },
			"with rng":   func(c *Config) { c.RNG = true },
			"no console": func(c *Config) { c.Append = []string{"console=ttyS1", "channel=hvc0"} },
			"transitional": func(c *Config) {
				c.Virtio = VirtioTransitional
			},
			"serial channel": func(c *Config) {
				c.Channel = ChannelSerial
				c.Append = []string{"console=ttyS0", "channel=ttyS1"}
			},
		} {
			t.Run(name, func(t *testing.T) {
				cfg := cfg
				change(&cfg)
				m := start(t, mode(cfg, "hello"))
				if err := m.Boot(t.Context(), expectHello); err != nil {
					t.Fatal(err)
				}
				checkEcho(t, m.Channel(), 4096)
				exit := wait(t, m, time.Minute)
				if exit.Reason != GuestShutdown || exit.Code != 0 || exit.Err != nil {
					t.Errorf("exit = %+v, want a shutdown by the guest", exit)
				}
			})
		}
	})
}

// checkEcho sends n random bytes and the guest's word to end, and wants all
// back.
func checkEcho(t testing.TB, channel net.Conn, n int) {
	t.Helper()
	sent := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	sent = append(sent, "end\n"...)
	go channel.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(channel, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("the channel changed what went over it")
	}
}

func TestChannelCarriesAnyBytes(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		m := start(t, mode(cfg, "hello"))
		if err := m.Boot(t.Context(), expectHello); err != nil {
			t.Fatal(err)
		}
		checkEcho(t, m.Channel(), 4<<20)
	})
}

// Each way to fail is told from the others.
func TestDeadBoots(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		quick := func(c *Config) {
			c.Limits = Limits{FirstOutput: 20 * time.Second, Silence: 8 * time.Second}
		}
		noInit := writeArchive(t, member{"dev", 0o040755, 0, 0, nil}, member{"dev/console", 0o020600, 5, 1, nil})
		textInit := writeArchive(t, member{"dev", 0o040755, 0, 0, nil}, member{"dev/console", 0o020600, 5, 1, nil},
			member{"init", 0o100755, 0, 0, []byte("this is no program\n")})
		garbage := writeFile(t, bytes.Repeat([]byte("garbage!"), 4096))
		for _, c := range []struct {
			name, mode string
			change     func(*Config)
			kind       Kind
			line       string
		}{
			{"init exits", "exit", nil, InitDied, "Attempted to kill init"},
			{"init exits with no panic=", "exit", func(c *Config) { c.Append = []string{"console=ttyS0"} }, InitDied, "Attempted to kill init"},
			{"init gives a reason", "fatal", nil, InitDied, "runv-init: panic: no such luck"},
			{"init crashes", "panic", nil, InitDied, "panic: out of ideas"},
			{"no init", "", func(c *Config) { c.Initrd = noInit }, NoInit, ""},
			{"no initrd", "", func(c *Config) { c.Initrd = "" }, NoInit, ""},
			{"init is no program", "", func(c *Config) { c.Initrd = textInit }, NoInit, "Failed to execute /init"},
			{"initrd is garbage", "", func(c *Config) { c.Initrd = garbage }, NoInit, "nitramfs"},
			{"no console", "hang", func(c *Config) {
				c.Append = []string{"console=ttyS1"}
				c.Limits = Limits{FirstOutput: 3 * time.Second}
			}, NoConsole, "nothing on ttyS0"},
			{"paused", "hello", func(c *Config) {
				c.Paused = true
				c.Limits = Limits{FirstOutput: time.Second}
			}, NoConsole, "nothing on ttyS0"},
			{"init hangs", "hang", quick, Hang, "test-init: mode hang"},
			{"out of memory", "eat", func(c *Config) { c.MemoryMiB = 96 }, Memory, ""},
			{"powers off", "poweroff", nil, Ended, ""},
			{"resets", "reboot", nil, Reset, ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				cfg := cfg
				if c.change != nil {
					c.change(&cfg)
				}
				dead := bootError(t, mode(cfg, c.mode))
				if dead.Kind != c.kind || !strings.Contains(dead.Line, c.line) {
					t.Errorf("got %q: %q\nwant %q: ...%s...\n%s", dead.Kind, dead.Line, c.kind, c.line, dead.Detail())
				}
			})
		}
	})
}

// Too little memory is said so, be it too little for the kernel to unpack itself,
// which shows in nothing but a reset, or for what comes later.
func TestTinyMemory(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		kernel, err := openKernel(cfg.Kernel)
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Close()
		floor := int(kernelFloor(kernel) >> 20)
		if floor == 0 {
			t.Fatal("the kernel does not say what it needs")
		}
		for _, mib := range []int{floor / 2, floor - 1, floor + 6} {
			t.Run(fmt.Sprintf("%d MiB", mib), func(t *testing.T) {
				cfg := mode(cfg, "hello")
				cfg.MemoryMiB = mib
				cfg.Limits = Limits{FirstOutput: 20 * time.Second, Silence: 20 * time.Second}
				m, err := Start(t.Context(), cfg)
				if err == nil {
					defer m.Close()
					err = m.Boot(t.Context(), expectHello)
				}
				var dead *BootError
				switch {
				case errors.As(err, &dead) && (dead.Kind == Memory || dead.Kind == QEMU):
				case err == nil && mib > floor: // a frugal kernel
				default:
					t.Errorf("Boot: %v; want that there is too little memory", err)
				}
				t.Log(err)
			})
		}
	})
}

// A panic long after the boot ends the machine with its reason.
func TestPanicAfterBoot(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		cfg.Append = append(cfg.Append, "panic=0")
		m := start(t, mode(cfg, "crash"))
		if err := m.Boot(t.Context(), expectHello); err != nil {
			t.Fatal(err)
		}
		exit := wait(t, m, time.Minute)
		if exit.Reason != GuestDied || exit.Err == nil || exit.Err.Kind != Panic {
			t.Fatalf("exit = %+v, want a panic", exit)
		}
		t.Log(exit.Err)
	})
}

func TestInitrdsAreJoined(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		// Five bytes past an archive's end would put the next out of step.
		first, err := os.ReadFile(cfg.Initrd)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Initrd = writeFile(t, append(first, 0, 0, 0, 0, 0))
		cfg.ExtraInitrds = []string{writeArchive(t, member{"extra", 0o100644, 0, 0, []byte("of the second")})}
		m := start(t, mode(cfg, "hello"))
		if err := m.Boot(t.Context(), expectHello); err != nil {
			t.Fatal(err)
		}
		if console := strings.Join(m.Console(), "\n"); !strings.Contains(console, "test-init: extra of the second") {
			t.Errorf("the second archive was not unpacked:\n%s", console)
		}
	})
}

func TestDisks(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		for _, c := range []struct {
			readOnly bool
			said     string
			begins   string
		}{
			{true, "host was here  refused\n", "host was here "},
			{false, "host was here  written\n", "guest was here"},
		} {
			image := writeFile(t, append([]byte("host was here "), make([]byte, 1<<20-14)...))
			cfg.Disks = []Disk{{Path: image, ReadOnly: c.readOnly}}
			m := start(t, mode(cfg, "disk"))
			err := m.Boot(t.Context(), func(_ context.Context, channel net.Conn) error {
				line, err := bufio.NewReader(channel).ReadString('\n')
				if line != c.said {
					t.Errorf("read-only %t: the guest said %q, want %q", c.readOnly, line, c.said)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(data, []byte(c.begins)) {
				t.Errorf("read-only %t: the image begins %q, want %q", c.readOnly, data[:14], c.begins)
			}
		}
	})
}

func TestCancelledBootLeavesNothing(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		ctx, cancel := context.WithCancel(t.Context())
		m, err := Start(ctx, mode(cfg, "hang"))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		time.AfterFunc(time.Second, cancel)
		if err := m.Boot(ctx, expectHello); !errors.Is(err, context.Canceled) {
			t.Errorf("Boot: %v, want the context's error", err)
		}
		if exit := wait(t, m, 10*time.Second); exit.Reason != HostKilled {
			t.Errorf("exit = %+v, want %s", exit, HostKilled)
		}
		if running(m.Pid()) {
			t.Error("QEMU runs on")
		}
	})
}

func TestStop(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		asks := map[string]struct {
			ask  func(m *Machine) func(context.Context) error
			want Reason
		}{
			"the guest obeys": {func(m *Machine) func(context.Context) error {
				return func(context.Context) error {
					_, err := m.Channel().Write([]byte("end\n"))
					return err
				}
			}, GuestShutdown},
			"the guest does not heed the power button": {func(*Machine) func(context.Context) error { return nil }, HostQuit},
		}
		for name, c := range asks {
			t.Run(name, func(t *testing.T) {
				m := start(t, mode(cfg, "hello"))
				if err := m.Boot(t.Context(), expectHello); err != nil {
					t.Fatal(err)
				}
				limit := 20 * time.Second
				if c.want == HostQuit {
					limit = 500 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if exit := m.Stop(ctx, c.ask(m)); exit.Reason != c.want {
					t.Errorf("exit = %+v, want %s", exit, c.want)
				}
			})
		}
	})
}
