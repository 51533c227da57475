import t from 'tap';
import { engineNames, loadEngine } from '../../src/server/engine-loader.ts';
import type { WasmEngine } from '../../src/sql/engines/wasm-engine.ts';
import { PageStore } from '../../src/vfs/page-store.ts';
import { engineConformance } from '../conformance/engine.ts';

for (const name of engineNames) {
  t.test(`the ${name} build is an engine`, (t) => {
    engineConformance(t, {
      make: loadEngine(name),
      makeLimited: (store, limits) => loadEngine(name, limits)(store),
      declaresTypes: name === 'sqlite-wasm',
    });
    t.end();
  });
}

t.test('both builds keep values where rows are read from', (t) => {
  for (const name of engineNames) {
    const store = new PageStore();
    const engine = loadEngine(name)(store) as WasmEngine;
    engine.connect(store.create('probed'));
    t.equal(engine.readsRowsFromMemory, true, name);
  }
  t.end();
});
