import { formatDuration } from '../flow-text.ts';
import {
  type MeterBand,
  type MeterConfig,
  type MeterMod,
  type MeterStats,
  MF_BURST,
  MF_KBPS,
  MF_PKTPS,
  MF_STATS,
  OFPM_ALL,
  OFPM_CONTROLLER,
  OFPM_MAX,
  OFPM_SLOWPATH,
} from '../messages-meter.ts';
import type { Printers } from './printer.ts';
import { bitNames } from './text.ts';

/** Meters. */

const METERS = new Map([
  [OFPM_SLOWPATH, 'slowpath'],
  [OFPM_CONTROLLER, 'controller'],
  [OFPM_ALL, 'all'],
]);

const meterId = (id: number, separator: string): string =>
  `meter${separator}${id <= OFPM_MAX ? id : (METERS.get(id) ?? 'unknown')}`;

const FLAGS = new Map([
  [MF_KBPS, 'kbps'],
  [MF_PKTPS, 'pktps'],
  [MF_BURST, 'burst'],
  [MF_STATS, 'stats'],
]);
const ALL_FLAGS = MF_KBPS | MF_PKTPS | MF_BURST | MF_STATS;

/** Each followed by a space. */
function flagsText(flags: number): string {
  const known = [...FLAGS].filter(([bit]) => flags & bit).map(([, name]) => `${name} `);
  const rest = flags & ~ALL_FLAGS;
  return `${known.join('')}${rest ? `flags:0x${rest.toString(16)} ` : ''}`;
}

function bandText(b: MeterBand, flags: number): string {
  const burst = flags & MF_BURST ? ` burst_size=${b.burstSize}` : '';
  return `\ntype=${b.type} rate=${b.rate}${burst}${b.type === 'dscp_remark' ? ` prec_level=${b.precLevel}` : ''}`;
}

/** A meter as add-meter takes it, its bands on lines of their own. */
export function formatMeterConfig(m: MeterConfig): string {
  const bands = m.bands.map((b) => bandText(b, m.flags)).join('');
  return `${meterId(m.meterId, '=')} ${flagsText(m.flags)}bands=${bands}\n`;
}

const COMMANDS = { add: 'ADD', modify: 'MOD', delete: 'DEL' } as const;

/** Also of a request that is forwarded. */
export const formatMeterMod = (m: MeterMod): string => ` ${COMMANDS[m.command]} ${formatMeterConfig(m)}`;

function statsText(s: MeterStats): string {
  const bands = s.bands.map((b, i) => `${i}: packet_count:${b.packetCount} byte_count:${b.byteCount}\n`);
  const counts = `flow_count:${s.flowCount} packet_in_count:${s.packetInCount} byte_in_count:${s.byteInCount}`;
  const duration = formatDuration(s.durationSec, s.durationNsec);
  return `\n${meterId(s.meterId, ':')} ${counts} duration:${duration} bands:\n${bands.join('')}`;
}

const BAND_TYPES = new Map([
  [1 << 1, 'drop'],
  [1 << 2, 'dscp_remark'],
]);

export const METERS_TEXT: Printers = {
  meter_mod: formatMeterMod,
  meter_stats_request: (m) => ` ${meterId(m.meterId, '=')}`,
  meter_config_stats_request: (m) => ` ${meterId(m.meterId, '=')}`,
  meter_stats_reply: (m) => m.meters.map(statsText).join(''),
  meter_config_stats_reply: (m) => m.meters.map((c) => `\n${formatMeterConfig(c)}`).join(''),
  meter_features_stats_reply: (m) =>
    [
      `\nmax_meter:${m.maxMeters} max_bands:${m.maxBands} max_color:${m.maxColor}\n`,
      `band_types: ${bitNames(m.bandTypes, BAND_TYPES, ' ')}\n`,
      `capabilities: ${bitNames(m.capabilities, FLAGS, ' ')}\n`,
    ].join(''),
};
