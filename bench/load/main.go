// A load on a dqlite cluster, through go-dqlite's driver. database/sql, whose own work would count as the servers',
// is left out.
//
//	load prepare ADDRESS[,ADDRESS...]
//	load run ADDRESS[,ADDRESS...] WORKLOAD CONNECTIONS MILLISECONDS
//
// The first makes the tables. The second opens connections, each of which repeats one operation of the workload without
// a pause, prints "ready" when all are open, and what came of it as one line of JSON at the end.
package main

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/canonical/go-dqlite/v3/client"
	dqlite "github.com/canonical/go-dqlite/v3/driver"
)

const database = "bench"

func main() {
	if len(os.Args) < 3 {
		fail("usage: load prepare ADDRESSES | load run ADDRESSES WORKLOAD CONNECTIONS MILLISECONDS")
	}
	connector, err := connectorTo(strings.Split(os.Args[2], ","))
	check(err)
	switch {
	case os.Args[1] == "prepare":
		check(prepare(connector))
	case os.Args[1] == "run" && len(os.Args) == 6:
		work, ok := workloads[os.Args[3]]
		if !ok {
			fail("no such workload: " + os.Args[3])
		}
		connections, err := strconv.Atoi(os.Args[4])
		check(err)
		milliseconds, err := strconv.Atoi(os.Args[5])
		check(err)
		report, err := run(connector, work, connections, time.Duration(milliseconds)*time.Millisecond)
		check(err)
		check(json.NewEncoder(os.Stdout).Encode(report))
	default:
		fail("no such command: " + strings.Join(os.Args[1:], " "))
	}
}

func connectorTo(addresses []string) (driver.Connector, error) {
	store := client.NewInmemNodeStore()
	nodes := make([]client.NodeInfo, len(addresses))
	for i, address := range addresses {
		nodes[i].Address = address
	}
	if err := store.Set(context.Background(), nodes); err != nil {
		return nil, err
	}
	driver, err := dqlite.New(store)
	if err != nil {
		return nil, err
	}
	return driver.OpenConnector(database)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "load: "+message)
	os.Exit(1)
}
