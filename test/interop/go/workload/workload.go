// Package workload does with database/sql what applications do, and reports what came back. It knows no driver.
package workload

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Driver is what the steps need to know of the driver under test.
type Driver struct {
	// ErrorCode returns the result code that the driver carries in an error.
	ErrorCode func(error) (int, bool)
	// Parameters is how many parameters one statement may have.
	Parameters int
}

// Report has one entry for each step, in the words of the test that reads it.
type Report map[string]any

// Print writes the report as one line of JSON.
func (r Report) Print() {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err)
	}
}

// Run carries out all steps. A step that fails reports its error in place of its result.
func Run(db *sql.DB, driver Driver) Report {
	report := Report{}
	steps := []struct {
		name string
		run  func(*sql.DB, Driver) (any, error)
	}{
		{"types", types},
		{"columnTypes", columnTypes},
		{"manyParameters", manyParameters},
		{"prepared", prepared},
		{"commit", commit},
		{"rollback", rollback},
		{"manyRows", manyRows},
		{"closedEarly", closedEarly},
		{"errors", errorCodes},
		{"canceled", canceled},
		{"writers", writers},
	}
	for _, step := range steps {
		result, err := step.run(db, driver)
		if err != nil {
			result = fmt.Sprintf("failed: %v", err)
		}
		report[step.name] = result
	}
	return report
}

