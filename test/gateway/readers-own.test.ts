import t from 'tap';
import { request } from '../support/wire.ts';
import type { Client } from './harness.ts';
import { type Observed, observed } from './readers-harness.ts';

/** What must run on the connection of its session. */
async function opened(): Promise<{ seen: Observed; one: Client; two: Client }> {
  const seen = observed();
  const [one, two] = [await seen.harness.open(), await seen.harness.open()];
  await one.exec('CREATE TABLE t (a)');
  await one.exec("INSERT INTO t VALUES ('a'), ('B')");
  seen.ran.length = 0;
  return { seen, one, two };
}

t.test('a temporary table in front of a table is seen by its session alone', async (t) => {
  const { one, two } = await opened();
  const count = 'SELECT count(*) FROM t';
  t.equal(await one.query(count), '2');
  await one.exec('CREATE TEMP TABLE t (x)');
  t.equal(await one.query(count), '0');
  t.equal(await two.query(count), '2');
  await one.exec('INSERT INTO temp.t VALUES (1)');
  t.equal(await one.query(count), '1');
});

const temporary = [
  'CREATE TABLE temp.t (x)',
  'CREATE TEMP VIEW t AS SELECT 1 WHERE 0',
  'CREATE TEMP TABLE t AS SELECT 1 WHERE 0',
  'CREATE VIRTUAL TABLE temp.t USING fts5(x)',
];
for (const text of temporary) {
  t.test(text, async (t) => {
    const { one, two } = await opened();
    for (const client of [one, two]) {
      client.send(request.prepare('SELECT count(*) FROM t'));
      await client.expect('statement');
    }
    t.match(await one.exec(text), /^result/);
    for (const client of [one, two]) client.send(request.query(0, []));
    t.equal(await one.rows(), '0');
    t.equal(await two.rows(), '2');
  });
}

t.test('an attached schema is seen by its session alone', async (t) => {
  const { one, two } = await opened();
  t.match(await one.exec("ATTACH '' AS more"), /^result/);
  t.match(await one.exec('CREATE TABLE more.u (a)'), /^result/);
  t.equal(await one.query('SELECT count(*) FROM u'), '0');
  t.equal(await two.query('SELECT count(*) FROM u'), 'failure 1 no such table: u');
});

t.test('a setting counts for its session alone', async (t) => {
  const { seen, one, two } = await opened();
  const like = "SELECT a FROM t WHERE a LIKE 'b'";
  const all = 'SELECT a FROM t';
  t.equal(await one.query(like), 'B');
  await one.exec('PRAGMA case_sensitive_like = on');
  await one.exec('PRAGMA reverse_unordered_selects = on');
  for (let i = 0; i < 2; i++) {
    t.equal(await one.query(like), '');
    t.equal(await two.query(like), 'B');
    t.equal(await one.query(all), 'B a');
    t.equal(await two.query(all), 'a B');
  }
  await one.query('PRAGMA table_info(t)');
  await two.query('PRAGMA table_info(t)');
  await two.exec('PRAGMA foreign_keys = off');
  await two.exec('PRAGMA cache_size = 7');
  seen.ran.length = 0;
  t.equal(await two.query(all), 'a B');
  t.same(seen.ran, [`reader 1: ${all}`], 'of those no query can tell');
  t.equal(await two.query('SELECT * FROM pragma_foreign_keys'), '0');
  t.equal(await two.query('SELECT * FROM pragma_cache_size'), '7');
  t.equal(await one.query('SELECT * FROM pragma_foreign_keys'), '1');
});

t.test('a database that is opened again is plain again', async (t) => {
  const { seen, one } = await opened();
  await one.exec('PRAGMA case_sensitive_like = on');
  seen.harness.consensus.loseLeadership();
  seen.harness.consensus.lead();
  one.send(request.open('test.db'));
  await one.expect('database');
  seen.ran.length = 0;
  t.equal(await one.query("SELECT a FROM t WHERE a LIKE 'b'"), 'B');
  t.match(seen.ran, [/^reader/]);
});

