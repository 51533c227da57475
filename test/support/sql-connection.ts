import { handshake, type Parameter, request, WireConnection } from './wire.ts';
import { decodeRows, type WireValue } from './wire-rows.ts';

/** The server answered FAILURE. */
export class WireFailure extends Error {
  override readonly name = 'WireFailure';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** The connection ended, or nothing came in time: whether the request was carried out is not known. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** A connection with one database open; requests one after the other. */
export class SqlConnection {
  readonly wire: WireConnection;
  /** How long an answer may take. */
  timeoutMs = 20_000;

  private constructor(wire: WireConnection) {
    this.wire = wire;
  }

  /** Connects, opens `database`. Throws WireFailure or NoAnswer. */
  static async open(port: number, database: string): Promise<SqlConnection> {
    const connection = new SqlConnection(await WireConnection.connect(port));
    connection.wire.send(handshake);
    await connection.call(request.open(database));
    return connection;
  }

  /** Sends one request and returns the body of its (first) response. */
  async call(message: Buffer): Promise<Buffer> {
    this.wire.send(message);
    return this.next();
  }

  /** The body of the next response. */
  async next(): Promise<Buffer> {
    const received = await this.wire.receive(this.timeoutMs);
    if (received.kind !== 'message') {
      this.wire.destroy();
      throw new NoAnswer(received.kind);
    }
    const body = received.bytes.subarray(8);
    if (received.bytes[4] === 0) throw failureOf(body);
    return body;
  }

  async exec(
    sql: string,
    values: readonly Parameter[] = [],
  ): Promise<{ lastInsertId: bigint; rowsAffected: bigint }> {
    const body = await this.call(request.execSql(sql, values));
    return { lastInsertId: body.readBigInt64LE(0), rowsAffected: body.readBigInt64LE(8) };
  }

  /** All rows of a query, their values without type codes. */
  async query(sql: string, values: readonly Parameter[] = []): Promise<WireValue['value'][][]> {
    const rows: WireValue['value'][][] = [];
    let body = await this.call(request.querySql(sql, values));
    for (;;) {
      const batch = decodeRows(body);
      for (const row of batch.rows) rows.push(row.map(({ value }) => value));
      if (batch.marker === 'done') return rows;
      body = await this.next();
    }
  }

  close(): void {
    this.wire.destroy();
  }
}

/** The code and text of a FAILURE body. */
export function failureOf(body: Buffer): WireFailure {
  const end = body.indexOf(0, 8);
  return new WireFailure(Number(body.readBigUInt64LE(0)), body.toString('utf8', 8, end));
}
