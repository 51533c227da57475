import type { Index, ServerId, Term } from '../base/ids.ts';

/** Voters elect and commit; standbys hold the log without counting; spares hold nothing. */
export type Role = 'voter' | 'standby' | 'spare';

/** One member of the cluster. `address` is compared as a string, byte for byte. */
export interface Server {
  readonly id: ServerId;
  readonly address: string;
  readonly role: Role;
}

/** The members, in the order in which they were added. */
export interface Configuration {
  readonly servers: readonly Server[];
}

/** One entry of the log. `data` is a whole number of 8-byte words, at least one. */
export interface Entry {
  readonly index: Index;
  readonly term: Term;
  readonly type: 'command' | 'barrier' | 'change';
  readonly data: Buffer;
}
