/** The table that `turnout bench` prints, and what a reader must know beside it. */
import { type ThroughputResult, wrongMegaflows } from './compare.ts';
import { type Figure, figures, isThroughput, type Result, verdict } from './figures.ts';
import type { Spread } from './statistics.ts';

const COLUMNS = ['row', 'unit', 'Turnout', 'OVS-DPDK', 'ratio (min–max)', 'goal', 'aim', 'reached', 'note'];
const DETAIL_COLUMNS = [
  'row',
  'Mpps a CPU-second',
  'Gbit/s',
  'megaflows',
  'simple/EMC/SMC/dpcls/upcall %',
  'generator alone',
  'OVS settings tried, Mpps',
];

const number = (value: number | undefined, digits = 2) => (value === undefined ? '–' : value.toFixed(digits));

function ratioText(ratio: Spread | undefined): string {
  return ratio === undefined ? '–' : `${number(ratio.median)} (${number(ratio.min)}–${number(ratio.max)})`;
}

/** Two digits at most, without zeros at the end. */
const mark = (value: number | undefined) => (value === undefined ? '' : String(Math.round(value * 100) / 100));

/** A table in Markdown, padded so that it reads on a terminal too. */
export function markdownTable(columns: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = [columns, ...cells];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(columns), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...cells.map(line)].join('\n');
}

function cells(figure: Figure): string[] {
  const sign = figure.better === 'less' && figure.goal !== undefined ? '≤ ' : '';
  return [
    figure.title,
    figure.unit,
    number(figure.turnout?.median, figure.digits),
    number(figure.ovs?.median, figure.digits),
    ratioText(figure.ratio),
    figure.goal === undefined ? '' : `${sign}${mark(figure.goal)}`,
    figure.aim === undefined ? '' : `${sign}${mark(figure.aim)}`,
    verdict(figure),
    figure.note ?? '',
  ];
}

/** One line a figure. */
export function figureTable(results: readonly Result[]): string {
  return markdownTable(COLUMNS, results.flatMap(figures).map(cells));
}

const KINDS = ['simple match hits', 'emc hits', 'smc hits', 'megaflow hits', 'miss with success upcall'];

function hitText(result: ThroughputResult, peer: 'turnout' | 'ovs-dpdk'): string {
  const stats = result.runs[peer]?.at(-1)?.pmdStats;
  if (typeof stats !== 'object') return '–';
  const received = stats['packets received'] ?? 0;
  return KINDS.map((kind) => number((100 * (stats[kind] ?? 0)) / Math.max(1, received), 0)).join('/');
}

function detailCells(result: ThroughputResult): string[] {
  const { row, mppsPerCpu, runs, generatorAlone, ovsVariants } = result;
  const pair = (text: (peer: 'turnout' | 'ovs-dpdk') => string) => `${text('turnout')}, ${text('ovs-dpdk')}`;
  const tried = Object.entries(ovsVariants).map(([name, mpps]) => `${name} ${number(mpps)}`);
  return [
    row.title,
    pair((peer) => number(mppsPerCpu[peer]?.median)),
    pair((peer) => number(runs[peer]?.at(-1)?.gbps, 1)),
    pair((peer) => String(runs[peer]?.at(-1)?.nMegaflows ?? '–')),
    pair((peer) => hitText(result, peer)),
    number(generatorAlone.median),
    tried.join(', ') || '–',
  ];
}

/** Beside the ratios of the throughput rows: Turnout's figure, then Open vSwitch's. */
export function detailTable(results: readonly Result[]): string {
  return markdownTable(DETAIL_COLUMNS, results.filter(isThroughput).map(detailCells));
}

/** Rows in which the generator was no faster than a switch: their ratio says little. */
export function unprovenRows(results: readonly ThroughputResult[]): string[] {
  const fastest = (result: ThroughputResult) => Math.max(...Object.values(result.mpps).map((of) => of.median));
  return results.filter((result) => result.generatorAlone.median <= fastest(result)).map((result) => result.row.title);
}

/** What makes a row say less than it seems to, one line each. */
export function reservations(results: readonly Result[]): string[] {
  const throughput = results.filter(isThroughput);
  const wrong = throughput
    .map((result) => ({ result, found: wrongMegaflows(result) }))
    .filter(({ found }) => found.length > 0);
  return [
    ...unprovenRows(throughput).map((title) => `the generator alone was no faster than the switches: ${title}`),
    ...wrong.map(({ result: { row }, found }) => {
      const [least, most] = row.megaflows;
      const wanted = least === most ? String(least) : `${least} to ${most}`;
      return `megaflows other than the ${wanted} that the row is about: ${row.title}: ${found.join(', ')}`;
    }),
  ];
}
