package machine

import (
	"testing"
	"time"
)

func TestGuestBootsTalksAndPowersOff(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		m := start(t, mode(cfg, "hello"))
		if err := m.Boot(t.Context(), expectHello); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Channel().Write([]byte("end\n")); err != nil {
			t.Fatal(err)
		}
		exit := wait(t, m, time.Minute)
		if exit.Reason != GuestShutdown || exit.Code != 0 || exit.Err != nil {
			t.Errorf("exit = %+v, want a shutdown by the guest", exit)
		}
	})
}
