import { execFileSync } from 'node:child_process';
import t from 'tap';
import { heapGrowthOption } from '../../src/server/heap-growth.ts';

t.test('this V8 knows the option that lets heaps grow', async (t) => {
  const options = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
  const [name] = heapGrowthOption.split('=');
  t.ok(options.includes(`${name} (`), `${name} is gone: decision 11 has to be made anew`);
});
