/**
 * Fills docs/performance.md from bench/results, and draws its pictures: `turnout bench --docs`. The numbers stand between two marks, so that they cannot
 * drift from the results; docs.test.ts fails when the file is not what this would write.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isLatency, isThroughput, type Result } from './figures.ts';
import { type LatencyPoint, latencyAt } from './latency.ts';
import type { Machine, Versions } from './machine.ts';
import type { PeerName } from './plan.ts';
import { type Chart, drawChart, type Series } from './plot.ts';
import { detailTable, figureTable, reservations } from './report.ts';
import { ROWS } from './rows.ts';

/** What `turnout bench` writes, a file a row. */
export interface Record {
  date: string;
  command: string;
  machine: Machine;
  versions: Versions;
  /** What was wrong with the machine while it ran. */
  noise?: string;
  result: Result;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const RESULTS = join(root, 'bench/results');
export const DOCUMENT = join(root, 'docs/performance.md');
const PICTURES = {
  flows: join(root, 'docs/performance-flows.svg'),
  latency: join(root, 'docs/performance-latency.svg'),
};
const BEGIN = '<!-- numbers: written by `turnout bench --docs` -->';
const END = '<!-- end of numbers -->';

/** The newest result of each row, in the rows' order, with the goals of today. Results of rows that are gone are left out. */
export function newest(folder = RESULTS): Record[] {
  const records = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Record);
  return ROWS.flatMap((row) => {
    const record = records.findLast(({ result }) => result.row.name === row.name);
    return record === undefined ? [] : [{ ...record, result: { ...record.result, row } as Result }];
  });
}

const COLOURS: { [P in PeerName]: string } = { turnout: '#0a7ac2', 'ovs-dpdk': '#d2601a' };
const NAMES: { [P in PeerName]: string } = { turnout: 'Turnout', 'ovs-dpdk': 'OVS-DPDK' };
const PEERS: readonly PeerName[] = ['turnout', 'ovs-dpdk'];

/** Rows whose packets differ in nothing but the number of flows. */
const FLOW_ROWS = ['bare-in-port', 'l3l4-1k', 'l3l4-100k', 'l3l4-1m'];
/** The bare rule has flows too, but it does not look at them: one. */
const flowsOf = (name: string): number => [1, 1000, 200_000, 1_000_000][FLOW_ROWS.indexOf(name)]!;
const countText = (n: number) =>
  n >= 1e6 ? `${n / 1e6}M` : n >= 1000 ? `${n / 1000}k` : n === 1 ? 'in_port' : String(n);

export function flowsChart(results: readonly Result[]): Chart {
  const throughput = results.filter(isThroughput);
  const wide = throughput.filter(({ row }) => FLOW_ROWS.includes(row.name));
  const each = throughput.filter(({ row }) => row.name === 'megaflow-each-1m');
  const line = (list: typeof wide, peer: PeerName, x: (name: string) => number) =>
    list.flatMap(({ row, mpps }) => {
      const of = mpps[peer];
      return of === undefined ? [] : [{ x: x(row.name), y: of.median, low: of.min, high: of.max }];
    });
  const series = PEERS.flatMap((peer): Series[] => [
    { name: NAMES[peer], colour: COLOURS[peer], points: line(wide, peer, flowsOf) },
    {
      name: `${NAMES[peer]}, a megaflow each`,
      colour: COLOURS[peer],
      dashed: true,
      points: line(each, peer, () => 1_000_000),
    },
  ]);
  return {
    title: 'Throughput against number of flows, 64-byte packets, one core',
    xLabel: 'flows',
    yLabel: 'Mpps',
    xScale: 'log',
    yScale: 'log',
    xText: countText,
    series: series.filter((one) => one.points.length > 0),
  };
}

export function latencyChart(results: readonly Result[]): Chart {
  const series = results.filter(isLatency).flatMap(({ runs }) =>
    PEERS.flatMap((peer) => {
      const list = runs[peer];
      return list === undefined ? [] : [latencyLine(list, peer, 'p50'), latencyLine(list, peer, 'p99')];
    }),
  );
  return {
    title: 'Latency against load (of what OVS-DPDK bears)',
    xLabel: 'load',
    yLabel: 'µs',
    xScale: 'linear',
    yScale: 'log',
    xText: (x) => `${Math.round(x * 100)} %`,
    series,
  };
}

function latencyLine(runs: readonly LatencyPoint[][], peer: PeerName, key: 'p50' | 'p99'): Series {
  const points = runs[0]!.map(({ load }) => {
    const { median, min, max } = latencyAt(runs, load, key);
    return { x: load, y: median, low: min, high: max };
  });
  return { name: `${NAMES[peer]} ${key}`, colour: COLOURS[peer], dashed: key === 'p50', points };
}

/** The part of the document between the marks. */
export function numbersText(records: readonly Record[]): string {
  const results = records.map((record) => record.result);
  if (results.length === 0) return 'Nothing is measured yet.';
  const lines = [figureTable(results), ''];
  if (results.some(isThroughput))
    lines.push('Beside the ratios, each time Turnout’s figure and then Open vSwitch’s:', '', detailTable(results), '');
  for (const [file, { title }] of charts(results)) lines.push(`![${title}](${basename(file)})`, '');
  const doubts = [...reservations(results), ...noises(records)];
  if (doubts.length > 0)
    lines.push('What makes a row say less than it seems to:', '', ...doubts.map((line) => `- ${line}`), '');
  return [...lines, ...provenance(records)].join('\n');
}

function noises(records: readonly Record[]): string[] {
  return records.flatMap(({ noise, result }) => (noise === undefined ? [] : [`${noise}: ${result.row.title}`]));
}

/** One line for the rows of one command. */
function provenance(records: readonly Record[]): string[] {
  const lines = records.map(({ date, command, machine, versions }) => {
    const of = `${machine.cpu}, ${machine.nCpus} cores, Linux ${machine.kernel}`;
    const what = `Turnout ${versions.turnout} (${versions.commit}), Node ${versions.node}, Open vSwitch ${versions.openvswitch}, DPDK ${versions.dpdk}`;
    return `Measured ${date.slice(0, 10)} by \`${command}\` on ${of}; ${what}.`;
  });
  return [...new Set(lines)];
}

export function withNumbers(document: string, numbers: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new Error(`docs/performance.md: no place for the numbers between ${BEGIN} and ${END}`);
  return `${document.slice(0, begin + BEGIN.length)}\n\n${numbers}\n\n${document.slice(end)}`;
}

/** The pictures for which something is measured. */
function charts(results: readonly Result[]): [file: string, chart: Chart][] {
  const all: [string, Chart][] = [
    [PICTURES.flows, flowsChart(results)],
    [PICTURES.latency, latencyChart(results)],
  ];
  return all.filter(([, chart]) => chart.series.length > 0);
}

/** File and text of everything that is made of the results. */
export function made(records = newest()): [file: string, text: string][] {
  return [
    [DOCUMENT, withNumbers(readFileSync(DOCUMENT, 'utf8'), numbersText(records))],
    ...charts(records.map((record) => record.result)).map(([file, chart]): [string, string] => [
      file,
      drawChart(chart),
    ]),
  ];
}

export function writeDocs(): string[] {
  const files = made();
  for (const [file, text] of files) writeFileSync(file, text);
  return files.map(([file]) => file);
}
