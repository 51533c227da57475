package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// report is what a load came to. Times are microseconds; those of operations count the successful ones only.
type report struct {
	Seconds    float64 `json:"seconds"`
	Operations int     `json:"operations"`
	// Writes are those of the operations that changed something.
	Writes int     `json:"writes"`
	P50    float64 `json:"p50Us"`
	P99    float64 `json:"p99Us"`
	Max    float64 `json:"maxUs"`
	// P99Wait is of the times from one success of a connection to its next, attempts that failed in between included;
	// LongestWait is the longest of them.
	P99Wait     float64 `json:"p99WaitUs"`
	LongestWait float64 `json:"longestWaitUs"`
	// Fewest and most operations of any one connection.
	Fewest int            `json:"fewest"`
	Most   int            `json:"most"`
	Errors map[string]int `json:"errors"`
	// ClientCPU is what this program itself used of the processors while it measured.
	ClientCPU float64 `json:"clientCpuUs"`
}

// What one connection did.
type tally struct {
	latencies []time.Duration
	// From one success to the next; the last is cut off by the end.
	waits  []time.Duration
	writes int
	errors map[string]int
}

// How long a connection that broke pauses before it dials again: a server that is gone is not flooded.
const redialPause = 10 * time.Millisecond

// run opens all connections first, and says so in a line; then the clock starts.
func run(connector driver.Connector, work workload, connections int, duration time.Duration) (report, error) {
	ctx := context.Background()
	sessions := make([]*session, connections)
	for i := range sessions {
		var err error
		if sessions[i], err = dial(ctx, connector, work); err != nil {
			return report{}, err
		}
	}
	tallies := make([]tally, connections)
	var all sync.WaitGroup
	fmt.Println("ready")
	used := processorTime()
	begin := time.Now()
	for i := range sessions {
		all.Add(1)
		go func() {
			defer all.Done()
			tallies[i] = repeat(connector, work, sessions[i], begin.Add(duration))
		}()
	}
	all.Wait()
	taken, used := time.Since(begin), processorTime()-used
	result := summary(tallies, taken)
	result.ClientCPU = microseconds(used)
	return result, nil
}

// repeat repeats the operation until `end`. What fails counts as an error, and is followed by the next one at once.
func repeat(connector driver.Connector, work workload, s *session, end time.Time) tally {
	result := tally{errors: map[string]int{}}
	at := time.Now()
	lastSuccess := at
	for at.Before(end) {
		s.writes = 0
		err := work.operation(s)
		now := time.Now()
		if err == nil {
			result.latencies = append(result.latencies, now.Sub(at))
			result.writes += min(1, s.writes)
			result.waits = append(result.waits, now.Sub(lastSuccess))
			lastSuccess = now
		} else {
			result.errors[err.Error()]++
			if errors.Is(err, driver.ErrBadConn) {
				s = redial(connector, work, s, end)
				now = time.Now()
			}
		}
		at = now
	}
	if at != lastSuccess {
		result.waits = append(result.waits, at.Sub(lastSuccess))
	}
	return result
}

func redial(connector driver.Connector, work workload, broken *session, end time.Time) *session {
	_ = broken.connection.Close()
	for time.Now().Before(end) {
		if s, err := dial(broken.ctx, connector, work); err == nil {
			return s
		}
		time.Sleep(redialPause)
	}
	return broken
}

func summary(tallies []tally, taken time.Duration) report {
	result := report{Seconds: taken.Seconds(), Errors: map[string]int{}, Fewest: len(tallies[0].latencies)}
	var latencies, waits []time.Duration
	for _, one := range tallies {
		latencies = append(latencies, one.latencies...)
		waits = append(waits, one.waits...)
		result.Writes += one.writes
		result.Fewest = min(result.Fewest, len(one.latencies))
		result.Most = max(result.Most, len(one.latencies))
		for text, count := range one.errors {
			result.Errors[text] += count
		}
	}
	result.Operations = len(latencies)
	slices.Sort(latencies)
	slices.Sort(waits)
	result.P50 = percentile(latencies, 50)
	result.P99 = percentile(latencies, 99)
	result.Max = percentile(latencies, 100)
	result.P99Wait = percentile(waits, 99)
	result.LongestWait = percentile(waits, 100)
	return result
}

// percentile returns microseconds; 0 when there is nothing.
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return microseconds(sorted[min(len(sorted)*percent/100, len(sorted)-1)])
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func microseconds(duration time.Duration) float64 {
	return float64(duration.Nanoseconds()) / 1000
}
