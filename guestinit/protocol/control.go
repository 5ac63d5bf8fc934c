package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// message is every control message: a call has id and method, its answer the
// id with result or error, an event has event; cancel withdraws a call.
type message struct {
	ID     uint64          `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *CallError      `json:"error,omitempty"`
	Event  string          `json:"event,omitempty"`
	Cancel uint64          `json:"cancel,omitempty"`
}

// Call asks the peer and waits for its answer, which is decoded into result
// unless that is nil. If ctx ends first the request is withdrawn. A failure
// that the peer reports is a *CallError.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("%s: encode parameters: %w", method, err)
	}
	answer := make(chan message, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return fmt.Errorf("%s: %w", method, c.err)
	}
	c.lastCall++
	id := c.lastCall
	c.calls[id] = answer
	c.mu.Unlock()

	if err := c.send(ctx, message{ID: id, Method: method, Params: raw}, true); err != nil {
		c.forget(id)
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, c.Err())
		case m.Error != nil:
			m.Error.Method = method
			return m.Error
		case result == nil:
			return nil
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			return fmt.Errorf("%s: %w: answer: %w", method, ErrMessage, err)
		}
		return nil
	case <-ctx.Done():
		c.forget(id)
		// Without waiting, as ctx is over; a backlog only means that the
		// peer is not told.
		_ = c.send(ctx, message{Cancel: id}, false)
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

func (c *Conn) forget(id uint64) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
}

// Notify sends an event. Events arrive in order, after the control messages
// sent before them.
func (c *Conn) Notify(ctx context.Context, event string, params any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("event %s: encode: %w", event, err)
	}
	if err := c.send(ctx, message{Event: event, Params: raw}, true); err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	return nil
}

func (c *Conn) send(ctx context.Context, m message, wait bool) error {
	doc, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.enqueue(ctx, doc, wait)
}

// receiveControl gathers the parts of a message and acts on it.
func (c *Conn) receiveControl(h header, payload []byte) error {
	if len(c.partial)+len(payload) > MaxMessage {
		return fmt.Errorf("%w: longer than %d bytes", ErrMessage, MaxMessage)
	}
	if h.flags&flagMore != 0 || len(c.partial) > 0 {
		c.partial = append(c.partial, payload...)
		if h.flags&flagMore != 0 {
			return nil
		}
		payload, c.partial = c.partial, nil
	}
	var m message
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	c.mu.Lock()
	c.heard = time.Now()
	c.mu.Unlock()
	switch {
	case m.Event != "":
		if c.opts.OnEvent != nil {
			c.opts.OnEvent(m.Event, m.Params)
		}
		return nil
	case m.Cancel != 0:
		c.mu.Lock()
		cancel := c.serving[m.Cancel]
		c.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		return nil
	case m.ID == 0:
		return fmt.Errorf("%w: neither id nor event", ErrMessage)
	case m.Method != "":
		return c.serve(m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.calls[m.ID]; ok { // else it was withdrawn
		delete(c.calls, m.ID)
		answer <- m
	}
	return nil
}

// serve starts a handler for a request, or answers at once that it will not.
func (c *Conn) serve(m message) error {
	refuse := func(code Code, text string) error {
		e := &CallError{Code: code, Message: text}
		return c.send(c.ctx, message{ID: m.ID, Error: e}, false)
	}
	if c.opts.Handler == nil {
		return refuse(CodeUnknown, "this side answers no requests")
	}
	c.mu.Lock()
	_, twice := c.serving[m.ID]
	busy := len(c.serving) >= c.opts.MaxRequests
	if twice || busy {
		c.mu.Unlock()
		if twice {
			return fmt.Errorf("%w: request id %d is in use", ErrMessage, m.ID)
		}
		return refuse(CodeBusy, fmt.Sprintf("%d requests are being handled; ask again", c.opts.MaxRequests))
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.serving[m.ID] = cancel
	c.mu.Unlock()
	go c.handle(ctx, m)
	return nil
}

// handle counts as serving until the answer is queued, so that its context
// tells a handler that has more to do after that.
func (c *Conn) handle(ctx context.Context, m message) {
	answer := c.answer(ctx, m)
	if err := c.send(c.ctx, answer, true); err != nil && errors.Is(err, ErrTooLong) {
		answer = message{ID: m.ID, Error: &CallError{Code: CodeTooLarge, Message: "the answer is over a message's limit"}}
		_ = c.send(c.ctx, answer, true) // else the session is over
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving[m.ID]()
	delete(c.serving, m.ID)
}

func (c *Conn) answer(ctx context.Context, m message) message {
	result, err := c.opts.Handler(ctx, m.Method, m.Params)
	if err == nil {
		var raw json.RawMessage
		if raw, err = json.Marshal(result); err == nil {
			return message{ID: m.ID, Result: raw}
		}
	}
	var call *CallError
	switch {
	case errors.As(err, &call):
		// A copy, as the wire has no place for what surrounds it.
		call = &CallError{Code: call.Code, Message: call.Message}
	case ctx.Err() != nil:
		call = &CallError{Code: CodeCanceled, Message: "the request was withdrawn"}
	default:
		call = &CallError{Code: CodeInternal, Message: err.Error()}
	}
	return message{ID: m.ID, Error: call}
}
