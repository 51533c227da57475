import type { PlantedBug } from './planted-bug.ts';

/** Mistakes in what keeps the log, the vote and the snapshots. */
export const storageBugs: Readonly<Record<string, PlantedBug>> = {
  'the vote is not synced': {
    file: 'src/storage/metadata.ts',
    patches: [
      {
        find: '    await file.write(bytes, 0);\n    await file.sync();',
        replace: '    await file.write(bytes, 0);',
      },
    ],
    why: 'after a power cut a server votes again in a term in which it has voted',
  },
  'a snapshot counts before its name is durable': {
    file: 'src/storage/snapshot-files.ts',
    patches: [
      {
        find: '    await stored.moveTo(path);\n    await this.#disk.syncDirectory(this.#directory);',
        replace: '    await stored.moveTo(path);',
      },
    ],
    why: 'the log before a snapshot goes while the snapshot may still be lost',
  },
  'what a killed process left is taken for durable': {
    file: 'src/storage/raft-store.ts',
    patches: [{ find: '    await this.#makeVisibleDurable();\n', replace: '' }],
    why: 'a vote that was written but not synced is read after a kill, answered for, and lost with the power',
  },
  'writes are acknowledged before they are durable': {
    file: 'src/storage/raft-store.ts',
    patches: [
      {
        find: '        await this.#carryOut(group);\n        for (const { resolve } of group) resolve();',
        replace:
          '        for (const { resolve } of group) resolve();\n        await this.#carryOut(group);',
      },
    ],
    why: 'a power cut takes what a majority was believed to hold',
    within: 10,
  },
  'the start of the last block is not kept': {
    file: 'src/storage/segment-writer.ts',
    patches: [
      {
        find: '    this.#buffer.copyWithin(0, whole, this.#filled);\n',
        replace: '    this.#buffer.fill(0, 0, whole);\n',
      },
    ],
    why: 'a write destroys the end of the batch before it',
  },
  'the log is not truncated on disk': {
    file: 'src/storage/raft-store.ts',
    patches: [
      {
        find: '    if (truncateFrom !== undefined) await this.#log.truncate(truncateFrom);\n',
        replace: '',
      },
    ],
    why: 'after a restart the entries of a deposed leader are back',
  },
  'covered segments go in any order': {
    file: 'src/storage/segments.ts',
    patches: [
      {
        find: '    for (const segment of covered) {\n      await this.#disk.remove(this.#pathOf(segment));\n      await this.#disk.syncDirectory(this.#directory);\n    }\n',
        replace:
          '    for (const segment of covered) await this.#disk.remove(this.#pathOf(segment));\n    await this.#disk.syncDirectory(this.#directory);\n',
      },
    ],
    why: 'a power cut leaves an older part of the log and not the newer one: the log has a gap',
  },
  'a truncation removes the oldest first': {
    file: 'src/storage/segments.ts',
    patches: [{ find: 'segments.toReversed()', replace: 'segments' }],
    why: 'a crash in the middle leaves a log with a gap',
  },
  'the log goes before the snapshot that replaces it': {
    file: 'src/storage/raft-store.ts',
    patches: [
      {
        find: '    await this.space.patiently(() => this.#publish(meta, stored));\n    await this.#log.restart((meta.index + 1) as Index);\n',
        replace:
          '    await this.#log.restart((meta.index + 1) as Index);\n    await this.space.patiently(() => this.#publish(meta, stored));\n',
      },
    ],
    why: 'a crash in between leaves neither: a server forgets what it has answered for',
  },
  'the vote is stored after the entries': {
    file: 'src/storage/raft-store.ts',
    patches: [
      { find: '    if (vote) await this.#storeVote(vote);\n', replace: '' },
      {
        find: '    await this.#append(group);\n  }',
        replace: '    await this.#append(group);\n    if (vote) await this.#storeVote(vote);\n  }',
      },
    ],
    why: 'a crash between the two leaves entries of a term that the server has not heard of',
  },
};
