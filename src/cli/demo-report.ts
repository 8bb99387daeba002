/** What the demo shows: a live table while traffic runs, and the closing report in which every packet is accounted for. */

import type { CacheHits, SwitchCounters } from './demo-switch.ts';
import type { PktgenReport } from './pktgen-report.ts';

/** testpmd's own counters, of both its ports. */
export interface ForwarderCounters {
  rxPackets: number;
  txPackets: number;
  txDropped: number;
}

/** Everything known at one moment. */
export interface DemoSample {
  /** Seconds since generation started. */
  seconds: number;
  pktgen: PktgenReport | undefined;
  forwarder: ForwarderCounters;
  counters: SwitchCounters;
  /** Named drops, in the order they are shown; zeros included. */
  drops: ReadonlyMap<string, number>;
}

export interface DemoReport {
  sent: number;
  received: number;
  drops: Record<string, number>;
  /** sent - received - drops: 0 when every packet is accounted for. */
  unaccounted: number;
  seconds: number;
  mpps: number;
  caches: CacheHits;
  forwarded: ForwarderCounters;
  ports: SwitchCounters['ports'];
}

export function makeDemoReport(s: DemoSample): DemoReport {
  const sent = s.pktgen?.total.tx_packets ?? 0;
  const received = s.pktgen?.total.rx_packets ?? 0;
  const drops = Object.fromEntries([...s.drops].filter(([, n]) => n > 0));
  const dropped = Object.values(drops).reduce((n, d) => n + d, 0);
  return {
    sent,
    received,
    drops,
    unaccounted: sent - received - dropped,
    seconds: s.seconds,
    mpps: s.seconds > 0 ? received / s.seconds / 1e6 : 0,
    caches: s.counters.caches,
    forwarded: s.forwarder,
    ports: s.counters.ports,
  };
}

/** 1,234,567 */
export const grouped = (n: number) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');

/** Terminal colours, or none. */
export interface Style {
  bold(s: string): string;
  dim(s: string): string;
  green(s: string): string;
  red(s: string): string;
  cyan(s: string): string;
}

const sgr = (code: number) => (s: string) => `\x1b[${code}m${s}\x1b[0m`;
const plain = (s: string) => s;

export function makeStyle(colours: boolean): Style {
  if (!colours) return { bold: plain, dim: plain, green: plain, red: plain, cyan: plain };
  return { bold: sgr(1), dim: sgr(2), green: sgr(32), red: sgr(31), cyan: sgr(36) };
}

const WIDTH = 76;
const USERS = ['pktgen 0', 'pktgen 1', 'testpmd 0', 'testpmd 1'];
const PEERS = [4, 3, 2, 1];

function portRows(now: DemoSample, before: DemoSample, style: Style): string[] {
  const seconds = now.seconds - before.seconds;
  const rate = (a: number, b: number) => (seconds > 0 ? ((a - b) / seconds / 1e6).toFixed(3) : '0.000');
  const head = `  ${'port'.padEnd(13)}${'program'.padEnd(11)}${'flow'.padEnd(6)}${'in'.padStart(14)}${'out'.padStart(14)}${'in Mpps'.padStart(9)}${'out Mpps'.padStart(9)}`;
  const rows = now.counters.ports.map((p, i) => {
    const last = before.counters.ports[i]!;
    const columns = [
      `  ${style.cyan(p.name.padEnd(13))}${USERS[i]!.padEnd(11)}${`${i + 1}→${PEERS[i]}`.padEnd(6)}`,
      grouped(p.rxPackets).padStart(14),
      grouped(p.txPackets).padStart(14),
      style.bold(rate(p.rxPackets, last.rxPackets).padStart(9)),
      style.bold(rate(p.txPackets, last.txPackets).padStart(9)),
    ];
    return columns.join('');
  });
  return [style.dim(head), ...rows];
}

/** `emc 1,000 (50.0 %)   smc …` */
export function cachesText(c: CacheHits): string {
  const total = c.emc + c.smc + c.megaflow + c.upcall;
  const share = (n: number) => (total > 0 ? ((n / total) * 100).toFixed(1) : '0.0');
  return (['emc', 'smc', 'megaflow', 'upcall'] as const)
    .map((k) => `${k} ${grouped(c[k])} (${share(c[k])} %)`)
    .join('   ');
}

