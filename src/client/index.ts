/** The client library of dqlited: `import { connect } from 'dqlited'`. See docs/client.md. */
export {
  type ConnectOptions,
  connect,
  Database,
  type Statement,
  type TransactionOptions,
} from './database.ts';
export type { CallOptions } from './deadline.ts';
export { ClientError, type ClientErrorCode } from './errors.ts';
export type { Row, Rows } from './rows.ts';
export type { Result, Transaction } from './transaction.ts';
export type { ColumnValue, Integers, Parameter } from './values.ts';
