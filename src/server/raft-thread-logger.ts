import type { Logger } from '../base/logger.ts';
import type { RaftChannel } from './raft-channel.ts';
import type { FromRaft, LogLevel } from './raft-messages.ts';

type Fields = Record<string, unknown>;

/** Levels from the most to the least talkative; `silent` is beyond them. */
const levels: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error'];

/** Writes the lines of the Raft thread into the log of the main thread. */
export class ThreadLogger implements Logger {
  readonly #channel: RaftChannel<FromRaft>;
  readonly #lowest: number;
  readonly #level: string;
  readonly #fields: Fields;

  /** @param level lines below it do not leave the thread */
  constructor(channel: RaftChannel<FromRaft>, level: string, fields: Fields = {}) {
    this.#channel = channel;
    this.#level = level;
    this.#lowest = level === 'silent' ? levels.length : levels.indexOf(level);
    this.#fields = fields;
  }

  trace(fields: Fields, message: string): void {
    this.#log('trace', fields, message);
  }

  debug(fields: Fields, message: string): void {
    this.#log('debug', fields, message);
  }

  info(fields: Fields, message: string): void {
    this.#log('info', fields, message);
  }

  warn(fields: Fields, message: string): void {
    this.#log('warn', fields, message);
  }

  error(fields: Fields, message: string): void {
    this.#log('error', fields, message);
  }

  child(fields: Fields): Logger {
    return new ThreadLogger(this.#channel, this.#level, { ...this.#fields, ...fields });
  }

  #log(level: LogLevel, fields: Fields, message: string): void {
    if (levels.indexOf(level) < this.#lowest) return;
    this.#channel.post({ type: 'log', level, fields: { ...this.#fields, ...fields }, message });
  }
}
