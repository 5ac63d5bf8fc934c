package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// copySize is the unit in which output is passed on: a pipe's capacity of
// 2.6.32 (fs/pipe.c, 16 pages) in two.
const copySize = 32 << 10

// stdio joins a job's descriptors to its streams.
type stdio struct {
	child  [3]*os.File // for the job; closed here once it runs
	own    [3]*os.File // this side of the pipes
	tty    *os.File
	stdin  *protocol.Stream
	stdout *protocol.Stream
	stderr *protocol.Stream
}

func connectStdio(conn *protocol.Conn, p protocol.Start) (s *stdio, err error) {
	s = &stdio{}
	defer func() {
		if err != nil {
			s.closeChild()
			s.abandon()
		}
	}()
	for _, want := range []struct {
		id     uint32
		stream **protocol.Stream
		name   string
	}{{p.Stdin, &s.stdin, "stdin"}, {p.Stdout, &s.stdout, "stdout"}, {p.Stderr, &s.stderr, "stderr"}} {
		if want.id == 0 {
			continue
		}
		if *want.stream, err = conn.TakeStream(want.id); err != nil {
			return nil, callError(protocol.CodeInvalid, "%s: %v", want.name, err)
		}
	}
	if p.TTY != nil {
		err = s.openTTY(*p.TTY, int(p.UID))
	} else {
		err = s.openPipes()
	}
	if err != nil {
		return nil, errnoError(err, "connect the job's files")
	}
	return s, nil
}

func (s *stdio) openPipes() (err error) {
	for i, stream := range []*protocol.Stream{s.stdin, s.stdout, s.stderr} {
		switch {
		case stream == nil:
			s.child[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		case i == 0:
			s.child[i], s.own[i], err = os.Pipe()
		default:
			s.own[i], s.child[i], err = os.Pipe()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openTTY makes a terminal (pty(7)): the job's descriptors are its slave.
func (s *stdio) openTTY(size protocol.Size, uid int) error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	s.tty = master
	var unlock, number int32
	if err := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		return fmt.Errorf("unlock the terminal: %w", err)
	}
	if err := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		return fmt.Errorf("find the terminal's number: %w", err)
	}
	if err := setSize(master, size); err != nil {
		return err
	}
	path := "/dev/pts/" + strconv.Itoa(int(number))
	if err := os.Chown(path, uid, -1); err != nil {
		return err
	}
	for i := range s.child {
		if s.child[i], err = os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *stdio) closeChild() {
	for i, f := range s.child {
		if f != nil {
			f.Close()
			s.child[i] = nil
		}
	}
}

// abandon undoes what was prepared for a job that did not start.
func (s *stdio) abandon() {
	for _, f := range append(s.own[:], s.tty) {
		if f != nil {
			f.Close()
		}
	}
	for _, stream := range []*protocol.Stream{s.stdin, s.stdout, s.stderr} {
		if stream != nil {
			stream.Close()
		}
	}
}

// pump passes bytes on until both ends are done.
func (s *stdio) pump(j *job, crash func()) {
	run := func(f func()) {
		go func() {
			defer crash()
			f()
		}()
	}
	input, outputs := s.own[0], [2]*os.File{s.own[1], s.own[2]}
	if s.tty != nil {
		input, outputs[0] = s.tty, s.tty
	}
	if s.stdin != nil {
		run(func() { feed(input, s.stdin, s.tty == nil) })
	}
	for i, stream := range [2]*protocol.Stream{s.stdout, s.stderr} {
		out := outputs[i]
		if out == nil {
			continue
		}
		if stream == nil {
			// A terminal whose output nobody asked for must still drain.
			j.output.Add(1)
			run(func() { defer j.output.Done(); drain(nil, out, false) })
			continue
		}
		j.output.Add(1)
		run(func() { defer j.output.Done(); drain(stream, out, s.tty == nil) })
	}
}

// feed copies the host's bytes to the job. When the job reads no more, the
// host is told. The end of the host's input closes a pipe; on a terminal it
// means nothing, as a terminal has no end.
func feed(w *os.File, stream *protocol.Stream, closeAtEOF bool) {
	_, err := io.CopyBuffer(onlyWriter{w}, onlyReader{stream}, make([]byte, copySize))
	if closeAtEOF {
		w.Close()
	}
	if err != nil {
		stream.Close()
		return
	}
	stream.CloseWrite()
}

// drain copies the job's output to the host, and throws it away once the host
// reads no more: the job then sees no error, as with a terminal that was
// closed, unless it has a pipe, which breaks.
func drain(stream *protocol.Stream, r *os.File, pipe bool) {
	buf := make([]byte, copySize)
	lost := stream == nil
	for {
		n, err := r.Read(buf)
		if n > 0 && !lost {
			if _, werr := stream.Write(buf[:n]); werr != nil {
				lost = true
				if pipe {
					break
				}
			}
		}
		// Besides io.EOF, a terminal whose last slave was closed gives EIO
		// (pty(7)); any other error ends the output as well.
		if err != nil {
			break
		}
	}
	if pipe {
		r.Close()
	}
	if stream != nil {
		stream.Close()
	}
}

// onlyWriter and onlyReader keep io.Copy from splice(2), which cannot be used
// on what is no file.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