export function dropsText(drops: ReadonlyMap<string, number>): string {
  const some = [...drops].filter(([, n]) => n > 0);
  return some.length === 0 ? 'none' : some.map(([name, n]) => `${name} ${grouped(n)}`).join('   ');
}

/** `fraction` of a bar of `width` cells, in eighths of a cell. */
export function progressBar(fraction: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * width * 8);
  const full = '█'.repeat(Math.floor(eighths / 8));
  const part = eighths % 8 === 0 ? '' : ' ▏▎▍▌▋▊▉'[eighths % 8]!;
  return (full + part).padEnd(width, '░');
}

const ESC = '\u001b';
/** Each match is an SGR code, group 1, or a character. */
const CELLS = new RegExp(`(${ESC}\\[\\d*m)|[\\s\\S]`, 'gu');

/** The first `columns` cells of a line that may hold SGR codes: a line that wraps would shift the table. */
export function cutLine(line: string, columns: number): string {
  let cells = 0;
  let out = '';
  for (const [part, code] of line.matchAll(CELLS)) {
    if (code === undefined && cells++ >= columns) continue;
    out += part;
  }
  return out;
}

/** The live table, for a terminal. `fraction`: how much of the run is done. */
export function liveTable(
  now: DemoSample,
  before: DemoSample,
  fraction: number,
  title: string,
  style: Style,
): string[] {
  const sent = now.pktgen?.total.tx_packets ?? 0;
  const received = now.pktgen?.total.rx_packets ?? 0;
  const percent = `${Math.round(fraction * 100)} %`.padStart(5);
  return [
    style.bold(`  ${title}`),
    '',
    ...portRows(now, before, style),
    '',
    `  ${style.dim('packets')}  sent ${grouped(sent)}   received ${grouped(received)}   on the way ${grouped(Math.max(0, sent - received))}`,
    `  ${style.dim('caches ')}  ${cachesText(now.counters.caches)}`,
    `  ${style.dim('drops  ')}  ${dropsText(now.drops)}`,
    '',
    `  ${style.green(progressBar(fraction, WIDTH - 10))} ${percent}`,
  ];
}

/** One line of progress, for a log. */
export function progressLine(now: DemoSample, before: DemoSample): string {
  const seconds = now.seconds - before.seconds;
  const received = now.pktgen?.total.rx_packets ?? 0;
  const mpps = seconds > 0 ? (received - (before.pktgen?.total.rx_packets ?? 0)) / seconds / 1e6 : 0;
  const sent = now.pktgen?.total.tx_packets ?? 0;
  return `${now.seconds.toFixed(1).padStart(6)} s  sent ${grouped(sent)}  received ${grouped(received)}  ${mpps.toFixed(3)} Mpps  drops: ${dropsText(now.drops)}`;
}

/** The closing report. */
export function reportLines(r: DemoReport, style: Style): string[] {
  const row = (name: string, n: number, note = '') =>
    `  ${name.padEnd(34)}${grouped(n).padStart(14)}  ${note === '' ? '' : style.dim(note)}`.trimEnd();
  const drops = Object.entries(r.drops).map(([name, n]) => row(`+ ${name}`, n));
  const whole = r.unaccounted === 0;
  return [
    style.bold('  Report'),
    row('sent by pktgen', r.sent),
    row(
      '= received by pktgen',
      r.received,
      `${r.mpps.toFixed(3)} Mpps over ${r.seconds.toFixed(1)} s, each packet through the switch twice`,
    ),
    ...(drops.length > 0 ? drops : [row('+ dropped', 0, 'nothing was dropped')]),
    ...(whole ? [] : [row('+ not accounted for', r.unaccounted)]),
    row('forwarded by testpmd', r.forwarded.txPackets),
    `  caches: ${cachesText(r.caches)}`,
    whole
      ? style.green('  Every packet is accounted for.')
      : style.red(`  ${grouped(Math.abs(r.unaccounted))} packets are not accounted for.`),
  ];
}
