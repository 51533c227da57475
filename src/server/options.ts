import {
  address,
  addresses,
  choice,
  flag,
  integer,
  path,
  type SettingKind,
  unsigned64,
} from './setting-kinds.ts';

/** Sections of the configuration reference, in its order. */
export const settingGroups = {
  server: 'This server',
  cluster: 'Cluster',
  storage: 'Storage',
  limits: 'Limits',
  operation: 'Operation',
} as const;

/** One setting: the only description of it in the code base. Flag, variable and file key follow from its name. */
export interface Setting<T = unknown> {
  readonly kind: SettingKind<T>;
  /** Undefined: there is none, and `unset` says what happens instead. */
  readonly fallback: NoInfer<T> | undefined;
  /** What the default is when it is not a value of its own, as the reference says it. */
  readonly unset?: string;
  readonly group: keyof typeof settingGroups;
  /** One sentence without its full stop, for `--help`. */
  readonly doc: string;
  /** Why one would change it, for the reference. */
  readonly note?: string;
}

const hour = 3_600_000;
const gibibyte = 1024 ** 3;

/** A setting with a default. */
function setting<T>(row: Setting<T> & { fallback: NoInfer<T> }): Setting<T> & { fallback: T } {
  return row;
}

/** A setting that may stay unset. */
function optional<T>(row: Omit<Setting<T>, 'fallback'> & { unset: string }) {
  return { ...row, fallback: undefined as T | undefined };
}

