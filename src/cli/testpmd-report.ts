/** What testpmd prints, in dpdk-testpmd's wording and columns: scripts parse it. */
import { formatMac } from '../virtio-user/address.ts';
import type { Stream } from '../virtio-user/driver.ts';
import { type PortStats, sumStats } from '../virtio-user/port-stats.ts';
import type { VdevConfig } from '../virtio-user/vdev.ts';

const left = (n: bigint, width: number) => String(n).padEnd(width);

/** Packets and bits a second since the last display. */
export interface Throughput {
  rxPps: bigint;
  txPps: bigint;
  rxBps: bigint;
  txBps: bigint;
}

/** `seconds` is the time from `before` to `now`; 0 gives zeros. */
export function throughput(now: PortStats, before: PortStats, seconds: number): Throughput {
  const rate = (n: bigint) => (seconds > 0 ? BigInt(Math.floor(Number(n) / seconds)) : 0n);
  return {
    rxPps: rate(now.rxPackets - before.rxPackets),
    txPps: rate(now.txPackets - before.txPackets),
    rxBps: rate((now.rxBytes - before.rxBytes) * 8n),
    txBps: rate((now.txBytes - before.txBytes) * 8n),
  };
}

const NIC_BORDER = '#'.repeat(24);

/** One port of `show port stats`. */
export function nicStatsText(port: number, s: PortStats, t: Throughput): string {
  const rate = (n: bigint) => String(n).padStart(12);
  return [
    '',
    `  ${NIC_BORDER} NIC statistics for port ${String(port).padEnd(2)} ${NIC_BORDER}`,
    `  RX-packets: ${left(s.rxPackets, 10)} RX-missed: ${left(0n, 10)} RX-bytes:  ${s.rxBytes}`,
    `  RX-errors: ${s.rxErrors}`,
    `  RX-nombuf:  ${left(s.rxNoBuffer, 10)}`,
    `  TX-packets: ${left(s.txPackets, 10)} TX-errors: ${left(s.txAborted, 10)} TX-bytes:  ${s.txBytes}`,
    '',
    '  Throughput (since last show)',
    `  Rx-pps: ${rate(t.rxPps)}          Rx-bps: ${rate(t.rxBps)}`,
    `  Tx-pps: ${rate(t.txPps)}          Tx-bps: ${rate(t.txBps)}`,
    `  ${'#'.repeat(76)}`,
    '',
  ].join('\n');
}

/** RX-packets and TX-packets lines of a forward statistics block. */
function forwardLines(s: PortStats): string[] {
  return [
    `  RX-packets: ${left(s.rxPackets, 14)} RX-dropped: ${left(0n, 13)} RX-total: ${s.rxPackets}`,
    `  TX-packets: ${left(s.txPackets, 14)} TX-dropped: ${left(s.txDropped, 13)} TX-total: ${s.txPackets + s.txDropped}`,
  ];
}

/** `show fwd stats all`, and what `stop` prints. */
export function forwardStatsText(all: readonly PortStats[]): string {
  const border = '-'.repeat(22);
  const ports = all.flatMap((s, port) => [
    '',
    `  ${border} Forward statistics for port ${String(port).padEnd(2)} ${border}`,
    ...forwardLines(s),
    `  ${'-'.repeat(76)}`,
  ]);
  const plus = '+'.repeat(15);
  const total = [`  ${plus} Accumulated forward statistics for all ports${plus}`, ...forwardLines(sumStats(all))];
  return [...ports, '', ...total, `  ${'+'.repeat(76)}`, ''].join('\n');
}

export interface PortInfo {
  vdev: VdevConfig;
  mac: Uint8Array;
  linkUp: boolean;
  rxd: number;
  txd: number;
}

const linkText = (up: boolean) => (up ? 'up' : 'down');

/** One port of `show port info`. */
export function portInfoText(port: number, info: PortInfo): string {
  return [
    '',
    `********************* Infos for port ${String(port).padEnd(2)} *********************`,
    `MAC address: ${formatMac(info.mac).toUpperCase()}`,
    `Device name: ${info.vdev.name}`,
    'Driver name: net_virtio_user',
    `Devargs: path=${info.vdev.path}${info.vdev.server ? ',server=1' : ''}`,
    `Link status: ${linkText(info.linkUp)}`,
    'Link speed: Unknown',
    'Link duplex: full-duplex',
    'Current number of RX queues: 1',
    `Current number of RXDs per queue: ${info.rxd}`,
    'Current number of TX queues: 1',
    `Current number of TXDs per queue: ${info.txd}`,
    '',
  ].join('\n');
}

/** `show port summary all`. */
export function portSummaryText(infos: readonly PortInfo[]): string {
  const rows = infos.map((p, i) => {
    const mac = formatMac(p.mac).toUpperCase();
    const columns = [String(i).padEnd(4), mac.padEnd(17), p.vdev.name.padEnd(12), 'net_virtio_user'.padEnd(14)];
    return [...columns, linkText(p.linkUp).padEnd(8), 'Unknown'].join(' ');
  });
  const title = 'Port MAC Address       Name         Driver         Status   Link';
  return [`Number of available ports: ${infos.length}`, title, ...rows, ''].join('\n');
}

/** What `start` says about its streams, and `show config fwd`. */
export function streamsText(
  mode: string,
  nPorts: number,
  streams: readonly Stream[],
  peer: (port: number) => Uint8Array,
): string {
  return [
    `${mode} packet forwarding - ports=${nPorts} - cores=1 - streams=${streams.length} - NUMA support disabled, MP allocation mode: native`,
    `Logical Core 1 (socket 0) forwards packets on ${streams.length} streams:`,
    ...streams.map(
      (s) => `  RX P=${s.rx}/Q=0 (socket 0) -> TX P=${s.tx}/Q=0 (socket 0) peer=${formatMac(peer(s.tx)).toUpperCase()}`,
    ),
    '',
    '',
  ].join('\n');
}
