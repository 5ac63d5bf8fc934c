package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// server answers one host's requests.
type server struct {
	conn  *protocol.Conn
	ready chan struct{} // closed once conn is set
	jobs  *jobs
	off   chan<- protocol.Poweroff
	crash func()
}

func callError(code protocol.Code, format string, args ...any) error {
	return &protocol.CallError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// errnoError gives an error of the kernel its code.
func errnoError(err error, doing string) error {
	var call *protocol.CallError
	if errors.As(err, &call) {
		return err
	}
	code := protocol.CodeInternal
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ENOENT, syscall.ESRCH, syscall.ENOTDIR, syscall.ENXIO:
			code = protocol.CodeNotFound
		case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOEXEC:
			code = protocol.CodeAccess
		case syscall.EINVAL, syscall.ENAMETOOLONG, syscall.EISDIR, syscall.ELOOP:
			code = protocol.CodeInvalid
		case syscall.ENODEV, syscall.ENOSYS, syscall.EOPNOTSUPP:
			code = protocol.CodeUnsupported
		case syscall.EBUSY:
			code = protocol.CodeBusy
		case syscall.EEXIST:
			code = protocol.CodeConflict
		}
	}
	return callError(code, "%s: %v", doing, err)
}

// handle dispatches a request.
func (s *server) handle(ctx context.Context, method string, params json.RawMessage) (any, error) {
	defer s.crash()
	<-s.ready
	switch method {
	case protocol.MethodConfigure:
		return call(params, func(p protocol.Configure) (any, error) { return nil, configure(p) })
	case protocol.MethodMount:
		return call(params, func(p protocol.Mount) (any, error) { return nil, mount(ctx, p) })
	case protocol.MethodUnmount:
		return call(params, func(p protocol.Unmount) (any, error) { return nil, unmount(p) })
	case protocol.MethodStart:
		return call(params, func(p protocol.Start) (any, error) { return s.jobs.start(s.conn, p) })
	case protocol.MethodSignal:
		return call(params, func(p protocol.Signal) (any, error) { return nil, s.jobs.signal(p) })
	case protocol.MethodResize:
		return call(params, func(p protocol.Resize) (any, error) { return nil, s.jobs.resize(p) })
	case protocol.MethodWait:
		return call(params, func(p protocol.JobRef) (any, error) { return s.jobs.wait(ctx, p.ID) })
	case protocol.MethodPing:
		return call(params, ping)
	case protocol.MethodReadFile:
		return call(params, readFile)
	case protocol.MethodWriteFile:
		return call(params, func(p protocol.WriteFile) (any, error) { return nil, writeFile(p) })
	case protocol.MethodStats:
		return call(params, func(p protocol.StatsRequest) (any, error) { return stats("/proc", p, s.jobs.names()) })
	case protocol.MethodPoweroff:
		return call(params, func(p protocol.Poweroff) (any, error) { return nil, s.poweroff(ctx, p) })
	}
	return nil, callError(protocol.CodeUnknown, "this guest has no method %q", method)
}

// call decodes the parameters strictly enough: fields that this version does
// not know come from a later host, which then must not rely on them.
func call[P any](params json.RawMessage, f func(P) (any, error)) (any, error) {
	var p P
	if len(params) > 0 {
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, callError(protocol.CodeInvalid, "parameters: %v", err)
		}
	}
	return f(p)
}

func ping(p protocol.Ping) (any, error) {
	if len(p.Data) > 4096 {
		return nil, callError(protocol.CodeTooLarge, "data: over 4096 bytes")
	}
	return p, nil
}

// poweroff lets the machine end once its answer is on the way, which is when
// ctx ends.
func (s *server) poweroff(ctx context.Context, p protocol.Poweroff) error {
	if p.GraceMillis < 0 || p.GraceMillis > 600_000 {
		return callError(protocol.CodeInvalid, "graceMillis: %d is not within 0 and 600000", p.GraceMillis)
	}
	go func() {
		defer s.crash()
		<-ctx.Done()
		select {
		case s.off <- p:
		default: // it is powering off already
		}
	}()
	return nil
}
