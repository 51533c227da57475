import t from 'tap';
import { loadEngine } from '../../src/server/engine-loader.ts';
import { warmUp } from '../../src/sql/warm-up.ts';
import { PageStore } from '../../src/vfs/page-store.ts';

t.test('warming up leaves nothing behind', (t) => {
  const store = new PageStore();
  const engine = loadEngine('sqlite-wasm')(store);
  warmUp(engine, store);
  t.equal(store.livePages, 0);
  t.equal(store.leading, false);
  t.equal(engine.broken, false);
  t.end();
});
