import t from 'tap';
import { printedPages } from '../../scripts/docs.ts';

t.test('pages say what the code says (npm run docs brings them in step)', (t) => {
  for (const { file, present, wanted } of printedPages()) t.equal(present, wanted, file);
  t.end();
});
