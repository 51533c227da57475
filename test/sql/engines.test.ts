import t from 'tap';
import { engineNames, loadEngine } from '../../src/server/engine-loader.ts';
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
