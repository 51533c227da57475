import { randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { UsageError } from '../base/errors.ts';
import type { Engine } from '../sql/engine.ts';
import type { SqliteBuild } from '../sql/engines/build.ts';
import type { EngineHost } from '../sql/engines/host.ts';
import type { EngineLimits } from '../sql/engines/limits.ts';
import { instantiateSqliteWasm } from '../sql/engines/sqlite-wasm.ts';
import { instantiateWaSqlite } from '../sql/engines/wa-sqlite.ts';
import { WasmEngine } from '../sql/engines/wasm-engine.ts';
import type { PageStore } from '../vfs/page-store.ts';

/** The builds of SQLite that can be chosen. */
export const engineNames = ['sqlite-wasm', 'wa-sqlite'] as const;
export type EngineName = (typeof engineNames)[number];

const host: EngineHost = {
  wallClockMs: () => Date.now(),
  randomBytes: (target) => {
    randomFillSync(target);
  },
};

/**
 * Reads and compiles a build of SQLite, once; the result makes engines of it. Each call makes a new WASM instance,
 * so that one that broke can be replaced.
 *
 * @throws UsageError when the package is not installed
 */
export function loadEngine(
  name: EngineName,
  limits: Partial<EngineLimits> = {},
): (store: PageStore) => Engine {
  const instantiate = loadBuild(name);
  return (store) => new WasmEngine(instantiate(), { store, host, limits });
}

function loadBuild(name: EngineName): () => SqliteBuild {
  switch (name) {
    case 'sqlite-wasm': {
      const module = compile(installed('@sqlite.org/sqlite-wasm/sqlite3.wasm'));
      return () => instantiateSqliteWasm(module, host);
    }
    case 'wa-sqlite': {
      const directory = '@journeyapps/wa-sqlite/dist';
      const module = compile(installed(`${directory}/wa-sqlite.wasm`));
      const glue = installed(`${directory}/wa-sqlite.mjs`).toString();
      return () => instantiateWaSqlite(module, glue, host);
    }
  }
}

function compile(bytes: Uint8Array): WebAssembly.Module {
  return new WebAssembly.Module(bytes);
}

function installed(file: string): Buffer {
  try {
    return readFileSync(createRequire(import.meta.url).resolve(file));
  } catch (error) {
    throw new UsageError(
      `SQLite was not found (${file}): run "npm ci" where dqlited is installed`,
      {
        cause: error,
      },
    );
  }
}
