/** Meters: OpenFlow 1.3+ section 5.7. */

/** `OFPM13_*`. */
export const OFPM_MAX = 0xffff0000;
export const OFPM_SLOWPATH = 0xfffffffd;
export const OFPM_CONTROLLER = 0xfffffffe;
export const OFPM_ALL = 0xffffffff;

/** `OFPMF13_*`. */
export const MF_KBPS = 1 << 0;
export const MF_PKTPS = 1 << 1;
export const MF_BURST = 1 << 2;
export const MF_STATS = 1 << 3;

export type MeterCommand = 'add' | 'modify' | 'delete';
export type MeterBandType = 'drop' | 'dscp_remark';

export interface MeterBand {
  type: MeterBandType;
  /** kbit/s or packets/s. */
  rate: number;
  /** kbit or packets. */
  burstSize: number;
  /** Of `dscp_remark`; otherwise 0. */
  precLevel: number;
}

export interface MeterConfig {
  /** 1–OFPM_MAX or one of OFPM_*. */
  meterId: number;
  /** `MF_*`. */
  flags: number;
  bands: MeterBand[];
}

export interface MeterMod extends MeterConfig {
  type: 'meter_mod';
  command: MeterCommand;
}

export interface MeterBandStats {
  packetCount: bigint;
  byteCount: bigint;
}

export interface MeterStats {
  meterId: number;
  flowCount: number;
  packetInCount: bigint;
  byteInCount: bigint;
  durationSec: number;
  durationNsec: number;
  bands: MeterBandStats[];
}

export interface MeterFeatures {
  maxMeters: number;
  /** Bit n: band type n (drop 1, dscp_remark 2). */
  bandTypes: number;
  /** `MF_*`. */
  capabilities: number;
  maxBands: number;
  maxColor: number;
}

export type MeterMessage =
  | MeterMod
  /** OFPM_ALL: every meter. */
  | { type: 'meter_stats_request'; meterId: number }
  | { type: 'meter_stats_reply'; meters: MeterStats[]; more: boolean }
  | { type: 'meter_config_stats_request'; meterId: number }
  | { type: 'meter_config_stats_reply'; meters: MeterConfig[]; more: boolean }
  | { type: 'meter_features_stats_request' }
  | ({ type: 'meter_features_stats_reply' } & MeterFeatures);
