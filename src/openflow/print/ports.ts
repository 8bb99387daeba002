import { formatMac } from '../address-text.ts';
import { formatDuration } from '../flow-text.ts';
import type { PhyPort, PortStats, QueueConfig } from '../messages.ts';
import { formatPort, type PortNames } from '../port.ts';
import type { Printers } from './printer.ts';
import { bitNames, counter, queueName } from './text.ts';

/** Ports and queues. */

const CONFIG = new Map([
  [1 << 0, 'PORT_DOWN'],
  [1 << 1, 'NO_STP'],
  [1 << 2, 'NO_RECV'],
  [1 << 3, 'NO_RECV_STP'],
  [1 << 4, 'NO_FLOOD'],
  [1 << 5, 'NO_FWD'],
  [1 << 6, 'NO_PACKET_IN'],
]);
const STATE = new Map([
  [1 << 0, 'LINK_DOWN'],
  [1 << 1, 'BLOCKED'],
  [1 << 2, 'LIVE'],
]);
const STP_STATES = ['', 'STP_LEARN', 'STP_FORWARD', 'STP_BLOCK'];
const STP_MASK = 3 << 8;

const FEATURES = new Map(
  [
    '10MB-HD',
    '10MB-FD',
    '100MB-HD',
    '100MB-FD',
    '1GB-HD',
    '1GB-FD',
    '10GB-FD',
    '40GB-FD',
    '100GB-FD',
    '1TB-FD',
    'OTHER',
    'COPPER',
    'FIBER',
    'AUTO_NEG',
    'AUTO_PAUSE',
    'AUTO_PAUSE_ASYM',
  ].map((name, i) => [1 << i, name]),
);

const formatConfig = (config: number): string => bitNames(config, CONFIG, ' ');

/** The two bits of STP are a number; without them (listening) nothing is said of STP. */
function formatState(state: number): string {
  const stp = STP_STATES[(state & STP_MASK) >> 8];
  const rest = state & ~STP_MASK;
  return stp && !rest ? stp : `${stp}${bitNames(rest, STATE, ' ')}`;
}

/** Bits that no version of OpenFlow has are left out. */
const KNOWN_FEATURES = 0xffff;

const features = (title: string, bits: number): string =>
  bits & KNOWN_FEATURES ? `     ${title.padEnd(11)} ${bitNames(bits & KNOWN_FEATURES, FEATURES, ' ')}\n` : '';

export function formatPhyPort(p: PhyPort): string {
  const name = /^[ -~]*/.exec(p.name.slice(0, 63))![0];
  return [
    ` ${formatPort(p.portNo)}(${name}): addr:${formatMac(p.hwAddr)}\n`,
    `     config:     ${formatConfig(p.config)}\n`,
    `     state:      ${formatState(p.state)}\n`,
    features('current:', p.curr),
    features('advertised:', p.advertised),
    features('supported:', p.supported),
    features('peer:', p.peer),
    `     speed: ${Math.floor(p.currSpeed / 1000)} Mbps now, ${Math.floor(p.maxSpeed / 1000)} Mbps max\n`,
  ].join('');
}

/** In the order of the ports' 16-bit numbers. */
export const formatPhyPorts = (ports: readonly PhyPort[]): string =>
  [...ports]
    .sort((a, b) => (a.portNo & 0xffff) - (b.portNo & 0xffff))
    .map(formatPhyPort)
    .join('');

function formatCustom(custom: PortStats['custom']): string {
  if (!custom?.length) return '';
  const items = custom.map(({ name, value }, i) => {
    if (name === '') return '';
    return `${i % 3 === 0 ? `\n${' '.repeat(22)}` : ' '}${name}=${value},`;
  });
  return `           CUSTOM Statistics${items.join('')}\n`;
}

const stat = (items: Record<string, bigint>): string =>
  Object.entries(items)
    .map(([name, n]) => `${name}=${counter(n)}`)
    .join(', ');

