// Runs the workload on go-dqlite 1: main ADDRESS DATABASE
package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"time"

	"github.com/canonical/go-dqlite/client"
	"github.com/canonical/go-dqlite/driver"
	"workload"
)

func main() {
	address, database := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()

	store := client.NewInmemNodeStore()
	must(store.Set(ctx, []client.NodeInfo{{Address: address}}))
	dqlite, err := driver.New(store)
	must(err)
	sql.Register("dqlite-under-test", dqlite)
	db, err := sql.Open("dqlite-under-test", database)
	must(err)
	defer db.Close()

	report := workload.Run(db, workload.Driver{ErrorCode: errorCode, Parameters: 200})
	report["client"] = cluster(ctx, address, database)
	report.Print()
}

func errorCode(err error) (int, bool) {
	var failure driver.Error
	if errors.As(err, &failure) {
		return failure.Code, true
	}
	return 0, false
}

// cluster goes through the requests of the client package.
func cluster(ctx context.Context, address, database string) map[string]any {
	dqlite, err := client.New(ctx, address)
	must(err)
	defer dqlite.Close()
	leader, err := dqlite.Leader(ctx)
	must(err)
	nodes, err := dqlite.Cluster(ctx)
	must(err)
	must(dqlite.Weight(ctx, 42))
	metadata, err := dqlite.Describe(ctx)
	must(err)
	files, err := dqlite.Dump(ctx, database)
	must(err)
	return map[string]any{
		"leader": leader.Address == address,
		"nodes":  len(nodes),
		"role":   nodes[0].Role.String(),
		"weight": metadata.Weight,
		"files":  []string{files[0].Name, files[1].Name},
		"image":  string(files[0].Data[:15]),
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
