/** The table that `turnout bench` prints. */
import type { ControlResult, IdleResult, ThroughputResult } from './compare.ts';
import type { Spread } from './statistics.ts';

const COLUMNS = [
  'row',
  'Turnout Mpps',
  'OVS-DPDK Mpps',
  'ratio (min–max)',
  'Mpps a CPU-second',
  'megaflows',
  'generator alone',
];

const number = (value: number | undefined, digits = 2) => (value === undefined ? '–' : value.toFixed(digits));

function ratioText(ratio: Spread | undefined): string {
  return ratio === undefined ? '–' : `${number(ratio.median)} (${number(ratio.min)}–${number(ratio.max)})`;
}

function cells({ row, mpps, mppsPerCpu, ratio, runs, generatorAlone, ovsVariant }: ThroughputResult): string[] {
  const ovs = mpps['ovs-dpdk'];
  const perCpu = `${number(mppsPerCpu.turnout?.median)} / ${number(mppsPerCpu['ovs-dpdk']?.median)}`;
  const nMegaflows = [runs.turnout, runs['ovs-dpdk']].map((list) => list?.at(-1)?.nMegaflows ?? '–').join(' / ');
  const ovsText = ovs === undefined ? '–' : `${number(ovs.median)} (${ovsVariant})`;
  return [
    row.title,
    number(mpps.turnout?.median),
    ovsText,
    ratioText(ratio),
    perCpu,
    nMegaflows,
    number(generatorAlone.median),
  ];
}

/** A Markdown table, padded so that it reads on a terminal too. */
export function throughputTable(results: readonly ThroughputResult[]): string {
  const rows = [COLUMNS, ...results.map(cells)];
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row: string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  return [
    line(rows[0]),
    `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`,
    ...rows.slice(1).map(line),
  ].join('\n');
}

export function idleText({ runs, probeFloorUs }: IdleResult): string {
  const lines = Object.entries(runs).map(([name, idle]) => {
    const times = `first packet ${number(idle.firstPacketUs.median, 0)} us (${number(idle.firstPacketUs.min, 0)}–${number(idle.firstPacketUs.max, 0)})`;
    return `idle, ${name}: ${number(idle.cpu.median * 100, 1)} % of a core, ${times}`;
  });
  return [...lines, `idle, the probe's own time: ${number(probeFloorUs.median, 0)} us`].join('\n');
}

export function controlText({ spreads, ratio }: ControlResult): string {
  const lines = Object.entries(spreads).map(([name, of]) => {
    const perFlow = ((of.memory100k.median - of.memoryEmpty.median) * 1024 * 1024) / 100_000;
    return [
      `control, ${name}: ${number(of.flowModsPerSecond.median / 1000, 1)}k flow-mods/s in a bundle of 100k`,
      `echo up to ${number(of.bundleEcho.median, 0)} ms meanwhile (${number(of.bundleEcho.max, 0)} at worst)`,
      `200k flows dumped in ${number(of.dumpSeconds.median, 2)} s, echo up to ${number(of.dumpEcho.median, 0)} ms (${number(of.dumpEcho.max, 0)} at worst)`,
      `${number(of.memoryEmpty.median, 0)} MiB empty, ${number(of.memory100k.median, 0)} MiB with 100k flows (${number(perFlow, 0)} B a flow)`,
      `ovs-vsctl show ${number(of.vsctlShow.median, 0)} ms`,
    ].join('; ');
  });
  return [...lines, `control: flow-mods, ratio ${ratioText(ratio)}`].join('\n');
}

/** Rows in which the generator was no faster than a switch: their ratio says little. */
export function unprovenRows(results: readonly ThroughputResult[]): string[] {
  const fastest = (result: ThroughputResult) => Math.max(...Object.values(result.mpps).map((of) => of.median));
  return results.filter((result) => result.generatorAlone.median <= fastest(result)).map((result) => result.row.title);
}
