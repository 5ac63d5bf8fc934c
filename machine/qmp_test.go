package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

const greeting = `{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": ["oob"]}}` + "\r\n"

// fakeQEMU answers each line that it is sent with what answer makes of it.
func fakeQEMU(t *testing.T, answer func(line string, id int) string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	go func() {
		defer theirs.Close()
		io.WriteString(theirs, greeting)
		lines := bufio.NewScanner(theirs)
		for id := 1; lines.Scan(); id++ {
			text := fmt.Sprintf(`{"return": {}, "id": %d}`, id)
			if !strings.Contains(lines.Text(), "qmp_capabilities") {
				text = answer(lines.Text(), id)
			}
			if text == "" {
				return
			}
			if _, err := io.WriteString(theirs, text+"\r\n"); err != nil {
				return
			}
		}
	}()
	return ours
}

func newQMP(t *testing.T, conn net.Conn) *QMP {
	t.Helper()
	q, err := NewQMP(t.Context(), conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func TestQMPExecute(t *testing.T) {
	q := newQMP(t, fakeQEMU(t, func(line string, id int) string {
		switch {
		case strings.Contains(line, `"execute":"query-status"`):
			return fmt.Sprintf(`{"return": {"status": "running"}, "id": %d}`, id)
		case strings.Contains(line, `"arguments":{"id":"net0"}`):
			return fmt.Sprintf(`{"error": {"class": "DeviceNotFound", "desc": "no net0"}, "id": %d}`, id)
		}
		return ""
	}))
	var status struct{ Status string }
	if err := q.Execute(t.Context(), "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("query-status = %+v, %v", status, err)
	}
	err := q.Execute(t.Context(), "device_del", map[string]string{"id": "net0"}, nil)
	var refused *QMPError
	if !errors.As(err, &refused) || refused.Class != "DeviceNotFound" || refused.Command != "device_del" {
		t.Errorf("device_del: %v, want a *QMPError of DeviceNotFound", err)
	}
	if err := q.Execute(t.Context(), "quit", nil, nil); !errors.Is(err, ErrExited) {
		t.Errorf("a command that QEMU ends at: %v, want %v", err, ErrExited)
	}
}

func TestQMPAbandonedCommandDoesNotGarbleTheNext(t *testing.T) {
	var late string
	ctx, cancel := context.WithCancel(t.Context())
	q := newQMP(t, fakeQEMU(t, func(_ string, id int) string {
		reply := fmt.Sprintf(`{"return": %d, "id": %d}`, id, id)
		if late == "" {
			late = reply
			cancel()
			return `{"event": "STOP", "data": {}}`
		}
		return late + "\n" + reply
	}))
	if err := q.Execute(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("slow: %v, want the context's error", err)
	}
	var got int
	if err := q.Execute(t.Context(), "next", nil, &got); err != nil || got != 3 {
		t.Errorf("next = %d, %v; want its own answer, 3", got, err)
	}
}

func TestQMPEvents(t *testing.T) {
	var flood strings.Builder
	for range 2 * eventBacklog {
		flood.WriteString(`{"event": "RTC_CHANGE", "data": {"offset": 1}, "timestamp": {"seconds": 5, "microseconds": 7}}` + "\n")
	}
	q := newQMP(t, fakeQEMU(t, func(_ string, id int) string {
		return flood.String() + fmt.Sprintf(`{"return": {}, "id": %d}`, id)
	}))
	events, cancel := q.Subscribe()
	cancelled, cancelNow := q.Subscribe()
	cancelNow()
	cancelNow()
	if _, open := <-cancelled; open {
		t.Error("a cancelled subscription is open")
	}
	if err := q.Execute(t.Context(), "flood", nil, nil); err != nil {
		t.Fatalf("a subscriber that does not read stops answers: %v", err)
	}
	n := 0
	for e := range events {
		if e.Name != "RTC_CHANGE" || e.Time.Unix() != 5 {
			t.Fatalf("event %+v", e)
		}
		n++
	}
	if n != eventBacklog {
		t.Errorf("%d events before the subscription was closed, want %d", n, eventBacklog)
	}
	cancel()
	q.Close()
	<-q.Done()
	after, _ := q.Subscribe()
	if _, open := <-after; open {
		t.Error("a subscription to an ended connection is open")
	}
}

func TestQMPBadPeers(t *testing.T) {
	for name, said := range map[string]string{
		"ends at once": "",
		"not JSON":     "qemu: hello\n",
		"endless line": strings.Repeat("x", maxMessage+2),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				go io.Copy(io.Discard, theirs)
				io.WriteString(theirs, said)
				theirs.Close()
			}()
			if q, err := NewQMP(t.Context(), ours, nil); err == nil {
				q.Close()
				t.Error("NewQMP took it")
			} else {
				t.Log(err)
			}
		})
	}
	t.Run("refuses to start", func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() {
			io.WriteString(theirs, greeting)
			bufio.NewReader(theirs).ReadString('\n')
			io.WriteString(theirs, `{"error": {"class": "GenericError", "desc": "no"}, "id": 1}`+"\n")
		}()
		var refused *QMPError
		if _, err := NewQMP(t.Context(), ours, nil); !errors.As(err, &refused) {
			t.Errorf("NewQMP: %v, want a *QMPError", err)
		}
	})
	t.Run("says nothing", func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := NewQMP(ctx, ours, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("NewQMP: %v, want the context's error", err)
		}
	})
}

func FuzzReadMessages(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"return": {}, "id": 1}` + "\r\n" + `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": 1, "microseconds": 2}}` + "\n"))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": "x"}, "id": 18446744073709551615}` + "\n"))
	f.Add([]byte(`{"id": -1}` + "\n[]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		q := &QMP{pending: map[uint64]chan message{1: make(chan message, 1)}, subs: map[chan Event]bool{}}
		m := &Machine{}
		q.onEvent = m.readEvent
		err := readMessages(strings.NewReader(string(data)), func(msg message) {
			if msg.Event != "" {
				q.publish(Event{Name: msg.Event, Data: msg.Data})
			} else if msg.ID != nil {
				q.answer(*msg.ID, msg)
			}
			var result map[string]any
			_ = msg.decode("fuzz", &result)
		})
		if err == nil {
			t.Error("no reason for the end")
		}
	})
}
