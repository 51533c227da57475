package main

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
)

// The table that is read and updated has as many rows.
const dataRows = 10_000

// Rows of one range.
const rangeRows = 1000

// Rows of one transaction.
const transactionRows = 10

// A row is an integer and a text as long as this one.
var text = strings.Repeat("0123456789", 10)

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
	"update":      {[]string{updateRow}, func(s *session) error { return update(s, s.statements[0]) }},
	"transaction": {[]string{insertRow}, transaction},
	"read":        {[]string{readRow}, func(s *session) error { return read(s, s.statements[0], 1, dataRows) }},
	"range":       {[]string{readRange}, func(s *session) error { return read(s, s.statements[0], rangeRows, dataRows-rangeRows) }},
	"mix":         {[]string{readRow, updateRow}, mix},
}

func prepare(connector driver.Connector) error {
	ctx := context.Background()
	s, err := dial(ctx, connector, workload{})
	if err != nil {
		return err
	}
	fill := "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO data SELECT i, ? FROM n"
	steps := []struct {
		statement  string
		parameters []driver.Value
	}{
		{"CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT)", nil},
		{"CREATE TABLE data (id INTEGER PRIMARY KEY, text TEXT)", nil},
		{fill, []driver.Value{int64(dataRows), text}},
	}
	for _, step := range steps {
		if _, err := s.connection.ExecContext(ctx, step.statement, s.bind(step.parameters)); err != nil {
			return fmt.Errorf("%s: %w", step.statement, err)
		}
	}
	return nil
}

func insert(s *session) error {
	s.writes++
	return s.exec(s.statements[0], text)
}

// A new text each time: SQLite writes nothing when a row stays as it is.
func update(s *session, prepared statement) error {
	s.writes++
	next := fmt.Sprintf("%016x%s", s.random.Uint64(), text[16:])
	return s.exec(prepared, next, 1+s.random.Int63n(dataRows))
}

// Twelve round trips.
func transaction(s *session) error {
	tx, err := s.connection.BeginTx(s.ctx, driver.TxOptions{})
	if err != nil {
		return err
	}
	for i := 0; i < transactionRows; i++ {
		if err := insert(s); err != nil {
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

func read(s *session, prepared statement, wanted int, from int64) error {
	count, err := s.query(prepared, 1+s.random.Int63n(from))
	if err == nil && count != wanted {
		return fmt.Errorf("%d rows instead of %d", count, wanted)
	}
	return err
}

func mix(s *session) error {
	if s.random.Intn(10) == 0 {
		return update(s, s.statements[1])
	}
	return read(s, s.statements[0], 1, dataRows)
}
