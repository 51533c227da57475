import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const tickUs = 1_000_000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Processor time that a process, with all its threads, has used so far, in microseconds. */
export function processorUs(processId: number): number {
  const stat = readFileSync(`/proc/${processId}/stat`, 'utf8');
  // The name, in parentheses, may hold spaces. utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickUs;
}

/** Watches the resident memory of processes until told to end; returns the peak of each, in bytes. */
export function watchMemory(residents: readonly (() => number)[]): () => readonly number[] {
  const peaks = residents.map((resident) => resident());
  const look = (): void => {
    for (const [i, resident] of residents.entries()) peaks[i] = Math.max(peaks[i] ?? 0, resident());
  };
  const timer = setInterval(look, 100);
  return () => {
    clearInterval(timer);
    look();
    return peaks;
  };
}
