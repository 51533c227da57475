/**
 * One life of the addon in a process of its own: node --expose-gc native-aio-child.mjs CASE BACKEND FILE.
 * What it prints is what native-aio.test.ts expects. By hand, for 600 seconds: truncate -s 1M FILE; node --expose-gc
 * native-aio-child.mjs stress BACKEND FILE 600, where BACKEND is io_uring, 'separate sync' or thread.
 */
import { closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

const { addon } = createRequire(import.meta.url)('../../native-aio/index.js');
const blockBytes = 4096;
const [name, backend, path] = process.argv.slice(2);
const separateSync = backend === 'separate sync';

/** A writer on `path` whose writes resolve to their results. */
function openWriter(onResult = () => {}) {
  const completions = new Int32Array(addon.maxInFlight() * 2);
  const waiting = new Map();
  const writer = new addon.DurableWriter(
    backend !== 'thread',
    (count) => {
      for (let at = 0; at < count * 2; at += 2) {
        const resolve = waiting.get(completions[at]);
        waiting.delete(completions[at]);
        onResult(completions[at + 1]);
        resolve?.(completions[at + 1]);
      }
    },
    completions,
  );
  const file = openSync(path, constants.O_WRONLY | constants.O_DIRECT);
  return {
    writer,
    start: (source, position) => writer.write(file, source, position, separateSync),
    write: (source, position) =>
      new Promise((resolve) =>
        waiting.set(writer.write(file, source, position, separateSync), resolve),
      ),
    close: () => {
      writer.close();
      closeSync(file);
    },
  };
}

function block(fill, blocks = 1) {
  return new Uint8Array(addon.allocateArena(blocks * blockBytes)).fill(fill);
}

/** How many blocks from the first on hold `1, 2, 3...`. */
function numberedBlocks() {
  const bytes = readFileSync(path);
  for (let count = 0; ; count++) {
    const part = bytes.subarray(count * blockBytes, (count + 1) * blockBytes);
    if (part.length === 0 || part.some((byte) => byte !== count + 1)) return count;
  }
}

/** What this process holds now: MiB, descriptors, threads. */
function held() {
  const { rss, external } = process.memoryUsage();
  return {
    rssMiB: Math.round(rss / 1024 ** 2),
    externalMiB: Math.round(external / 1024 ** 2),
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
  };
}

const allowed = { rssMiB: 32, externalMiB: 8, descriptors: 8, threads: 8 };

const cases = {
  /** Nobody but the kernel needs the memory any more; other memory takes its place. */
  async collected() {
    const { write } = openWriter();
    const writes = [];
    for (let number = 1; number <= 60; number++) {
      writes.push(write(block(number), (number - 1) * blockBytes));
      globalThis.gc();
      block(0xff);
    }
    const results = await Promise.all(writes);
    return `${results.every((result) => result === blockBytes)} ${numberedBlocks()}`;
  },

  /** Closing waits for the kernel and calls nobody back. */
  async closed() {
    let called = 0;
    const { start, close, writer } = openWriter(() => called++);
    for (let number = 1; number <= 60; number++) start(block(number), (number - 1) * blockBytes);
    writer.close();
    close();
    const written = numberedBlocks();
    await new Promise((resolve) => setTimeout(resolve, 20));
    let refusal = '';
    try {
      start(block(1), 0);
    } catch (error) {
      refusal = error.message;
    }
    return `${written} ${called} ${refusal}`;
  },

  /** A callback may close the writer that calls it. */
  async closedByItsCallback() {
    let results = 0;
    const writer = openWriter(() => {
      results++;
      writer.writer.close();
    });
    for (let number = 1; number <= 8; number++) writer.start(block(number), 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    return results > 0;
  },

  /** Threads that end with writes in flight, by themselves and by force. */
  async workers() {
    for (let round = 0; round < 6; round++) {
      const worker = new Worker(new URL(import.meta.url), {
        argv: [round % 2 === 0 ? 'exits' : 'goesOn', backend, path],
      });
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      await new Promise((resolve) => worker.once('message', resolve));
      if (round % 2 === 1) await worker.terminate();
      await ended;
    }
    return true;
  },

  async exits() {
    const { parentPort } = await import('node:worker_threads');
    const { start } = openWriter();
    for (let number = 1; number <= 60; number++) start(block(number, 16), 0);
    parentPort.postMessage('writing');
    process.exit(0);
  },

  async goesOn() {
    const { parentPort } = await import('node:worker_threads');
    const { write } = openWriter();
    parentPort.postMessage('writing');
    for (;;) await Promise.all([1, 2, 3, 4].map((number) => write(block(number, 16), 0)));
  },

  async thrown() {
    const { start } = openWriter(() => {
      throw new Error('from the callback');
    });
    const caught = new Promise((resolve) => process.once('uncaughtException', resolve));
    start(block(1), 0);
    return (await caught).message;
  },

  /** Prints when a write is done that nothing else waits for, then ends although the writer is open. */
  async idle() {
    openWriter((result) => process.stdout.write(`${result}\n`)).start(block(1), 0);
  },

  async failed() {
    const { write } = openWriter();
    const misaligned = block(1, 2).subarray(1, 1 + blockBytes);
    return [await write(misaligned, 0), await write(block(1), blockBytes)].join();
  },

  async refused() {
    const { start } = openWriter();
    const attempts = [
      () => start(new Int32Array(1024), 0),
      () => start('text', 0),
      () => start(block(1), -1),
      () => start(block(1), 0.5),
      () => start(block(1), Number.NaN),
      () => new addon.DurableWriter(false, () => {}, new Int32Array(2)),
      () => new addon.DurableWriter(false, () => {}, new Uint8Array(4096)),
      () => {
        for (;;) start(block(1), 0);
      },
    ];
    const thrown = attempts.filter((attempt) => {
      try {
        attempt();
        return false;
      } catch {
        return true;
      }
    });
    return thrown.length === attempts.length;
  },

  /** Rung by another thread many times: heard, though not as often, and the loop waits for no ring. */
  async rung() {
    let heard = 0;
    const bell = new addon.Doorbell(7, () => heard++);
    const worker = new Worker(new URL(import.meta.url), { argv: ['rings', backend, path] });
    await new Promise((resolve) => worker.once('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = heard;
    bell.close();
    bell.close();
    addon.ringDoorbell(7);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const open = new addon.Doorbell(7, () => {});
    return `${before > 0 && before <= 10_000} ${heard - before} ${typeof open}`;
  },

  async rings() {
    for (let time = 0; time < 10_000; time++) addon.ringDoorbell(7);
  },

  /** Threads that end with their bells hung, by themselves and by force: nobody hears, nothing breaks. */
  async bellsOfThreads() {
    for (let round = 0; round < 6; round++) {
      const worker = new Worker(new URL(import.meta.url), {
        argv: [round % 2 === 0 ? 'hangsAndExits' : 'hangsAndStays', backend, path],
      });
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      await new Promise((resolve) => worker.once('message', resolve));
      const ringing = setInterval(() => addon.ringDoorbell(9), 0);
      if (round % 2 === 1) await worker.terminate();
      await ended;
      addon.ringDoorbell(9);
      clearInterval(ringing);
    }
    return true;
  },

  async hangsAndExits() {
    const { parentPort } = await import('node:worker_threads');
    new addon.Doorbell(9, () => {});
    parentPort.postMessage('hung');
    process.exit(0);
  },

  async hangsAndStays() {
    const { parentPort } = await import('node:worker_threads');
    new addon.Doorbell(9, () => {});
    parentPort.postMessage('hung');
    setInterval(() => {}, 1000);
  },

  /** A number has one bell; an exception of a bell is uncaught; a bell may be closed by its own ring. */
  async bellsAlone() {
    const bell = new addon.Doorbell(3, () => bell.close());
    let refusal = '';
    try {
      new addon.Doorbell(3, () => {});
    } catch (error) {
      refusal = error.message;
    }
    addon.ringDoorbell(3);
    addon.ringDoorbell(4);
    await new Promise((resolve) => setTimeout(resolve, 20));
    new addon.Doorbell(3, () => {
      throw new Error('rung');
    });
    const caught = new Promise((resolve) => process.once('uncaughtException', resolve));
    addon.ringDoorbell(3);
    // The bell alone would not keep the loop alive.
    const alive = setTimeout(() => {}, 5000);
    const { message } = await caught;
    clearTimeout(alive);
    return `${refusal}, ${message}`;
  },

  /** Memory comes back: a leak of one arena in a hundred would show. */
  async bounded() {
    const { write } = openWriter();
    const rounds = async (count) => {
      for (let round = 0; round < count; round++) {
        await Promise.all([0, 1, 2, 3].map((at) => write(block(1, 16), at * 16 * blockBytes)));
        if (round % 50 === 0) globalThis.gc();
      }
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
      return process.memoryUsage().rss;
    };
    const before = await rounds(60);
    const after = await rounds(Number(process.argv[5] ?? 250));
    const grownMiB = (after - before) / 1024 ** 2;
    return grownMiB < 16 ? true : `grew by ${grownMiB} MiB`;
  },

  /** Everything at once, for long: bytes are right, and neither memory nor descriptors nor threads add up. */
  async stress() {
    const seconds = Number(process.argv[5] ?? 2);
    const until = performance.now() + seconds * 1000;
    const counts = { writes: 0, writers: 0, workers: 0 };
    const lived = [];
    for (let round = 1; performance.now() < until; round++) {
      const writer = openWriter();
      for (let batch = 0; batch < 20; batch++) {
        const pieces = Array.from({ length: 1 + ((round * 7 + batch) % 32) }, (_, at) => at);
        const fill = 1 + ((round + batch) % 250);
        const results = await Promise.all(
          pieces.map((at) => writer.write(block((fill + at) % 256, 8), at * 8 * blockBytes)),
        );
        counts.writes += results.length;
        if (results.some((result) => result !== 8 * blockBytes)) return `results ${results}`;
        const bytes = readFileSync(path);
        for (const at of pieces) {
          const part = bytes.subarray(at * 8 * blockBytes, (at + 1) * 8 * blockBytes);
          if (part.some((byte) => byte !== (fill + at) % 256)) return `piece ${at} is wrong`;
        }
      }
      for (let at = 0; at < 40; at++) writer.start(block(0, 4), at * 4 * blockBytes);
      writer.close();
      counts.writers++;
      if (round % 10 === 1) {
        await cases.workers();
        counts.workers += 6;
        // Memory is given back in a later turn than the one that collects it.
        for (let times = 0; times < 3; times++) {
          globalThis.gc();
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        lived.push(held());
      }
    }
    // The first quarter warms up.
    const [early, late] = [lived[lived.length >> 2], lived.at(-1)];
    process.stderr.write(`${JSON.stringify({ counts, early, late })}\n`);
    const grew = Object.keys(late).filter((kind) => late[kind] > early[kind] + allowed[kind]);
    return grew.length === 0 ? true : `grew: ${grew.join()}`;
  },
};

const told = await cases[name]();
if (told !== undefined) process.stdout.write(`${told}\n`);
