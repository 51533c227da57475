import t from 'tap';
import type { Connection, Engine } from '../../src/sql/engine.ts';
import { request } from '../support/wire.ts';
import { type Client, Harness, show } from './harness.ts';

/** An engine that counts what clients make it compile. */
function counting(compiled: string[]): (engine: Engine) => Engine {
  const watch = (connection: Connection): Connection => {
    const prepare = connection.prepare.bind(connection);
    connection.prepare = (sql, offset = 0) => {
      if (offset === 0) compiled.push(Buffer.from(sql).toString());
      return prepare(sql, offset);
    };
    return connection;
  };
  return (engine) => {
    const connect = engine.connect.bind(engine);
    engine.connect = (database, use) => watch(connect(database, use));
    return engine;
  };
}

async function prepared(): Promise<{ client: Client; harness: Harness; compiled: string[] }> {
  const compiled: string[] = [];
  const harness = new Harness({ wrapEngine: counting(compiled) });
  const client = await harness.open();
  t.equal(await client.exec('CREATE TABLE t (a, b)'), 'result 0 0');
  compiled.length = 0;
  return { client, harness, compiled };
}

t.test('what is run by its text is compiled once', async (t) => {
  const { client, compiled } = await prepared();
  const insert = 'INSERT INTO t VALUES (?, ?)';
  const select = 'SELECT a, b FROM t WHERE a = ?';
  for (let i = 1; i <= 3; i++) {
    t.equal(await client.exec(insert, i, `row ${i}`), `result ${i} 1`);
    t.equal(await client.query(select, i), `${i}|row ${i}`);
  }
  t.same(compiled, [insert, select]);
});

t.test('parameters of the request before are not seen by the next', async (t) => {
  const { client } = await prepared();
  await client.exec('INSERT INTO t VALUES (?, ?)', 1, 'one');
  t.equal(await client.exec('INSERT INTO t VALUES (?, ?)', 2), 'result 2 1');
  t.equal(await client.query('SELECT a, b IS NULL FROM t WHERE a = ?', 2), '2|1');
});

t.test('a text means what a newly compiled one would mean', async (t) => {
  const { client, harness } = await prepared();
  const other = await harness.open();
  const all = 'SELECT * FROM t';
  await client.exec('INSERT INTO t VALUES (1, 2)');
  t.equal(await client.query(all), '1|2');
  t.match(await other.exec('ALTER TABLE t ADD COLUMN c DEFAULT 3'), /^result/);
  t.equal(await client.query(all), '1|2|3', 'another column');
  t.match(await other.exec('DROP TABLE t'), /^result/, 'a kept statement keeps nothing locked');
  t.match(await client.query(all), /failure 1 no such table: t/, 'no table');
  t.match(await other.exec('CREATE VIEW t AS SELECT 7'), /^result/);
  t.equal(await client.query(all), '7', 'a view');
  t.match(await client.exec('CREATE TEMP TABLE t (x)'), /^result/);
  t.equal(await client.query(all), '', 'a temporary table in front of it');
  t.match(await client.exec('DROP TABLE temp.t'), /^result/);
  t.equal(await client.query(all), '7', 'and away again');
});

t.test('a pragma that changes the meaning of a text is obeyed by the next request', async (t) => {
  const { client } = await prepared();
  await client.exec('CREATE TABLE parent (id INTEGER PRIMARY KEY)');
  await client.exec('CREATE TABLE child (id REFERENCES parent)');
  const insert = 'INSERT INTO child VALUES (?)';
  await client.exec('PRAGMA foreign_keys = off');
  t.equal(await client.exec(insert, 1), 'result 1 1');
  await client.exec('PRAGMA foreign_keys = on');
  t.match(await client.exec(insert, 2), /failure 787 FOREIGN KEY constraint failed/);
});

t.test('a statement that fails can be run again', async (t) => {
  const { client, compiled } = await prepared();
  await client.exec('CREATE UNIQUE INDEX u ON t (a)');
  const insert = 'INSERT INTO t VALUES (?, 0)';
  t.equal(await client.exec(insert, 1), 'result 1 1');
  t.match(await client.exec(insert, 1), /failure 2067/);
  t.equal(await client.exec(insert, 2), 'result 2 1');
  t.equal(compiled.filter((sql) => sql === insert).length, 1);
});

t.test('texts of several statements, long ones and pragmas are compiled each time', async (t) => {
  const { client, harness, compiled } = await prepared();
  const texts = [
    'INSERT INTO t VALUES (1, 1); INSERT INTO t VALUES (2, 2)',
    `SELECT 1 -- ${'long '.repeat(200)}`,
    'PRAGMA user_version',
  ];
  for (const text of [...texts, ...texts]) await client.query(text);
  for (const text of [...texts, ...texts]) await client.exec(text);
  t.equal(compiled.filter((sql) => texts.includes(sql)).length, 4 * texts.length);
  t.equal(harness.gateway.statementCaches.count, 0);
});

t.test(
  'a session keeps the texts that it used last, all sessions together no more than allowed',
  async (t) => {
    const compiled: string[] = [];
    const limits = {
      maxCachedStatementsPerSession: 2,
      maxCachedStatements: 5,
      maxReadersPerDatabase: 0,
    };
    const harness = new Harness({ limits, wrapEngine: counting(compiled) });
    const { statementCaches } = harness.gateway;
    const clients = [await harness.open(), await harness.open(), await harness.open()];
    for (const client of clients) {
      for (const sql of ['SELECT 1', 'SELECT 2', 'SELECT 1', 'SELECT 3']) await client.query(sql);
    }
    t.equal(statementCaches.count, 5, 'the first client gave one up');
    compiled.length = 0;
    for (const sql of ['SELECT 3', 'SELECT 1']) await clients[1]?.query(sql);
    t.same(compiled, []);
    await clients[0]?.query('SELECT 1');
    t.same(compiled, ['SELECT 1']);
    for (const client of clients) client.session.close();
    t.equal(statementCaches.count, 0);
  },
);

t.test('the statement of a query under way is not taken away', async (t) => {
  const limits = {
    maxCachedStatementsPerSession: 1,
    maxCachedStatementsPerReader: 1,
    maxCachedStatements: 1,
  };
  const harness = new Harness({ limits });
  const [reader, other] = [await harness.open(), await harness.open()];
  const many =
    'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 50000) SELECT x FROM c';
  t.equal((await reader.query(many)).split(' ').length, 50_000);
  reader.send(request.querySql(many));
  t.equal(await other.query('SELECT 1'), '1');
  const rows = (await reader.rows()).split(' ');
  t.equal(rows.length, 50_000);
  t.equal(harness.gateway.statementCaches.count, 1);
});

t.test('with 0 nothing is kept', async (t) => {
  const harness = new Harness({
    limits: { maxCachedStatementsPerSession: 0, maxCachedStatementsPerReader: 0 },
  });
  const client = await harness.open();
  client.send(request.querySql('SELECT 1'), request.querySql('SELECT 1'));
  t.equal(show(await client.next()), 'rows 1 done');
  t.equal(harness.gateway.statementCaches.count, 0);
});
