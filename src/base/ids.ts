declare const brand: unique symbol;
type Branded<T, Name> = T & { readonly [brand]: Name };

/** 1-based position in the log; 0 means "before the first entry". */
export type Index = Branded<number, 'Index'>;

/** Raft's logical clock: at most one leader for each (Raft paper, section 5.1). */
export type Term = Branded<number, 'Term'>;

/** Names a server for its whole life; chosen by the operator, 64 bits on the wire, never 0. */
export type ServerId = Branded<bigint, 'ServerId'>;

/** Milliseconds on a clock that only goes forward, with a fraction. Compare only instants of one host. */
export type Instant = Branded<number, 'Instant'>;
