package main

import (
	"context"
	"database/sql/driver"
	"io"
	"math/rand"
)

// A connection of the driver.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
}

// A statement of the driver.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// A session is a connection and the statements that its workload prepared on it. Once in use it allocates little.
type session struct {
	ctx        context.Context
	connection connection
	statements []statement
	random     *rand.Rand
	parameters [2]driver.NamedValue
	columns    [2]driver.Value
	// Operations that wrote.
	writes int
}

func dial(ctx context.Context, connector driver.Connector, work workload) (*session, error) {
	opened, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{ctx: ctx, connection: opened.(connection), random: rand.New(rand.NewSource(rand.Int63()))}
	for _, text := range work.statements {
		prepared, err := s.connection.PrepareContext(ctx, text)
		if err != nil {
			_ = s.connection.Close()
			return nil, err
		}
		s.statements = append(s.statements, prepared.(statement))
	}
	return s, nil
}

func (s *session) exec(prepared statement, parameters ...driver.Value) error {
	_, err := prepared.ExecContext(s.ctx, s.bind(parameters))
	return err
}

// query reads all rows and returns how many there were.
func (s *session) query(prepared statement, parameters ...driver.Value) (int, error) {
	rows, err := prepared.QueryContext(s.ctx, s.bind(parameters))
	if err != nil {
		return 0, err
	}
	columns := s.columns[:len(rows.Columns())]
	for count := 0; ; count++ {
		if err := rows.Next(columns); err != nil {
			if closed := rows.Close(); err == io.EOF {
				err = closed
			}
			return count, err
		}
	}
}

func (s *session) bind(parameters []driver.Value) []driver.NamedValue {
	for i, value := range parameters {
		s.parameters[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return s.parameters[:len(parameters)]
}
