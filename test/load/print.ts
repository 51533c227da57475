/** Prints one figure. */
export function line(name: string, value: string): void {
  process.stdout.write(`${name.padEnd(16)}${value}\n`);
}

/** How long `run` took, in seconds with two decimals. */
export async function secondsOf(run: () => Promise<unknown>): Promise<string> {
  const begin = performance.now();
  await run();
  return `${((performance.now() - begin) / 1000).toFixed(2)} s`;
}
