/** pktgen's statistics, as a table for people and as objects for programs. */
import type { PortStats } from '../virtio-user/port-stats.ts';

export interface PortReport {
  port: number;
  path: string;
  link: 'up' | 'down';
  tx_packets: number;
  tx_bytes: number;
  rx_packets: number;
  rx_bytes: number;
  /** Frames that were in the ring when the switch went away. */
  tx_aborted: number;
  /** Times that the device broke the rx ring's rules, or the pool ran out. */
  rx_errors: number;
  /** Million packets a second since the last report. */
  tx_mpps: number;
  rx_mpps: number;
}

export interface PktgenReport {
  type: 'stats' | 'final';
  /** Since generation started. */
  seconds: number;
  ports: PortReport[];
  total: Omit<PortReport, 'port' | 'path' | 'link'>;
}

export interface PortSample {
  path: string;
  linkUp: boolean;
  now: PortStats;
  before: PortStats;
}

const mpps = (packets: bigint, seconds: number) => (seconds > 0 ? Number(packets) / seconds / 1e6 : 0);

function portReport(port: number, s: PortSample, seconds: number): PortReport {
  return {
    port,
    path: s.path,
    link: s.linkUp ? 'up' : 'down',
    tx_packets: Number(s.now.txPackets),
    tx_bytes: Number(s.now.txBytes),
    rx_packets: Number(s.now.rxPackets),
    rx_bytes: Number(s.now.rxBytes),
    tx_aborted: Number(s.now.txAborted),
    rx_errors: Number(s.now.rxErrors + s.now.rxNoBuffer),
    tx_mpps: mpps(s.now.txPackets - s.before.txPackets, seconds),
    rx_mpps: mpps(s.now.rxPackets - s.before.rxPackets, seconds),
  };
}

const SUMMED = [
  'tx_packets',
  'tx_bytes',
  'rx_packets',
  'rx_bytes',
  'tx_aborted',
  'rx_errors',
  'tx_mpps',
  'rx_mpps',
] as const;

/** `seconds`: the time from `before` to `now` of each sample; `elapsed`: since generation started. */
export function makeReport(
  type: PktgenReport['type'],
  samples: readonly PortSample[],
  seconds: number,
  elapsed: number,
): PktgenReport {
  const ports = samples.map((s, i) => portReport(i, s, seconds));
  const total = {} as PktgenReport['total'];
  for (const key of SUMMED) total[key] = ports.reduce((n, p) => n + p[key], 0);
  return { type, seconds: elapsed, ports, total };
}

const COLUMNS: [string, (p: PortReport | PktgenReport['total']) => string][] = [
  ['tx packets', (p) => String(p.tx_packets)],
  ['rx packets', (p) => String(p.rx_packets)],
  ['tx bytes', (p) => String(p.tx_bytes)],
  ['rx bytes', (p) => String(p.rx_bytes)],
  ['aborted', (p) => String(p.tx_aborted)],
  ['rx errors', (p) => String(p.rx_errors)],
  ['tx Mpps', (p) => p.tx_mpps.toFixed(3)],
  ['rx Mpps', (p) => p.rx_mpps.toFixed(3)],
];

/** Rows of cells, right-aligned under their titles. */
function alignRight(rows: string[][]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
  return rows.map((r) => r.map((cell, i) => cell.padStart(widths[i]!)).join('  ')).join('\n');
}

export function reportText(report: PktgenReport): string {
  const head = ['port', 'link', ...COLUMNS.map(([title]) => title)];
  const ports = report.ports.map((p) => [String(p.port), p.link, ...COLUMNS.map(([, text]) => text(p))]);
  const total = ['total', '', ...COLUMNS.map(([, text]) => text(report.total))];
  return `${alignRight([head, ...ports, total])}\n`;
}

/** `page main`: one column a port. */
export function mainPageText(ports: readonly [string, string][][]): string {
  const titles = ports[0]!.map(([title]) => title);
  const width = Math.max(...titles.map((t) => t.length));
  const head = `${'Port'.padEnd(width)} : ${ports.map((_, i) => String(i).padEnd(20)).join('')}`;
  const rows = titles.map((t, row) => `${t.padEnd(width)} : ${ports.map((p) => p[row]![1].padEnd(20)).join('')}`);
  return `${[head, ...rows].map((r) => r.trimEnd()).join('\n')}\n`;
}
