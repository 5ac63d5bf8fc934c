package machine

import (
	"context"
	"fmt"
)

// SmallestMemory finds the least memory, in MiB and between low and high, with
// which boots reports true, by halving. It takes for granted that a guest which
// boots with some memory boots with more. boots is asked about high first; if
// that is false the error wraps [ErrMemoryRange].
func SmallestMemory(ctx context.Context, low, high int, boots func(ctx context.Context, mib int) (bool, error)) (int, error) {
	if low < 1 || high < low {
		return 0, fmt.Errorf("%w: %d to %d MiB is no range", ErrMemoryRange, low, high)
	}
	ok, err := boots(ctx, high)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("%w: it does not boot with %d MiB", ErrMemoryRange, high)
	}
	for low < high {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		middle := low + (high-low)/2
		ok, err := boots(ctx, middle)
		if err != nil {
			return 0, err
		}
		if ok {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return high, nil
}
