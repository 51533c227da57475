package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand"
	"strings"
)

// The table that is read and updated has as many rows.
const rows = 10_000

// Rows of one range.
const rangeRows = 1000

// Rows of one transaction.
const transactionRows = 10

var text = strings.Repeat("0123456789", 10)

// A session has a connection of its own and the statements that its workload prepared on it.
type session struct {
	ctx        context.Context
	connection *sql.Conn
	statements []*sql.Stmt
	random     *rand.Rand
}

// A workload is the statements that every session prepares, and one operation on them.
type workload struct {
	statements []string
	operation  func(*session) error
}

const (
	insertRow = "INSERT INTO log (text) VALUES (?)"
	updateRow = "UPDATE data SET text = ? WHERE id = ?"
	readRow   = "SELECT text FROM data WHERE id = ?"
	readRange = "SELECT id, text FROM data WHERE id >= ? ORDER BY id LIMIT 1000"
)

var workloads = map[string]workload{
	"insert":      {[]string{insertRow}, insert},
	"update":      {[]string{updateRow}, func(c *session) error { return update(c, c.statements[0]) }},
	"transaction": {[]string{insertRow}, transaction},
	"read":        {[]string{readRow}, func(c *session) error { return read(c, c.statements[0]) }},
	"range":       {[]string{readRange}, scan},
	"mix":         {[]string{readRow, updateRow}, mix},
}

func prepare(db *sql.DB) error {
	ctx := context.Background()
	connection, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	fill := "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO data SELECT i, ? FROM n"
	steps := []struct {
		statement  string
		parameters []any
	}{
		{"CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT)", nil},
		{"CREATE TABLE data (id INTEGER PRIMARY KEY, text TEXT)", nil},
		{fill, []any{rows, text}},
	}
	for _, step := range steps {
		if _, err := connection.ExecContext(ctx, step.statement, step.parameters...); err != nil {
			return fmt.Errorf("%s: %w", step.statement, err)
		}
	}
	return nil
}

func insert(c *session) error {
	_, err := c.statements[0].ExecContext(c.ctx, text)
	return err
}

// A new text each time: SQLite writes nothing when a row stays as it is.
func update(c *session, statement *sql.Stmt) error {
	next := fmt.Sprintf("%016x%s", c.random.Uint64(), text[16:])
	_, err := statement.ExecContext(c.ctx, next, 1+c.random.Intn(rows))
	return err
}

// Twelve round trips: the statements of a connection take part in its transaction.
func transaction(c *session) error {
	tx, err := c.connection.BeginTx(c.ctx, nil)
	if err != nil {
		return err
	}
	for i := 0; i < transactionRows; i++ {
		if err := insert(c); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		return err
	}
	return nil
}

func read(c *session, statement *sql.Stmt) error {
	var found sql.RawBytes
	rows, err := statement.QueryContext(c.ctx, 1+c.random.Intn(rows))
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return fmt.Errorf("no row: %v", rows.Err())
	}
	return rows.Scan(&found)
}

func scan(c *session) error {
	var id int64
	var found sql.RawBytes
	rows, err := c.statements[0].QueryContext(c.ctx, 1+c.random.Intn(rows-rangeRows))
	if err != nil {
		return err
	}
	defer rows.Close()
	count := 0
	for rows.Next() {
		if err := rows.Scan(&id, &found); err != nil {
			return err
		}
		count++
	}
	if rows.Err() == nil && count != rangeRows {
		return fmt.Errorf("%d rows instead of %d", count, rangeRows)
	}
	return rows.Err()
}

func mix(c *session) error {
	if c.random.Intn(10) == 0 {
		return update(c, c.statements[1])
	}
	return read(c, c.statements[0])
}
