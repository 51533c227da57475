import type { Test } from 'tap';
import type { EngineMaker } from './engine-bench.ts';
import { failureConformance, type LimitedEngineMaker } from './engine-failures.ts';
import { leadershipConformance } from './engine-leadership.ts';
import { replicationConformance } from './engine-replication.ts';
import { rowBatchConformance } from './engine-row-batches.ts';
import { rowConformance } from './engine-rows.ts';
import { settingsConformance } from './engine-settings.ts';
import { transactionConformance } from './engine-transactions.ts';
import { valueConformance } from './engine-values.ts';

/** A build under test, and what it cannot do. */
export interface EngineUnderTest {
  readonly make: EngineMaker;
  readonly makeLimited: LimitedEngineMaker;
  /** The build knows declared types of columns. */
  readonly declaresTypes: boolean;
}

/** What every build of SQLite behind the `Engine` port must do. */
export function engineConformance(
  t: Test,
  { make, makeLimited, declaresTypes }: EngineUnderTest,
): void {
  transactionConformance(t, make);
  leadershipConformance(t, make);
  replicationConformance(t, make);
  valueConformance(t, make, declaresTypes);
  rowConformance(t, make);
  rowBatchConformance(t, make);
  settingsConformance(t, make);
  failureConformance(t, make, makeLimited);
}
