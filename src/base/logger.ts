type Fields = Record<string, unknown>;

/** What the code uses of pino. Messages are constant text; values go into the fields. */
export interface Logger {
  trace(fields: Fields, message: string): void;
  debug(fields: Fields, message: string): void;
  info(fields: Fields, message: string): void;
  warn(fields: Fields, message: string): void;
  error(fields: Fields, message: string): void;
  /** A logger that adds `fields` to each of its lines. */
  child(fields: Fields): Logger;
}

/** Says nothing: for tests. */
export const nullLogger: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => nullLogger,
};
