import { type CellSummary, titleOf } from './report.ts';
import { number } from './table.ts';

const TITLE = 'Throughput of dqlited by that of the faster C version';
const WIDTH = 900;
const LEFT = 190;
const RIGHT = 150;
const TOP = 56;
const ROW = 26;
const BAR = 14;
const BOTTOM = 34;
const ENDLESS = 1e6;

/** Ratios as bars on a logarithmic scale, with their spread and their target, as one SVG document. */
export function pictureOf(cells: readonly CellSummary[], subtitle: string): string {
  const drawn = cells.filter(({ ratio }) => ratio !== undefined && Number.isFinite(ratio.median));
  const values = drawn.flatMap(({ ratio, target }) => [
    ratio?.min ?? 1,
    Math.min(ratio?.max ?? 1, ENDLESS),
    target?.ratio ?? 1,
  ]);
  const low = Math.floor(Math.log10(Math.min(0.5, ...values.filter((value) => value > 0))));
  const high = Math.ceil(Math.log10(Math.max(2, ...values)));
  const scale = (value: number): number => {
    const part = (Math.log10(value) - low) / (high - low);
    return LEFT + Math.min(1, Math.max(0, part)) * (WIDTH - LEFT - RIGHT);
  };
  const height = TOP + drawn.length * ROW + BOTTOM;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<title>${TITLE}</title>`,
    text(12, 22, TITLE, 'font-size="16"'),
    text(12, 42, subtitle, 'fill="#555"'),
    ...axis(low, high, scale, height),
    ...drawn.flatMap((cell, i) => row(cell, TOP + i * ROW, scale)),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

type Scale = (value: number) => number;

function axis(low: number, high: number, scale: Scale, height: number): string[] {
  const powers = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return powers.flatMap((power) => {
    const x = round(scale(power));
    const stroke = power === 1 ? '#333' : '#ddd';
    return [
      `<line x1="${x}" y1="${TOP - 4}" x2="${x}" y2="${height - BOTTOM + 4}" stroke="${stroke}"/>`,
      text(
        x,
        height - 12,
        String(Number(power.toPrecision(1))),
        'text-anchor="middle" fill="#555"',
      ),
    ];
  });
}

function row(cell: CellSummary, top: number, scale: Scale): string[] {
  const { ratio, target, verdict } = cell;
  if (ratio === undefined) return [];
  const [from, to] = [scale(1), scale(ratio.median)].sort((a, b) => a - b) as [number, number];
  const [least, most] = [round(scale(ratio.min)), round(scale(ratio.max))];
  const middle = top + ROW / 2;
  const colour = verdict === 'missed' ? '#d1885a' : '#4a86c5';
  const parts = [
    text(LEFT - 10, middle + 4, titleOf(cell), 'text-anchor="end"'),
    `<rect x="${round(from)}" y="${middle - BAR / 2}" width="${round(to - from)}" height="${BAR}" fill="${colour}"/>`,
    `<line x1="${least}" y1="${middle}" x2="${most}" y2="${middle}" stroke="#222"/>`,
    text(WIDTH - RIGHT + 12, middle + 4, `${number(ratio.median)} x`, 'font-weight="bold"'),
  ];
  if (target === undefined) return parts;
  const x = round(scale(target.ratio));
  return [
    ...parts,
    `<line x1="${x}" y1="${middle - 11}" x2="${x}" y2="${middle + 11}" stroke="#b00" stroke-width="2"/>`,
    text(WIDTH - RIGHT + 72, middle + 4, `goal ${target.ratio}`, 'fill="#b00"'),
  ];
}

function text(x: number, y: number, content: string, attributes: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
