// Writers that insert one row after the other, each row with a number of its own, until standard input ends:
// writer DATABASE TABLE CLIENTS PAUSE_MS ADDRESS[,ADDRESS...]. Prints "ready", then a line for each row:
// "ok NUMBER BEGUN ENDED" (milliseconds since 1970) or "failed NUMBER ERROR".
package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/canonical/go-dqlite/v3/client"
	"github.com/canonical/go-dqlite/v3/driver"
)

// Each row may take so long, the attempts of database/sql and the driver included.
const requestTimeout = 60 * time.Second

func main() {
	database, table := os.Args[1], os.Args[2]
	clients, err := strconv.Atoi(os.Args[3])
	must(err)
	pause, err := strconv.Atoi(os.Args[4])
	must(err)
	addresses := strings.Split(os.Args[5], ",")
	store := client.NewInmemNodeStore()
	nodes := make([]client.NodeInfo, len(addresses))
	for i, address := range addresses {
		nodes[i].Address = address
	}
	must(store.Set(context.Background(), nodes))
	dqlite, err := driver.New(store)
	must(err)
	sql.Register("dqlite-under-test", dqlite)
	db, err := sql.Open("dqlite-under-test", database)
	must(err)
	db.SetMaxIdleConns(clients)
	// The driver repeats a request whose outcome it does not know: the key makes that harmless.
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS " + table + " (value INTEGER PRIMARY KEY)")
	must(err)

	var printing sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, values ...any) {
		printing.Lock()
		defer printing.Unlock()
		_, _ = fmt.Fprintf(out, format+"\n", values...)
		_ = out.Flush()
	}
	say("ready")

	var stop atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop.Store(true)
	}()
	var next atomic.Int64
	var writers sync.WaitGroup
	for range clients {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for !stop.Load() {
				value := next.Add(1)
				begun := now()
				if err := write(db, table, value); err != nil {
					say("failed %d %v", value, err)
				} else {
					say("ok %d %.3f %.3f", value, begun, now())
				}
				time.Sleep(time.Duration(pause) * time.Millisecond)
			}
		}()
	}
	writers.Wait()
}

func write(db *sql.DB, table string, value int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_, err := db.ExecContext(ctx, "INSERT INTO "+table+" VALUES (?) ON CONFLICT DO NOTHING", value)
	return err
}

func now() float64 {
	return float64(time.Now().UnixNano()) / 1e6
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
