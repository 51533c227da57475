import type { Host } from './host.ts';
import type { Nemesis } from './nemesis.ts';

/** Something that happens to a host, or to all. */
export type Misfortune = (nemesis: Nemesis, host: Host) => void;

/** Everything that may happen, and how often beside the others. Each seed leaves some of it out. */
export const misfortunes: Readonly<
  Record<string, { readonly weight: number; readonly strike: Misfortune }>
> = {
  'power cut': { weight: 3, strike: (nemesis, host) => nemesis.crash(host, 'power cut') },
  kill: { weight: 2, strike: (nemesis, host) => nemesis.crash(host, 'kill') },
  'all power cut': { weight: 1, strike: (nemesis) => nemesis.crashAll() },
  pause: { weight: 3, strike: (nemesis, host) => nemesis.pause(host) },
  stall: { weight: 3, strike: (nemesis, host) => nemesis.stall(host) },
  partition: { weight: 3, strike: (nemesis) => nemesis.partition() },
  isolation: { weight: 3, strike: (nemesis, host) => nemesis.isolate(host) },
  'left behind': { weight: 3, strike: (nemesis, host) => nemesis.leaveBehind(host) },
  mending: { weight: 3, strike: (nemesis) => nemesis.mend() },
  'broken link': { weight: 3, strike: (nemesis, host) => nemesis.breakLink(host) },
  'slow disk': { weight: 2, strike: (nemesis, host) => nemesis.slowDisk(host) },
  'broken disk': { weight: 1, strike: (nemesis, host) => nemesis.breakDisk(host) },
  'patchy network': { weight: 2, strike: (nemesis) => nemesis.patch() },
  'slow network': { weight: 2, strike: (nemesis) => nemesis.slowNetwork() },
  change: { weight: 4, strike: (nemesis) => nemesis.operators.changeMembers() },
  transfer: { weight: 3, strike: (nemesis) => nemesis.operators.transfer() },
  'transfer with a write': { weight: 2, strike: (nemesis) => nemesis.plots.transferWithWrite() },
  'transfer there and back': {
    weight: 2,
    strike: (nemesis) => nemesis.plots.transferThereAndBack(),
  },
  'lost and regained': { weight: 2, strike: (nemesis) => nemesis.plots.loseAndRegain() },
  'late transfer': { weight: 3, strike: (nemesis) => nemesis.plots.lateTransfer() },
  'transfer in the dark': { weight: 3, strike: (nemesis) => nemesis.plots.transferInTheDark() },
};
