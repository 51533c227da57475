// Numbers of SQLite's C interface that the VFS speaks (https://www.sqlite.org/rescode.html).

/** Result codes, extended ones included. */
export const resultCode = {
  ok: 0,
  error: 1,
  busy: 5,
  noMemory: 7,
  ioError: 10,
  notFound: 12,
  full: 13,
  cannotOpen: 14,
  auth: 23,
  range: 25,
  row: 100,
  done: 101,
  busySnapshot: 517,
  shortRead: 522,
  ioErrorWrite: 778,
  /** dqlite's own: IOERR | 40 << 8. */
  notLeader: 10250,
  /** dqlite's own: IOERR | 41 << 8. */
  leadershipLost: 10506,
} as const;

/** Locks of a database file, in the order in which a transaction takes them. */
export const lockLevel = { none: 0, shared: 1, reserved: 2, pending: 3, exclusive: 4 } as const;

/** Bits that xOpen is called with. */
export const openFlag = { readWrite: 0x2, create: 0x4, mainDatabase: 0x100 } as const;

/** Operations of xFileControl. */
export const fileControl = {
  pragma: 14,
  commitPhaseTwo: 22,
  beginAtomic: 31,
  rollbackAtomic: 33,
} as const;

/** Bit of xDeviceCharacteristics: several writes between two file controls happen as one. */
export const batchAtomic = 0x4000;
