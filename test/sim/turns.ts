/** How many turns are asked of the event loop at once: each costs less than one of its rounds. */
const TURNS_PER_ROUND = 32;

/**
 * Calls `turn` until it returns false, each time in a turn of its own: every promise that can settle has settled
 * before the next. Rejects with what `turn` throws.
 */
export function takeTurns(turn: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let over = false;
    let left = TURNS_PER_ROUND;
    let failure: unknown;
    const next = () => {
      if (!over) {
        try {
          over = !turn();
        } catch (error) {
          over = true;
          failure = error;
        }
      }
      if (!over) {
        setImmediate(next);
        return;
      }
      left--;
      if (left > 0) return;
      if (failure === undefined) resolve();
      else reject(failure);
    };
    for (let at = 0; at < TURNS_PER_ROUND; at++) setImmediate(next);
  });
}
