import { PassThrough } from 'node:stream';
import t from 'tap';
import { toJson } from '../../src/cli/json.ts';
import { type RowFormat, rowPrinter } from '../../src/cli/row-printers.ts';
import { firstWord, isOpenAfter, mayYieldRows, splitStatements } from '../../src/cli/sql-text.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { textWidth } from '../../src/cli/text-width.ts';
import type { Value } from '../../src/protocol/values.ts';

const values: readonly Value[] = [
  { type: 'integer', value: 9223372036854775807n },
  { type: 'float', value: 1 },
  { type: 'text', value: 'a "b",\n日本' },
  { type: 'blob', value: Buffer.from([0, 255]) },
  { type: 'null' },
  { type: 'iso8601', value: '' },
  { type: 'boolean', value: 1n },
];
const columns = ['integer', 'float', 'text', 'blob', 'null', 'date', 'boolean'];

/** What a printer writes for these rows. */
async function printed(
  format: RowFormat,
  names: readonly string[],
  rows: readonly (readonly Value[])[],
): Promise<string> {
  const out = new PassThrough();
  const terminal: Terminal = {
    in: new PassThrough(),
    out,
    err: new PassThrough(),
    environment: {},
  };
  const printer = rowPrinter(format, terminal);
  await printer.begin(names);
  for (const row of rows) await printer.row(row);
  await printer.end();
  return String(out.read() ?? '');
}

t.test('a text is split at the semicolons that end statements', (t) => {
  const cases: [string, string[], string][] = [
    ['SELECT 1', [], 'SELECT 1'],
    ['SELECT 1;', ['SELECT 1;'], ''],
    ['SELECT \';\'; SELECT ";";', ["SELECT ';';", 'SELECT ";";'], ''],
    ["SELECT 'it''s; fine'; x", ["SELECT 'it''s; fine';"], 'x'],
    ['SELECT [a;b], `c;d`;', ['SELECT [a;b], `c;d`;'], ''],
    ['-- a; b\nSELECT 1; /* c; */ -- d;', ['-- a; b\nSELECT 1;'], ''],
    [';;; SELECT 1 ;;', ['SELECT 1 ;'], ''],
    ["SELECT 'open; ", [], "SELECT 'open;"],
    ['SELECT 1; /* open; ', ['SELECT 1;'], '/* open;'],
    [
      'CREATE TRIGGER a AFTER INSERT ON b BEGIN UPDATE c SET d = 1; DELETE FROM e; END; SELECT 1;',
      [
        'CREATE TRIGGER a AFTER INSERT ON b BEGIN UPDATE c SET d = 1; DELETE FROM e; END;',
        'SELECT 1;',
      ],
      '',
    ],
    [
      'create temp trigger a after insert on b begin select 1;',
      [],
      'create temp trigger a after insert on b begin select 1;',
    ],
  ];
  for (const [sql, statements, rest] of cases)
    t.strictSame(splitStatements(sql), { statements, rest }, sql);
  t.end();
});

t.test('statements that never yield rows are known by their first word', (t) => {
  t.equal(firstWord('  /* x */ -- y\n select 1'), 'SELECT');
  t.equal(mayYieldRows('insert into a values (1)'), false);
  t.equal(mayYieldRows('insert into a values (1) returning id'), true);
  t.equal(mayYieldRows('WITH a AS (SELECT 1) SELECT * FROM a'), true);
  t.equal(mayYieldRows('(SELECT 1)'), true);
  t.end();
});

t.test('the prompt knows whether a transaction is open', (t) => {
  t.equal(isOpenAfter('BEGIN IMMEDIATE', false), true);
  t.equal(isOpenAfter('INSERT INTO a VALUES (1)', true), true);
  t.equal(isOpenAfter('ROLLBACK TO b', true), true);
  t.equal(isOpenAfter('ROLLBACK', true), false);
  t.equal(isOpenAfter('commit;', true), false);
  t.end();
});

t.test(
  'a table aligns numbers to the right and shows NULL, blobs and control characters',
  async (t) => {
    const table = await printed('table', columns, [
      values,
      values.map((): Value => ({ type: 'text', value: 'x' })),
    ]);

    t.equal(
      table,
      [
        '            integer  float  text          blob     null  date  boolean',
        '-------------------  -----  ------------  -------  ----  ----  -------',
        `9223372036854775807    1.0  a "b",\\n日本  x'00ff'  NULL  NULL        1`,
        'x                    x      x             x        x     x     x',
        '',
      ].join('\n'),
    );
  },
);

t.test('JSON keeps all digits, and tells booleans and NULL', async (t) => {
  const json = await printed('json', columns, [values]);

  t.match(json, '"integer": 9223372036854775807,');
  t.strictSame(JSON.parse(json), [
    {
      integer: 2 ** 63,
      float: 1,
      text: 'a "b",\n日本',
      blob: 'AP8=',
      null: null,
      date: null,
      boolean: true,
    },
  ]);
  t.equal(await printed('json', ['a'], []), '[]\n');
});

t.test('CSV quotes what needs it and tells NULL from empty text', async (t) => {
  const rows: Value[][] = [
    [{ type: 'text', value: '' }, { type: 'null' }, { type: 'text', value: 'a,"b"' }],
  ];

  t.equal(await printed('csv', ['a', 'b c', 'd"'], rows), 'a,b c,"d"""\n"",,"a,""b"""\n');
});

t.test('a statement without columns prints nothing in any format', async (t) => {
  for (const format of ['table', 'json', 'csv'] as const)
    t.equal(await printed(format, [], []), '');
});

t.test('toJson prints bigints as numbers and leaves undefined members out', (t) => {
  t.equal(
    toJson({ a: 2n ** 64n - 1n, b: undefined, c: [1, 'x'], d: {} }),
    '{\n  "a": 18446744073709551615,\n  "c": [\n    1,\n    "x"\n  ],\n  "d": {}\n}',
  );
  t.end();
});

t.test('wide and combining characters are measured as terminals show them', (t) => {
  t.equal(textWidth('abc'), 3);
  t.equal(textWidth('日本'), 4);
  t.equal(textWidth('e\u0301'), 1);
  t.equal(textWidth('👩‍👩‍👧'), 2);
  t.end();
});
