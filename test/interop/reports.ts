/** What the programs under `go/` and `python/` report of a server that works. */

const goErrors = [
  '1555 UNIQUE constraint failed: strict_ones.id',
  '2067 UNIQUE constraint failed: strict_ones.u',
  '1299 NOT NULL constraint failed: strict_ones.n',
  '275 CHECK constraint failed: c < 5',
  '1 no such table: absent',
  '1 near "nonsense": syntax error',
];

const values = ['-9223372036854775808', '9223372036854775807', 1.5, 'hé\nllo', '0001ff', 0];

/** Of the Go programs. `parameters` is how many one statement had. */
export function goReport(database: string, parameters: number): Record<string, unknown> {
  return {
    types: [1, 1, ...values, false, true, 1700000000, true, false],
    columnTypes: ['INTEGER', 'FLOAT', 'TEXT', 'BLOB', 'NULL', 'TIME', 'TIME', 'BOOL'],
    manyParameters: (parameters * (parameters - 1)) / 2,
    prepared: 2870,
    commit: 10,
    rollback: 30,
    manyRows: [20000, 200010000],
    closedEarly: 1,
    errors: goErrors,
    canceled: 1,
    writers: { rows: 200, locked: false },
    client: {
      leader: true,
      nodes: 1,
      role: 'voter',
      weight: 42,
      files: [database, `${database}-wal`],
      image: 'SQLite format 3',
    },
  };
}

/** Of the Python program. */
export function pythonReport(database: string): Record<string, unknown> {
  return {
    client: {
      insert: [1, 1],
      types: [...values, null, true, false],
      manyRows: [20000, 200010000, 'row 20000'],
      transactions: 10,
      errors: [
        '1555 UNIQUE constraint failed: numbers.n',
        '1 no such table: absent',
        '1 near "nonsense": syntax error',
      ],
      canceled: 1,
    },
    writers: 80,
    cluster: {
      leader: true,
      nodes: ['0'],
      weight: 42,
      files: [database, `${database}-wal`],
      image: 'SQLite format 3',
    },
    dbapi: {
      rowid: 7,
      names: ['id', 'at', 'day', 'unix'],
      types: [7, true, '2026-02-03 00:00:00', '2023-11-14 22:13:20+00:00'],
      total: 11,
      failure: '1555 UNIQUE constraint failed: events.id',
    },
    sqlalchemy: {
      books: 30,
      types: [true, true, '0001'],
      other: false,
      joined: 30,
      failure: 'IntegrityError',
      afterDelete: 0,
    },
  };
}
