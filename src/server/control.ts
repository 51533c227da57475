import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join, relative } from 'node:path';
import { PackrStream, UnpackrStream } from 'msgpackr';
import { UsageError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** Questions that a daemon answers on its control socket, and their answers. */
export interface ControlAnswers {
  status: Status;
}

/** What `dqlited status` shows. Ids are bigints, absent things undefined. */
export type Status = {
  readonly version: string;
  readonly processId: number;
  readonly uptimeMs: number;
  readonly id: bigint;
  readonly address: string;
  readonly listen: string;
  readonly dataDir: string;
  /** SQLite build, and what the log is written with. */
  readonly engine: string;
  readonly disk: string;
  /** Why the log is not written in a better way; empty when there is none. */
  readonly diskReason: string;
  /** The disk is full: writes are refused until there is space. */
  readonly lacksSpace: boolean;
  readonly state: string;
  readonly role: string | undefined;
  readonly term: number;
  readonly leader: { readonly id: bigint; readonly address: string } | undefined;
  readonly ready: boolean;
  /** Why there is no leader, in one sentence; undefined when there is one. */
  readonly noLeaderBecause: string | undefined;
  /** Why the databases of this server do not follow the log any more; undefined when they do. */
  readonly stoppedBecause: string | undefined;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly snapshotIndex: number;
  readonly connections: number;
  readonly databases: readonly string[];
  readonly servers: readonly ServerStatus[];
};

/** One member of the cluster as this server sees it. */
export type ServerStatus = {
  readonly id: bigint;
  readonly address: string;
  readonly role: string;
  /** Whether a link to it is up; undefined for this server itself. */
  readonly connected: boolean | undefined;
  /** Newest entry known to be on its disk; only a leader knows. */
  readonly matchIndex: number | undefined;
};

type Question = keyof ControlAnswers;
type Handlers = { readonly [Q in Question]: () => ControlAnswers[Q] | Promise<ControlAnswers[Q]> };

const SOCKET_NAME = 'control.sock';
/** A control connection asks one question; whoever sends more than this is not our CLI. */
const MAX_CONTROL_CONNECTIONS = 16;

/**
 * Plain maps, so that anything that speaks msgpack can ask; bigints come back as bigints. A new object each
 * time: the streams write into it.
 */
function packing(): { useRecords: boolean; largeBigIntToFloat: boolean } {
  return { useRecords: false, largeBigIntToFloat: false };
}

/**
 * Answers on a unix socket in the data directory: whoever may read the directory may ask. Frames are
 * msgpack values, one question and one answer.
 */
export async function serveControl(
  directory: string,
  handlers: Handlers,
  logger: Logger,
): Promise<{ close(): void }> {
  const path = socketPath(directory);
  await rm(path, { force: true });
  const server = createServer((socket) => answer(socket, handlers, logger));
  server.maxConnections = MAX_CONTROL_CONNECTIONS;
  await listening(server, path);
  return {
    close() {
      server.close();
    },
  };
}

function answer(socket: Socket, handlers: Handlers, logger: Logger): void {
  const questions = new UnpackrStream(packing());
  const answers = new PackrStream(packing());
  const drop = (error: Error): void => {
    logger.debug({ err: error }, 'control connection failed');
    socket.destroy();
  };
  for (const stream of [socket, questions, answers]) stream.on('error', drop);
  answers.pipe(socket);
  socket.pipe(questions).on('data', (question: unknown) => {
    const handler = Object.hasOwn(handlers, String(question))
      ? handlers[question as Question]
      : undefined;
    if (handler === undefined) return drop(new Error('unknown question'));
    Promise.resolve(handler()).then((reply) => answers.write(reply), drop);
  });
}

/**
 * Asks the daemon that runs on `directory`.
 * @throws UsageError when none does, or none answers within `timeoutMs`.
 */
export function askControl<Q extends Question>(
  directory: string,
  question: Q,
  timeoutMs: number,
): Promise<ControlAnswers[Q]> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath(directory));
    const questions = new PackrStream(packing());
    const answers = new UnpackrStream(packing());
    const fail = (why: string): void => {
      socket.destroy();
      reject(new Error(why));
    };
    socket.setTimeout(timeoutMs, () => fail(`no answer within ${timeoutMs} ms`));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const absent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
      if (!absent) return fail(error.message);
      reject(new UsageError(`no daemon runs on ${directory}: name its --data-dir`));
    });
    socket.on('close', () => fail('the daemon closed the control connection'));
    answers.on('error', (error) => fail(error.message));
    answers.on('data', (reply: ControlAnswers[Q]) => {
      resolve(reply);
      socket.destroy();
    });
    questions.pipe(socket).pipe(answers);
    questions.write(question);
  });
}

/** Unix socket paths hold 107 bytes: the shorter spelling of the two fits more often. */
function socketPath(directory: string): string {
  const path = join(directory, SOCKET_NAME);
  const fromHere = relative(process.cwd(), path);
  return fromHere.length < path.length ? fromHere : path;
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