t.test('what a connection did is told by that connection', async (t) => {
  const { one, two } = await opened();
  await one.exec('CREATE VIEW v AS SELECT changes() AS a, last_insert_rowid(), total_changes()');
  await two.query('SELECT 1');
  t.equal(await one.exec("INSERT INTO t VALUES ('c'), ('d'), ('e')"), 'result 5 3');
  const texts = [
    'SELECT changes(), last_insert_rowid(), total_changes()',
    'SELECT * FROM v',
    'WITH x AS (SELECT * FROM v) SELECT * FROM x ORDER BY 1',
  ];
  for (const text of texts) {
    for (let i = 0; i < 2; i++) {
      t.equal(await one.query(text), '3|5|5');
      t.equal(await two.query(text), '0|0|0');
    }
  }
  t.equal(await one.query('SELECT (SELECT max(a) FROM v)'), '3');
  t.equal(await one.query('SELECT a FROM t WHERE rowid = (SELECT a FROM v)'), 'c');
  one.send(request.prepare('SELECT changes()'));
  await one.expect('statement');
  one.send(request.query(0, []));
  t.equal(await one.rows(), '3');
});

t.test('also when that comes into a statement after it was compiled', async (t) => {
  const { one, two } = await opened();
  await one.exec('CREATE VIEW v AS SELECT 0');
  const text = 'SELECT * FROM v';
  for (const client of [one, two]) {
    t.equal(await client.query(text), '0');
    client.send(request.prepare(text));
    await client.expect('statement');
    client.send(request.query(0, []));
    t.equal(await client.rows(), '0');
  }
  await one.exec('DROP VIEW v');
  await one.exec('CREATE VIEW v AS SELECT total_changes()');
  for (const client of [one, two, one]) {
    client.send(request.query(0, []), request.querySql(text));
    const changes = client === one ? '2' : '0';
    t.equal(await client.rows(), changes);
    t.equal(await client.rows(), changes);
  }
});

const ownTables = [
  'SELECT * FROM pragma_data_version',
  'SELECT count(*) FROM pragma_data_version',
  'SELECT 1 FROM PRAGMA_data_version',
  'SELECT 1 IN pragma_data_version',
  'SELECT * FROM t, pragma_table_info(a)',
  'SELECT exists (SELECT 1 FROM pragma_cache_spill)',
  'WITH x AS (SELECT 1 FROM Pragma_cache_spill) SELECT count(*) FROM x',
  'SELECT count(*) FROM sqlite_stmt',
  "SELECT count(*) FROM bytecode('SELECT 1')",
  "SELECT count(*) FROM tables_used('SELECT 1')",
  'SELECT * FROM pragma_optimize',
];
for (const text of ownTables) {
  t.test(text, async (t) => {
    const { seen, one } = await opened();
    for (let i = 0; i < 2; i++) t.notMatch(await one.query(text), /failure/);
    t.notMatch(seen.ran.join(), /reader/);
    await one.exec(`CREATE VIEW w AS ${text}`);
    await one.query('SELECT * FROM w');
    t.notMatch(seen.ran.join(), /reader/);
  });
}

t.test('every function that the reader runs is known', async (t) => {
  const { one } = await opened();
  const names = (await one.query('SELECT DISTINCT name FROM pragma_function_list')).split(' ');
  const own = names.filter((name) => /changes|insert_rowid|connection|extension/.test(name));
  t.same(own.sort(), ['changes', 'last_insert_rowid', 'total_changes']);
  const modules = (await one.query('SELECT name FROM pragma_module_list')).split(' ');
  t.same(
    modules.filter((name) => !name.startsWith('pragma_')).sort(),
    'bytecode dbstat fts5 fts5vocab rtree rtree_i32 sqlite_dbpage sqlite_stmt tables_used'.split(
      ' ',
    ),
    'a module that shows something of its connection belongs into src/sql/connection-uses.ts',
  );
});
