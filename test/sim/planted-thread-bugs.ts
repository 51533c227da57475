import type { PlantedBug } from './planted-bug.ts';

/** Mistakes between the thread of Raft and the main thread. */
export const threadBugs: Readonly<Record<string, PlantedBug>> = {
  'the lease of a later leadership counts': {
    file: 'src/server/raft-lease.ts',
    patches: [{ find: 'this.#term[0] === term && this', replace: 'term !== undefined && this' }],
    why: 'a main thread that has not heard of the leaders in between answers from before them',
  },
  'a proposal of an earlier leadership is taken': {
    file: 'src/raft/raft.ts',
    patches: [
      {
        find: "state.kind === 'leader' && event.term === currentTerm(core)",
        replace: "state.kind === 'leader' && event.term <= currentTerm(core)",
      },
    ],
    why: 'a write that its client was told is lost is committed on top of what others wrote since',
  },
  'a transfer overtakes what was proposed before it': {
    file: 'src/server/raft-main-end.ts',
    patches: [
      {
        find: '      this.#closeBatch();\n      this.channel.post(request);\n',
        replace: '      this.channel.post(request);\n',
      },
    ],
    why: 'a write that was there before the handover is lost with it',
  },
  'the machine proposes while leadership is handed over': {
    file: 'src/server/raft-consensus.ts',
    patches: [
      {
        find: "    if (this.#transition.state === 'leader') this.#announce();\n    try {",
        replace: '    try {',
      },
      {
        find: "transition.state === 'leader' && this.#handovers > 0",
        replace: "transition.state === 'leader' && this.#handovers < 0",
      },
      {
        find: "    assert(this.#handovers === 0, 'nothing is proposed while leadership is handed over');\n",
        replace: '',
      },
    ],
    why: 'what is proposed behind the transfer is lost with the leadership',
  },
  'the machine proposes while its leader is removed': {
    file: 'src/server/raft-consensus.ts',
    patches: [
      {
        find: 'return change.id === this.#self && !votes ? this.#askLast(request) : this.#ask(request);',
        replace:
          'return change.id === this.#self && votes ? this.#askLast(request) : this.#ask(request);',
      },
    ],
    why: 'what is proposed behind the change is lost with the leadership',
  },
  'a snapshot is taken while another is restored': {
    file: 'src/raft/driver.ts',
    patches: [{ find: 'if (this.#restoring > 0) {', replace: 'if (this.#restoring < 0) {' }],
    why: 'the snapshot holds half of one state and half of another',
  },
  'own entries travel twice between the threads': {
    file: 'src/server/raft-messages.ts',
    patches: [
      { find: 'tickets.push(ticket ?? 0);', replace: 'tickets.push(0);' },
      {
        find: 'sizes.push(ticket === undefined ? entry.data.length : 0);',
        replace: 'sizes.push(entry.data.length);',
      },
      {
        find: 'if (ticket === undefined) data.push(entry.data);',
        replace: 'data.push(entry.data);',
      },
    ],
    why: 'a leader applies its own transactions as if they were those of another',
  },
};
