import type { Value } from '../protocol/values.ts';
import { isNull, jsonOf, textOf } from './cells.ts';
import { toJson } from './json.ts';
import { dim, print, type Terminal } from './terminal.ts';
import { escaped, textWidth } from './text-width.ts';

/** Prints the rows of one query as they come. */
export interface RowPrinter {
  /** Called once before any row; a statement without columns prints nothing. */
  begin(columns: readonly string[]): Promise<void>;
  row(values: readonly Value[]): Promise<void>;
  end(): Promise<void>;
}

/** The values of `--format`. */
export const rowFormats = ['table', 'json', 'csv'] as const;
export type RowFormat = (typeof rowFormats)[number];

export function rowPrinter(format: RowFormat, terminal: Terminal): RowPrinter {
  const printers = { table: TablePrinter, json: JsonPrinter, csv: CsvPrinter };
  return new printers[format](terminal);
}

/** Rows looked at before the widths of the columns are fixed. */
const ROWS_MEASURED = 500;
/** Wider values are printed whole, but widen no column. */
const WIDEST_COLUMN = 60;

/** Aligned columns; numbers to the right; NULL and blobs are told apart from text. */
class TablePrinter implements RowPrinter {
  readonly #terminal: Terminal;
  #columns: readonly string[] = [];
  #waiting: (readonly Value[])[] = [];
  #widths: number[] | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async begin(columns: readonly string[]): Promise<void> {
    this.#columns = columns.map(escaped);
  }

  async row(values: readonly Value[]): Promise<void> {
    if (this.#widths !== undefined) return print(this.#terminal, this.#line(values));
    this.#waiting.push(values);
    if (this.#waiting.length === ROWS_MEASURED) await this.#flush();
  }

  async end(): Promise<void> {
    if (this.#widths === undefined && this.#columns.length > 0) await this.#flush();
  }

  async #flush(): Promise<void> {
    const widths = this.#columns.map((name, column) => {
      const cells = this.#waiting.map((row) => textWidth(cellText(row[column])));
      return Math.max(
        textWidth(name),
        Math.min(
          WIDEST_COLUMN,
          cells.reduce((a, b) => Math.max(a, b), 0),
        ),
      );
    });
    this.#widths = widths;
    const rightAligned = this.#columns.map((_, i) => isNumeric(this.#waiting[0]?.[i]));
    const header = this.#columns.map((name, i) =>
      align(name, widths[i] ?? 0, rightAligned[i] === true),
    );
    const rule = widths.map((width) => '-'.repeat(width));
    const lines = [header, rule].map((cells) => dim(this.#terminal, cells.join('  ').trimEnd()));
    await print(this.#terminal, `${lines.join('\n')}\n`);
    for (const row of this.#waiting) await print(this.#terminal, this.#line(row));
    this.#waiting = [];
  }

  #line(values: readonly Value[]): string {
    const cells = values.map((value, i) => {
      const cell = align(cellText(value), this.#widths?.[i] ?? 0, isNumeric(value));
      return isNull(value) ? dim(this.#terminal, cell) : cell;
    });
    return `${cells.join('  ').trimEnd()}\n`;
  }
}

function cellText(value: Value | undefined): string {
  return value === undefined || isNull(value) ? 'NULL' : escaped(textOf(value));
}

function isNumeric(value: Value | undefined): boolean {
  return value !== undefined && ['integer', 'float', 'boolean', 'unixTime'].includes(value.type);
}

function align(text: string, width: number, right: boolean): string {
  const blanks = ' '.repeat(Math.max(0, width - textWidth(text)));
  return right ? blanks + text : text + blanks;
}

/** One array of objects for each query. Of columns with the same name only the last is there. */
class JsonPrinter implements RowPrinter {
  readonly #terminal: Terminal;
  #columns: readonly string[] = [];
  #count = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async begin(columns: readonly string[]): Promise<void> {
    this.#columns = columns;
    if (columns.length > 0) await print(this.#terminal, '[');
  }

  async row(values: readonly Value[]): Promise<void> {
    const row = Object.fromEntries(
      values.map((value, i) => [this.#columns[i] ?? '', jsonOf(value)]),
    );
    const separator = this.#count++ === 0 ? '\n' : ',\n';
    const members = Object.entries(row).map(
      ([key, value]) => `${JSON.stringify(key)}: ${toJson(value)}`,
    );
    await print(this.#terminal, `${separator}  {${members.join(', ')}}`);
  }

  async end(): Promise<void> {
    if (this.#columns.length > 0) await print(this.#terminal, this.#count === 0 ? ']\n' : '\n]\n');
  }
}

/** RFC 4180 with a header and line feeds: NULL is an empty field, empty text is `""`. */
class CsvPrinter implements RowPrinter {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async begin(columns: readonly string[]): Promise<void> {
    if (columns.length > 0) await print(this.#terminal, `${columns.map(quoted).join(',')}\n`);
  }

  async row(values: readonly Value[]): Promise<void> {
    const fields = values.map((value) => (isNull(value) ? '' : quoted(textOf(value))));
    await print(this.#terminal, `${fields.join(',')}\n`);
  }

  async end(): Promise<void> {}
}

function quoted(field: string): string {
  return field === '' || /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}
