import { engineNames, loadEngine } from '../../src/server/engine-loader.ts';
import { Bench, failureOf } from '../conformance/engine-bench.ts';
for (const name of engineNames) {
  const cases: [string, string][] = [
    ['sum 400k', 'SELECT ' + '1+'.repeat(400_000) + '1'],
    ['parens 400k', 'SELECT ' + '('.repeat(400_000) + '1' + ')'.repeat(400_000)],
    ['not 200k', 'SELECT ' + 'NOT '.repeat(200_000) + '1'],
    ['minus', 'SELECT ' + '- '.repeat(400_000) + '1'],
    ['case', 'SELECT ' + 'CASE WHEN 1 THEN '.repeat(30_000) + '1' + ' END'.repeat(30_000)],
    ['func', 'SELECT ' + 'abs('.repeat(200_000) + '1' + ')'.repeat(200_000)],
    ['subq', 'SELECT ' + '(SELECT '.repeat(60_000) + '1' + ')'.repeat(60_000)],
    ['from subq', 'SELECT * FROM ' + '(SELECT * FROM '.repeat(50_000) + 't' + ')'.repeat(50_000)],
    ['compound', 'SELECT 1' + ' UNION ALL SELECT 1'.repeat(50_000)],
    ['and', 'SELECT 1 FROM t WHERE ' + 'a=1 AND '.repeat(100_000) + '1'],
    ['or', 'SELECT 1 FROM t WHERE ' + 'a=1 OR '.repeat(100_000) + '1'],
    ['concat', "SELECT " + "'a'||".repeat(150_000) + "'a'"],
    ['json', `SELECT json('${'['.repeat(400_000)}${']'.repeat(400_000)}')`],
    ['like', `SELECT '${'a'.repeat(1000)}' LIKE '${'%a'.repeat(400)}b'`],
    ['glob', `SELECT hex(zeroblob(5000)) GLOB '${'*0'.repeat(1000)}1'`],
    ['values', 'VALUES(1)' + ',(1)'.repeat(200_000)],
    ['cte', 'WITH ' + Array.from({length: 3000}, (_, i) => `c${i} AS (SELECT * FROM ${i ? 'c' + (i - 1) : 't'})`).join(',') + ' SELECT * FROM c2999'],
    ['in', 'SELECT 1 IN (' + '1,'.repeat(300_000) + '1)'],
    ['collate', "SELECT 1 " + 'COLLATE NOCASE '.repeat(60_000)],
    ['json path', `SELECT json_extract('{}', '$${'.a'.repeat(200_000)}')`],
    ['printf', "SELECT length(printf('%.*c', 100000000, 'x'))"],
    ['printf2', "SELECT length(printf('%1000000000d', 1))"],
    ['group_concat', "WITH RECURSIVE q(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM q WHERE i<1000) SELECT length(group_concat(zeroblob(1000000))) FROM q"],
    ['randomblob', "SELECT length(randomblob(1000000000))"],
    ['replace', "SELECT length(replace(hex(zeroblob(1000000)),'0',hex(zeroblob(1000))))"],
    ['fts', "CREATE VIRTUAL TABLE f USING fts5(x); SELECT * FROM f WHERE f MATCH '" + '('.repeat(100_000) + "a" + ')'.repeat(100_000) + "'"],
    ['fts or', "CREATE VIRTUAL TABLE f USING fts5(x); SELECT * FROM f WHERE f MATCH '" + 'a OR '.repeat(50_000) + "a'"],
    ['trigger rec', "PRAGMA recursive_triggers=1; CREATE TABLE r(a); CREATE TRIGGER rt AFTER INSERT ON r BEGIN INSERT INTO r VALUES(new.a+1); END; INSERT INTO r VALUES(1)"],
    ['view rec', "CREATE TEMP VIEW v1 AS SELECT * FROM v2; CREATE TEMP VIEW v2 AS SELECT * FROM v1; SELECT * FROM v1"],
    ['view chain', Array.from({length: 1200}, (_, i) => `CREATE TEMP VIEW w${i} AS SELECT * FROM ${i ? 'w' + (i - 1) : 't'}`).join(';') + '; SELECT * FROM w1199'],
    ['cols', 'SELECT ' + '1,'.repeat(200_000) + '1'],
    ['index expr', 'CREATE TABLE ie(a); CREATE INDEX ix ON ie(' + '('.repeat(50000) + 'a' + ')'.repeat(50000) + ')'],
  ];
  for (const [label, sql] of cases) {
    const bench = new Bench(loadEngine(name)); const [a] = bench.connectAll(1);
    const t0 = performance.now(); let out: unknown;
    let stop = performance.now() + 5000; a!.inner.onProgress(() => performance.now() > stop);
    try { out = failureOf(() => a!.run(sql))?.join(' ') ?? 'ok'; } catch (e) { out = 'BROKEN ' + (e as Error).message + ' / ' + String((e as Error).cause).slice(0, 80); }
    bench.engine.discard();
    console.log(name, label, String(out).slice(0, 160), Math.round(performance.now() - t0), 'ms', Math.round(bench.engine.memoryBytes / 1048576), 'MiB');
  }
}