/** Every setting of `dqlited start`. The key in camel case names flag, variable and file key. */
export const settings = {
  address: setting({
    kind: address,
    fallback: '127.0.0.1:9001',
    group: 'server',
    doc: 'Address that clients and other servers use for this server',
    note: 'Clients compare it as a string: give exactly what they dial. It is remembered in the data directory; an empty directory takes this one.',
  }),
  listen: optional({
    kind: address,
    unset: 'the address',
    group: 'server',
    doc: 'Where to listen, when it differs from the address',
    note: 'For 0.0.0.0:9001 in a container, say. The address is what others dial.',
  }),
  dataDir: setting({
    kind: path('DIR'),
    fallback: 'data',
    group: 'server',
    doc: 'Directory of the log, the snapshots and the identity of this server',
    note: 'Created when it is missing. An empty one starts a new cluster of this one server, unless --join or --no-bootstrap is given.',
  }),
  id: optional({
    kind: unsigned64(1n),
    unset: '1 for the server that starts a cluster, else generated',
    group: 'server',
    doc: 'Number of this server in the cluster, for its whole life',
    note: 'Remembered in the data directory. A number may never be used again for another server or an emptied directory.',
  }),
  failureDomain: setting({
    kind: unsigned64(0n),
    fallback: 0n,
    group: 'server',
    doc: 'Number of the rack, zone or site: roles are spread over the failure domains',
  }),
  join: optional({
    kind: addresses,
    unset: 'start a new cluster when the directory is empty',
    group: 'cluster',
    doc: 'Servers of the cluster to join; any of them will do',
    note: 'Used only while this server is not yet a member, so it may stay in the file.',
  }),
  bootstrap: setting({
    kind: flag,
    fallback: true,
    group: 'cluster',
    doc: 'Let an empty directory start a new cluster of this one server',
    note: 'Off: the server waits until `dqlited cluster add` names it.',
  }),
  networkLatency: setting({
    kind: integer('MS', 1, hour),
    fallback: 200,
    group: 'cluster',
    doc: 'Longest usual time for a message between servers, in milliseconds',
    note: 'The election timeout is 15 times this, the heartbeat 1.5 times. The same on all servers; the default of 200 gives the 3000 and 300 ms of a plain network.',
  }),
  voters: setting({
    kind: integer('N', 1, 99),
    fallback: 3,
    group: 'cluster',
    doc: 'Wanted number of voters; an odd one',
    note: 'Of n voters (n-1)/2 may fail. Servers beyond voters and standbys are spares.',
  }),
  standbys: setting({
    kind: integer('N', 0, 99),
    fallback: 3,
    group: 'cluster',
    doc: 'Wanted number of standbys, which hold the data and replace lost voters',
  }),
  roleManagement: setting({
    kind: flag,
    fallback: true,
    group: 'cluster',
    doc: 'Let the leader give the members their roles',
    note: 'Off: roles change by `dqlited cluster assign` only. The settings of the server that leads count.',
  }),
  roleInterval: setting({
    kind: integer('MS', 50, hour),
    fallback: 1000,
    group: 'cluster',
    doc: 'How often the leader asks the members how they are, to give them their roles',
    note: 'A member that leaves three questions unanswered and acknowledges nothing is replaced.',
  }),
  slowDiskHandover: setting({
    kind: integer('MS', 0, hour),
    fallback: 5000,
    group: 'cluster',
    doc: 'How long the disk of a leader must be slow until it hands leadership to a quicker voter; 0: never',
    note: 'Slow is an append of 5 ms or more that takes four times as long as a voter takes to answer that it has the same. Then leadership stays where it is for a minute.',
  }),
  snapshotThreshold: setting({
    kind: integer('N', 1, 1_000_000_000),
    fallback: 4096,
    group: 'storage',
    doc: 'Log entries between two snapshots',
    note: 'Fewer make restarts faster and cost more writing.',
  }),
  snapshotTrailing: setting({
    kind: integer('N', 4, 1_000_000_000),
    fallback: 8192,
    group: 'storage',
    doc: 'Log entries kept behind a snapshot; at least the threshold',
    note: 'A server that was away for fewer entries catches up from the log instead of a whole snapshot.',
  }),
  maxLogSize: setting({
    kind: integer('BYTES', 1024 ** 2, 64 * gibibyte),
    fallback: 128 * 1024 ** 2,
    group: 'storage',
    doc: 'Log that makes a snapshot due, and log kept behind a snapshot, in bytes, however few entries it has',
    note: 'The log is held in memory: it takes up to about twice as much.',
  }),
  autoRecovery: setting({
    kind: flag,
    fallback: false,
    group: 'storage',
    doc: 'Move damaged files of the log aside at start instead of refusing to start',
    note: 'May lose acknowledged writes of this server: use it only where other servers hold them.',
  }),
  busyTimeout: setting({
    kind: integer('MS', 0, hour),
    fallback: 5000,
    group: 'limits',
    doc: 'How long a write waits for its turn before "database is locked", in milliseconds',
  }),
  idleTransactionTimeout: setting({
    kind: integer('MS', 0, 24 * hour),
    fallback: 30_000,
    group: 'limits',
    doc: 'How long an open write transaction may idle until it is rolled back; 0: for ever',
    note: 'An open write transaction holds back every other writer of its database.',
  }),
  statementTimeout: setting({
    kind: integer('MS', 0, 24 * hour),
    fallback: 60_000,
    group: 'limits',
    doc: 'How long one statement may run until it is interrupted; 0: for ever',
    note: 'A running statement occupies the server. Raise it before building an index over a large table.',
  }),
  maxConnections: setting({
    kind: integer('N', 1, 1_000_000),
    fallback: 20_000,
    group: 'limits',
    doc: 'Connections at once, of clients and servers; more are closed at once',
    note: 'Each needs a file descriptor: see LimitNOFILE.',
  }),
  maxMessageSize: setting({
    kind: integer('BYTES', 65_536, gibibyte),
    fallback: 64 * 1024 ** 2,
    group: 'limits',
    doc: 'Largest message of a client, in bytes; a longer one closes the connection',
    note: 'Bounds SQL text and parameters of one request.',
  }),
  maxStatementSize: setting({
    kind: integer('BYTES', 1000, gibibyte),
    fallback: 16 * 1024 ** 2,
    group: 'limits',
    doc: 'Longest SQL statement, in bytes; a longer one is "string or blob too big"',
  }),
  maxValueSize: setting({
    kind: integer('BYTES', 4096, gibibyte - 1),
    fallback: 256 * 1024 ** 2,
    group: 'limits',
    doc: 'Longest text, blob or row, in bytes',
  }),
  maxTemporarySize: setting({
    kind: integer('BYTES', 1024 ** 2, 2 ** 40),
    fallback: gibibyte,
    group: 'limits',
    doc: 'Temporary tables, sorters and journals of all connections together, in bytes',
  }),
  maxStatements: setting({
    kind: integer('N', 1, 1_000_000),
    fallback: 10_000,
    group: 'limits',
    doc: 'Prepared statements of one connection',
  }),
  maxDatabases: setting({
    kind: integer('N', 1, 100_000),
    fallback: 1000,
    group: 'limits',
    doc: 'Databases that clients may create',
    note: 'A database is created by opening it; there is no other way to stop a client that opens new names.',
  }),
  maxTransactionPages: setting({
    kind: integer('N', 16, 122_880),
    fallback: 122_880,
    group: 'limits',
    doc: 'Pages of 4096 bytes that one transaction may change',
    note: 'A transaction is one entry of the log and is held in memory whole.',
  }),
  maxUncommittedTransactions: setting({
    kind: integer('N', 1, 1_000_000),
    fallback: 4096,
    group: 'limits',
    doc: 'Transactions of one database on their way to the other servers and the disk; writers wait beyond',
  }),
  maxUncommittedPages: setting({
    kind: integer('N', 1, 1_000_000),
    fallback: 32_768,
    group: 'limits',
    doc: 'Pages of those transactions',
  }),
  maxReturningSize: setting({
    kind: integer('BYTES', 4096, gibibyte),
    fallback: 16 * 1024 ** 2,
    group: 'limits',
    doc: 'Rows of one writing statement (RETURNING), in bytes: they are held until it is committed',
  }),
  queryStallTimeout: setting({
    kind: integer('MS', 0, 24 * hour),
    fallback: 60_000,
    group: 'limits',
    doc: 'How long a client may leave the rows of a query unread until it is abandoned; 0: for ever',
    note: 'An open query keeps old versions of pages in memory.',
  }),
  engine: setting({
    kind: choice(['sqlite-wasm', 'wa-sqlite']),
    fallback: 'sqlite-wasm',
    group: 'storage',
    doc: 'Build of SQLite that runs the statements',
    note: 'wa-sqlite does not tell the types of date and boolean columns to clients.',
  }),
  diskBackend: setting({
    kind: choice(['auto', 'io_uring', 'thread', 'node']),
    fallback: 'auto',
    group: 'storage',
    doc: 'How the log is written: the best way that works here, or exactly one',
  }),
  stopTimeout: setting({
    kind: integer('MS', 0, hour),
    fallback: 10_000,
    group: 'operation',
    doc: 'How long a stopping server waits for requests that are under way',
    note: 'They finish, leadership moves on, then the connections close.',
  }),
  busyPoll: optional({
    kind: integer('US', 0, 10_000),
    unset: '100, and 0 where there is one processor only',
    group: 'operation',
    doc: 'How long after an answer the server stays awake for the next request, in microseconds; 0: not at all',
    note: 'Only while requests come that quickly. It makes clients faster that wait for each answer, and takes processor time that nobody else wants, or that a container has to pay for.',
  }),
  logLevel: setting({
    kind: choice(['error', 'warn', 'info', 'debug', 'trace', 'silent']),
    fallback: 'info',
    group: 'operation',
    doc: 'What is logged to stderr: pretty on a terminal, else one JSON object a line',
  }),
  slowStatement: setting({
    kind: integer('MS', 0, 24 * hour),
    fallback: 1000,
    group: 'operation',
    doc: 'Statements that take longer are logged at level warn, with the beginning of their SQL; 0: none',
    note: 'From the request being looked at to its answer being complete, with what it waited for. Parameters are not logged; values within the SQL are.',
  }),
  config: optional({
    kind: path('FILE'),
    unset: 'no file',
    group: 'operation',
    doc: 'YAML file with settings by their long names, without the dashes',
  }),
} as const satisfies Record<string, Setting<never> | Setting>;

export type SettingName = keyof typeof settings;
type ValueOf<S> = S extends { kind: SettingKind<infer T>; fallback: infer F }
  ? undefined extends F
    ? T | undefined
    : T
  : never;

/** Every setting with its value. */
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof settings)[Name]> };

/** The names in the order of the table. */
export const settingNames = Object.keys(settings) as SettingName[];

/** The row of one setting, with its value type forgotten. */
export function settingOf(name: SettingName): Setting {
  return settings[name] as Setting;
}

/** The key in the configuration file: `data-dir`. */
export function fileKeyOf(name: SettingName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The environment variable: `DQLITED_DATA_DIR`. */
export function variableOf(name: SettingName): string {
  return `DQLITED_${fileKeyOf(name).replaceAll('-', '_').toUpperCase()}`;
}

/** The flag with its placeholder as `--help` shows it; a true default is switched off: `--no-bootstrap`. */
export function flagOf(name: SettingName): string {
  const { kind, fallback } = settingOf(name);
  if (kind.placeholder !== '') return `--${fileKeyOf(name)} <${kind.placeholder}>`;
  return fallback === true ? `--no-${fileKeyOf(name)}` : `--${fileKeyOf(name)}`;
}
