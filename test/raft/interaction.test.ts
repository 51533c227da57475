import { runScripts } from '../support/datadriven.ts';
import { ScriptedCluster } from './scripted-cluster.ts';

runScripts(new URL('interaction', import.meta.url).pathname, () => {
  const cluster = new ScriptedCluster();
  return (directive) => cluster.run(directive);
});