function formatPortStats(s: PortStats, names: PortNames | undefined): string {
  const rx = stat({
    pkts: s.rxPackets,
    bytes: s.rxBytes,
    drop: s.rxDropped,
    errs: s.rxErrors,
    frame: s.rxFrameErr,
    over: s.rxOverErr,
    crc: s.rxCrcErr,
  });
  const tx = stat({ pkts: s.txPackets, bytes: s.txBytes, drop: s.txDropped, errs: s.txErrors, coll: s.collisions });
  const duration =
    s.durationSec === undefined ? '' : `           duration=${formatDuration(s.durationSec, s.durationNsec ?? 0)}\n`;
  const pad = (s.portNo & 0xffff) < 10 ? ' ' : '';
  return `  port ${pad}${formatPort(s.portNo, names)}: rx ${rx}\n           tx ${tx}\n${duration}${formatCustom(s.custom)}`;
}

const REASONS = { add: 'ADD', delete: 'DEL', modify: 'MOD' } as const;

function rate(name: string, n: number | undefined): string {
  if (n === undefined || n === 0xffff) return '';
  return n <= 1000 ? ` ${name}:${Math.floor(n / 10)}.${n % 10}%` : ` ${name}:(disabled)`;
}

function formatQueueConfigs(queues: readonly QueueConfig[], names: PortNames | undefined): string {
  const sorted = [...queues].sort((a, b) => (a.portNo & 0xffff) - (b.portNo & 0xffff) || a.queueId - b.queueId);
  let last = 0;
  const out = sorted.map((q) => {
    const title = q.portNo === last ? '' : `port=${formatPort(q.portNo, names)}\n`;
    last = q.portNo;
    return `${title}queue ${q.queueId}:${rate('min_rate', q.minRate)}${rate('max_rate', q.maxRate)}\n`;
  });
  return ` ${out.join('')}`;
}

export const PORTS: Printers = {
  port_status: (m) => ` ${REASONS[m.reason]}:${formatPhyPort(m.port)}`,
  port_mod: (m, { names }) =>
    [
      ` port: ${formatPort(m.portNo, names)}: addr:${formatMac(m.hwAddr)}\n`,
      `     config: ${formatConfig(m.config)}\n`,
      `     mask:   ${formatConfig(m.mask)}\n`,
      `     advertise: ${m.advertise ? bitNames(m.advertise, FEATURES, ' ') : 'UNCHANGED'}\n`,
    ].join(''),
  port_stats_request: (m, { names }) => ` port_no=${formatPort(m.portNo, names)}`,
  port_stats_reply: (m, { names, verbosity }) =>
    ` ${m.ports.length} ports\n${verbosity < 1 ? '' : m.ports.map((s) => formatPortStats(s, names)).join('')}`,
  port_desc_stats_request: (m, { names }) => ` port=${formatPort(m.portNo, names)}`,
  port_desc_stats_reply: (m) => `\n${formatPhyPorts(m.ports)}`,
  queue_stats_request: (m, { names }) => ` port=${formatPort(m.portNo, names)} queue=${queueName(m.queueId)}`,
  queue_stats_reply: (m, { names, verbosity }) => {
    const line = (q: (typeof m.queues)[number]) => {
      const duration = q.durationSec === undefined ? '?' : formatDuration(q.durationSec, q.durationNsec ?? 0);
      const counters = stat({ bytes: q.txBytes, pkts: q.txPackets, errors: q.txErrors });
      return `  port ${formatPort(q.portNo, names)} queue ${queueName(q.queueId)}: ${counters}, duration=${duration}\n`;
    };
    return ` ${m.queues.length} queues\n${verbosity < 1 ? '' : m.queues.map(line).join('')}`;
  },
  queue_get_config_request: (m, { names }) =>
    ` port=${formatPort(m.portNo, names)}${m.queueId === 0xffffffff ? '' : ` queue=${queueName(m.queueId)}`}`,
  queue_get_config_reply: (m, { names }) => formatQueueConfigs(m.queues, names),
};
