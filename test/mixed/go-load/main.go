// Writes to a database of a cluster, one row after the other, until its standard input ends, and reads them back:
// load DATABASE ADDRESS[,ADDRESS...]. Prints one line when it has begun and its report, one line of JSON, at the end.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/canonical/go-dqlite/v3/client"
	"github.com/canonical/go-dqlite/v3/driver"
)

// Each request may take so long, the attempts of database/sql and the driver included.
const requestTimeout = 20 * time.Second

type report struct {
	// Rows 1 to Acknowledged were written, but for those of Failed.
	Acknowledged int `json:"acknowledged"`
	// Writes that were refused while a server of 1.11 handed over leadership, and repeated.
	Repeated int      `json:"repeated"`
	Failed   []string `json:"failed"`
	// Reads that did not see exactly what was acknowledged.
	Wrong []string `json:"wrong"`
}

func main() {
	database, addresses := os.Args[1], strings.Split(os.Args[2], ",")
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
	_, err = db.Exec("CREATE TABLE load (n INTEGER PRIMARY KEY, at TEXT)")
	must(err)
	fmt.Println("ready")

	var stop atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop.Store(true)
	}()
	result := report{Failed: []string{}, Wrong: []string{}}
	for n := 1; !stop.Load(); n++ {
		write(db, n, &result)
		if n%10 == 0 {
			read(db, &result)
		}
		time.Sleep(5 * time.Millisecond)
	}
	read(db, &result)
	must(json.NewEncoder(os.Stdout).Encode(result))
}

// What a server of 1.11 answers to a write while it hands over leadership: not executed.
const handingOver = 7

// A row is written at most once, however often the driver repeats a request whose outcome it does not know.
func write(db *sql.DB, n int, result *report) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	query := "INSERT INTO load (n, at) VALUES (?, ?) ON CONFLICT DO NOTHING"
	for {
		_, err := db.ExecContext(ctx, query, n, time.Now().String())
		var answer driver.Error
		if errors.As(err, &answer) && answer.Code == handingOver {
			result.Repeated++
			continue
		}
		if err != nil {
			result.Failed = append(result.Failed, fmt.Sprintf("row %d: %v", n, err))
			return
		}
		break
	}
	result.Acknowledged++
}

func read(db *sql.DB, result *report) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var count int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM load").Scan(&count); err != nil {
		result.Failed = append(result.Failed, fmt.Sprintf("read: %v", err))
	} else if count != result.Acknowledged && len(result.Failed) == 0 {
		result.Wrong = append(result.Wrong, fmt.Sprintf("%d rows, %d acknowledged", count, result.Acknowledged))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
