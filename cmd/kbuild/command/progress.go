// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/runv-legacy/runv-legacy/kernels"
)

// plainInterval is how often a long stage says how far it is where there is no
// terminal: often enough to see it live in a CI log, rarely enough to read.
const plainInterval = 15 * time.Second

// display shows the stages of long work: a bar on a terminal, lines elsewhere.
type display struct {
	mu    sync.Mutex
	w     io.Writer
	tty   bool
	bar   *progressbar.ProgressBar
	stage string
	begun time.Time
	said  time.Time
	now   func() time.Time
}

func newDisplay(w io.Writer) *display {
	f, ok := w.(*os.File)
	return &display{w: w, tty: ok && term.IsTerminal(int(f.Fd())), now: time.Now}
}

// kernels is the display as a [kernels.Progress].
func (d *display) kernels(e kernels.Event) {
	d.event(e.Stage, e.State, e.Done, e.Total, e.Unit, e.Detail)
}

// transfer reports the copying of one image between a store and a registry.
func (d *display) transfer(stage string, done, total int64) {
	state := kernels.Advanced
	d.mu.Lock()
	begun := d.stage == stage
	d.mu.Unlock()
	if !begun {
		state = kernels.Started
	}
	d.event(stage, state, done, total, kernels.UnitBytes, "")
}

func (d *display) event(stage string, state kernels.State, done, total int64, unit, detail string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state {
	case kernels.Started:
		d.end(false)
		d.stage, d.begun, d.said = stage, d.now(), d.now()
		if d.tty {
			d.bar = newBar(d.w, stage, total, unit)
			return
		}
		fmt.Fprintln(d.w, line(stage, detail))
	case kernels.Advanced:
		d.advance(stage, done, total, unit, detail)
	case kernels.Finished:
		if d.stage == stage {
			d.end(true)
		}
	case kernels.Cached:
		d.end(false)
		fmt.Fprintln(d.w, line(stage, "from the cache"))
	case kernels.Waiting:
		d.end(false)
		fmt.Fprintln(d.w, line(stage, "waiting: "+detail))
	}
}

func (d *display) advance(stage string, done, total int64, unit, detail string) {
	if d.bar != nil && d.stage == stage {
		if total > 0 && d.bar.GetMax64() != total {
			d.bar.ChangeMax64(total)
		}
		_ = d.bar.Set64(done)
		return
	}
	if d.tty || d.now().Sub(d.said) < plainInterval {
		return
	}
	d.said = d.now()
	fmt.Fprintln(d.w, line(stage, amount(done, total, unit)))
}

// end closes what is shown of the current stage.
func (d *display) end(finished bool) {
	if d.stage == "" {
		return
	}
	took := d.now().Sub(d.begun).Round(100 * time.Millisecond)
	if d.bar != nil {
		_ = d.bar.Clear()
		d.bar = nil
		if finished {
			fmt.Fprintln(d.w, line(d.stage, fmt.Sprintf("done in %s", took)))
		}
	} else if finished && took >= time.Second {
		fmt.Fprintln(d.w, line(d.stage, fmt.Sprintf("done in %s", took)))
	}
	d.stage = ""
}

// close takes a bar that is still shown off the terminal, so that what is
// printed next starts on a line of its own.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(false)
}

// say prints a line that is no stage.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Clear()
	}
	fmt.Fprintf(d.w, format+"\n", args...)
}

func newBar(w io.Writer, stage string, total int64, unit string) *progressbar.ProgressBar {
	if total == 0 {
		total = -1 // a spinner
	}
	opts := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(fmt.Sprintf("%-10s", stage)),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionClearOnFinish(),
	}
	if unit == kernels.UnitBytes {
		opts = append(opts, progressbar.OptionShowBytes(true))
	} else if unit != "" {
		opts = append(opts, progressbar.OptionShowCount(), progressbar.OptionSetItsString(unit))
	}
	return progressbar.NewOptions64(total, opts...)
}

func line(stage, detail string) string {
	if detail == "" {
		return stage
	}
	return fmt.Sprintf("%-10s %s", stage, detail)
}

func amount(done, total int64, unit string) string {
	show := func(n int64) string { return fmt.Sprint(n) }
	if unit == kernels.UnitBytes {
		show, unit = bytesText, ""
	}
	s := show(done)
	if total > 0 {
		s += " of " + show(total)
	}
	if unit != "" {
		s += " " + unit
	}
	return s
}

// bytesText gives a size in binary units, as `ls -h` does.
func bytesText(n int64) string {
	const k = 1024
	switch {
	case n >= k*k*k:
		return fmt.Sprintf("%.1f GiB", float64(n)/(k*k*k))
	case n >= k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/(k*k))
	case n >= k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	}
	return fmt.Sprintf("%d B", n)
}
