/** A value of a row as it travelled: the type code tells 9 (unix time), 10 (ISO 8601) and 11 (boolean) apart. */
export interface WireValue {
  readonly code: number;
  readonly value: null | number | bigint | string | Buffer;
}

/** A ROWS body taken apart. */
export interface WireRows {
  readonly names: readonly string[];
  readonly rows: readonly (readonly WireValue[])[];
  /** What ends this message. */
  readonly marker: 'done' | 'part';
  /** Where blobs are padded: a server may send anything there. Offsets in the body, end excluded. */
  readonly paddings: readonly (readonly [from: number, to: number])[];
}

const DONE = 0xffffffffffffffffn;
const PART = 0xeeeeeeeeeeeeeeeen;

/** Takes the body of a ROWS response apart. Throws when a byte is not where the protocol has it. */
export function decodeRows(body: Buffer): WireRows {
  const cursor = new Cursor(body);
  const names: string[] = [];
  const columns = Number(cursor.word());
  for (let i = 0; i < columns; i++) names.push(cursor.text());
  const rows: WireValue[][] = [];
  for (;;) {
    const word = cursor.peek();
    if (word === DONE || word === PART) {
      cursor.word();
      if (cursor.left !== 0) throw new Error(`${cursor.left} bytes after the marker`);
      return { names, rows, marker: word === DONE ? 'done' : 'part', paddings: cursor.paddings };
    }
    rows.push(cursor.row(columns));
  }
}

class Cursor {
  readonly paddings: [number, number][] = [];
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  peek(): bigint {
    return this.#bytes.readBigUInt64LE(this.#at);
  }

  word(): bigint {
    const word = this.peek();
    this.#at += 8;
    return word;
  }

  text(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new Error('text without its closing zero');
    const value = this.#bytes.toString('utf8', this.#at, end);
    this.#at += Math.ceil((end - this.#at + 1) / 8) * 8;
    return value;
  }

  blob(): Buffer {
    const size = Number(this.word());
    const value = this.#bytes.subarray(this.#at, this.#at + size);
    const end = this.#at + Math.ceil(size / 8) * 8;
    if (value.length !== size) throw new Error('blob longer than the message');
    this.paddings.push([this.#at + size, end]);
    this.#at = end;
    return value;
  }

  row(columns: number): WireValue[] {
    const codes = this.#at;
    this.#at += Math.ceil(Math.ceil(columns / 2) / 8) * 8;
    const row: WireValue[] = [];
    for (let i = 0; i < columns; i++) {
      const pair = this.#bytes.readUInt8(codes + (i >> 1));
      const code = i % 2 === 0 ? pair & 15 : pair >> 4;
      row.push({ code, value: this.#value(code) });
    }
    return row;
  }

  #value(code: number): WireValue['value'] {
    switch (code) {
      case 1:
      case 9:
      case 11:
        return BigInt.asIntN(64, this.word());
      case 2: {
        const value = this.#bytes.readDoubleLE(this.#at);
        this.#at += 8;
        return value;
      }
      case 3:
      case 10:
        return this.text();
      case 4:
        return this.blob();
      case 5:
        this.word();
        return null;
      default:
        throw new Error(`type code ${code} in a row`);
    }
  }
}