func types(db *sql.DB, _ Driver) (any, error) {
	_, err := db.Exec("CREATE TABLE kinds (low INTEGER, high INTEGER, r REAL, t TEXT, b BLOB, empty BLOB, n TEXT, at DATETIME, unix DATETIME, yes BOOLEAN, no BOOLEAN)")
	if err != nil {
		return nil, err
	}
	at := time.Date(2026, 2, 3, 4, 5, 6, 789000000, time.FixedZone("", 3600))
	result, err := db.Exec("INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		int64(math.MinInt64), int64(math.MaxInt64), 1.5, "hé\nllo", []byte{0, 1, 255}, []byte{}, nil, at, 1700000000, true, false)
	if err != nil {
		return nil, err
	}
	id, _ := result.LastInsertId()
	affected, _ := result.RowsAffected()
	var low, high int64
	var r float64
	var t string
	var b, empty []byte
	var n sql.NullString
	var iso, unix time.Time
	var yes, no bool
	err = db.QueryRow("SELECT * FROM kinds").Scan(&low, &high, &r, &t, &b, &empty, &n, &iso, &unix, &yes, &no)
	if err != nil {
		return nil, err
	}
	return []any{id, affected, fmt.Sprint(low), fmt.Sprint(high), r, t, hex.EncodeToString(b), len(empty), n.Valid,
		iso.Equal(at), unix.Unix(), yes, no}, nil
}

func columnTypes(db *sql.DB, _ Driver) (any, error) {
	rows, err := db.Query("SELECT low, r, t, b, n, at, unix, yes FROM kinds")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, column := range columns {
		names = append(names, column.DatabaseTypeName())
	}
	return names, nil
}

func manyParameters(db *sql.DB, driver Driver) (any, error) {
	arguments := make([]any, driver.Parameters)
	for i := range arguments {
		arguments[i] = int64(i)
	}
	var sum int64
	err := db.QueryRow("SELECT ?"+strings.Repeat("+?", len(arguments)-1), arguments...).Scan(&sum)
	return sum, err
}

func prepared(db *sql.DB, _ Driver) (any, error) {
	if _, err := db.Exec("CREATE TABLE numbers (n INTEGER PRIMARY KEY, square INTEGER)"); err != nil {
		return nil, err
	}
	insert, err := db.Prepare("INSERT INTO numbers VALUES (?, ?)")
	if err != nil {
		return nil, err
	}
	defer insert.Close()
	for i := 1; i <= 20; i++ {
		if _, err := insert.Exec(i, i*i); err != nil {
			return nil, err
		}
	}
	read, err := db.Prepare("SELECT square FROM numbers WHERE n = ?")
	if err != nil {
		return nil, err
	}
	defer read.Close()
	sum := 0
	for i := 1; i <= 20; i++ {
		var square int
		if err := read.QueryRow(i).Scan(&square); err != nil {
			return nil, err
		}
		sum += square
	}
	return sum, nil
}

func commit(db *sql.DB, _ Driver) (any, error) {
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	for i := 100; i < 110; i++ {
		if _, err := tx.Exec("INSERT INTO numbers VALUES (?, 0)", i); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return count(db, "SELECT count(*) FROM numbers WHERE n >= 100")
}

func rollback(db *sql.DB, _ Driver) (any, error) {
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec("DELETE FROM numbers"); err != nil {
		return nil, err
	}
	if err := tx.Rollback(); err != nil {
		return nil, err
	}
	return count(db, "SELECT count(*) FROM numbers")
}

const series = "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 20000) SELECT x, 'row ' || x FROM s"

func manyRows(db *sql.DB, _ Driver) (any, error) {
	rows, err := db.Query(series)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	total, sum := 0, 0
	for rows.Next() {
		var x int
		var text string
		if err := rows.Scan(&x, &text); err != nil {
			return nil, err
		}
		if text != fmt.Sprintf("row %d", x) {
			return nil, fmt.Errorf("row %d has %q", x, text)
		}
		total, sum = total+1, sum+x
	}
	return []int{total, sum}, rows.Err()
}

// closedEarly leaves the rows of a query unread: the driver sends INTERRUPT, and the connection goes on.
func closedEarly(db *sql.DB, _ Driver) (any, error) {
	connection, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	rows, err := connection.QueryContext(context.Background(), series)
	if err != nil {
		return nil, err
	}
	rows.Next()
	if err := rows.Close(); err != nil {
		return nil, err
	}
	var one int
	err = connection.QueryRowContext(context.Background(), "SELECT 1").Scan(&one)
	return one, err
}

func errorCodes(db *sql.DB, driver Driver) (any, error) {
	if _, err := db.Exec("CREATE TABLE strict_ones (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL, c CHECK (c < 5))"); err != nil {
		return nil, err
	}
	if _, err := db.Exec("INSERT INTO strict_ones VALUES (1, 1, 1, 1)"); err != nil {
		return nil, err
	}
	statements := []string{
		"INSERT INTO strict_ones VALUES (1, 2, 1, 1)",
		"INSERT INTO strict_ones VALUES (2, 1, 1, 1)",
		"INSERT INTO strict_ones VALUES (2, 2, NULL, 1)",
		"INSERT INTO strict_ones VALUES (2, 2, 1, 9)",
		"INSERT INTO absent VALUES (1)",
		"nonsense",
	}
	codes := []string{}
	for _, statement := range statements {
		_, err := db.Exec(statement)
		code, ok := driver.ErrorCode(err)
		if !ok {
			return nil, fmt.Errorf("%s: %v", statement, err)
		}
		codes = append(codes, fmt.Sprintf("%d %v", code, err))
	}
	return codes, nil
}

// canceled gives up on a query by its context; the next query works.
func canceled(db *sql.DB, _ Driver) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var n int
	slow := "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT 4000000) SELECT count(*) FROM s"
	err := db.QueryRowContext(ctx, slow).Scan(&n)
	if err == nil {
		return nil, errors.New("the query ended before its deadline")
	}
	return count(db, "SELECT 1")
}

// writers insert at once; one that finds the database locked tries again. Counts rows and such tries.
func writers(db *sql.DB, driver Driver) (any, error) {
	if _, err := db.Exec("CREATE TABLE written (writer INTEGER, n INTEGER)"); err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	var locked atomic.Int64
	failures := make(chan error, 8)
	for writer := 0; writer < 8; writer++ {
		group.Add(1)
		go func(writer int) {
			defer group.Done()
			for n := 0; n < 25; {
				_, err := db.Exec("INSERT INTO written VALUES (?, ?)", writer, n)
				if code, _ := driver.ErrorCode(err); code == 5 {
					locked.Add(1)
				} else if err != nil {
					failures <- err
					return
				} else {
					n++
				}
			}
		}(writer)
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return nil, err
	}
	rows, err := count(db, "SELECT count(DISTINCT writer * 100 + n) FROM written")
	return map[string]any{"rows": rows, "locked": locked.Load() > 0}, err
}

func count(db *sql.DB, query string) (int, error) {
	var n int
	err := db.QueryRow(query).Scan(&n)
	return n, err
}
