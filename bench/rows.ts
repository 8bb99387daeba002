/** What `turnout bench` measures: one row a line of its table. Goals and aims are those of the project's plan. */
import type { TunnelType } from './overlay-frames.ts';
import type { OtherConfig } from './peers/bench-switch.ts';
import type { Traffic } from './traffic.ts';

interface RowBase {
  name: string;
  title: string;
  /** Wanted at least, and worked for: Turnout's figure divided by Open vSwitch's. */
  goal: number;
  aim: number;
}

/** Packets between two vhost-user ports, one core a switch. */
export interface ThroughputRow extends RowBase {
  kind: 'throughput';
  /** In bench/rulesets/. */
  ruleset: string;
  traffic: Traffic;
  /** How many megaflows the row is about, least and most: a switch that holds others is reported. */
  megaflows: readonly [number, number];
  /** Seconds before the measurement at least, where the flows need them. */
  warmupS?: number;
  /** For both switches, of Open_vSwitch.other_config, beside what is tried for Open vSwitch. */
  config?: OtherConfig;
}

/** What a port's ordinary traffic keeps while the tuple space explosion goes on. `goal` and `aim` are parts of 1. */
export interface ExplosionRow extends RowBase {
  kind: 'explosion';
}

/** Latency of the packets at parts of the load that Open vSwitch can bear. A ratio under 1 is better. */
export interface LatencyRow extends RowBase {
  kind: 'latency';
  /** Parts of that load; the first is the one that the row is named for. */
  loads: readonly number[];
}

/** Memory of a megaflow, and of a PMD's caches. A ratio under 1 is better. */
export interface MemoryRow extends RowBase {
  kind: 'memory';
}

/** What two PMDs carry, of what one does, by Turnout alone: see scaling.ts. `goal` and `aim` are such ratios. */
export interface ScalingRow extends RowBase {
  kind: 'scaling';
}

/** CPU of a switch with nothing to do, and how long the first packet after a silence takes. */
export interface IdleRow extends RowBase {
  kind: 'idle';
}

/** Into a tunnel and out of it: see overlay.ts. */
export interface OverlayRow extends RowBase {
  kind: 'overlay';
  tunnel: TunnelType;
  /** Bytes of the inner frame without its FCS. */
  size: number;
}

/** TCP and pings between two containers with a kernel stack: see containers.ts. */
export interface ContainersRow extends RowBase {
  kind: 'containers';
  /** Whether the containers leave checksums and segmentation to what is below them. */
  offloads: boolean;
  ovsConfig?: OtherConfig;
}

/** TCP frames of 64 KiB between two guests that leave them uncut: see segments.ts. */
export interface SegmentsRow extends RowBase {
  kind: 'segments';
}

/** Flow-mods, dumps, memory: see control.ts. */
export interface ControlRow extends RowBase {
  kind: 'control';
}

/** Transactions a second of the database server: see ovsdb.ts. */
export interface OvsdbRow extends RowBase {
  kind: 'ovsdb';
}

export type Row =
  | ThroughputRow
  | ExplosionRow
  | ScalingRow
  | LatencyRow
  | MemoryRow
  | IdleRow
  | OverlayRow
  | ContainersRow
  | SegmentsRow
  | ControlRow
  | OvsdbRow;

const flowgen = (nFlows: number, size = 60): Traffic => ({ generator: 'testpmd-flowgen', nFlows, size });

/** Megaflows of a million are neither pushed out by the limit nor by their age before the generator comes round. */
export const MANY_MEGAFLOWS: OtherConfig = { 'flow-limit': '2000000', 'max-idle': '120000' };

export const ROWS: readonly Row[] = [
  {
    kind: 'throughput',
    name: 'bare-in-port',
    title: '64 B, bare in_port rule',
    ruleset: 'bare-in-port.flows',
    traffic: flowgen(1000),
    megaflows: [2, 2],
    goal: 1,
    aim: 1.5,
  },
  {
    kind: 'throughput',
    name: 'l3l4-1k',
    title: '64 B, L3/L4 rules, 1,000 flows',
    ruleset: 'l3l4-1k.flows',
    traffic: flowgen(1000),
    megaflows: [32, 32],
    goal: 1.3,
    aim: 2,
  },
  {
    kind: 'throughput',
    name: 'l3l4-100k',
    title: '64 B, L3/L4 rules, 100k flows',
    ruleset: 'l3l4-100k.flows',
    traffic: flowgen(100_000),
    megaflows: [200, 304],
    goal: 1.5,
    aim: 4,
  },
  {
    kind: 'throughput',
    name: 'l3l4-1m',
    title: '64 B, 1M flows under wide megaflows',
    ruleset: 'l3l4-1m.flows',
    traffic: flowgen(500_000),
    megaflows: [20, 24],
    goal: 1.5,
    aim: 4,
  },
  {
    kind: 'throughput',
    name: 'megaflow-each-1m',
    title: '64 B, 1M flows, a megaflow each',
    ruleset: 'megaflow-each.flows',
    traffic: flowgen(500_000),
    megaflows: [990_000, 1_000_002],
    warmupS: 20,
    config: MANY_MEGAFLOWS,
    goal: 5,
    aim: 20,
  },
  {
    kind: 'throughput',
    name: 'random-20-masks',
    title: '64 B, random 5-tuples over 20 masks',
    ruleset: 'random-20-masks.flows',
    traffic: { generator: 'pktgen-random', size: 60 },
    megaflows: [1600, 1792],
    goal: 1.5,
    aim: 4,
  },
  {
    kind: 'throughput',
    name: 'l3l4-1500b',
    title: '1,500 B, L3/L4 rules, 1,000 flows',
    ruleset: 'l3l4-1k.flows',
    traffic: flowgen(1000, 1514),
    megaflows: [32, 32],
    goal: 1.3,
    aim: 2,
  },
  {
    kind: 'explosion',
    name: 'mask-explosion',
    title: 'tuple space explosion: what the port keeps',
    goal: 0.5,
    aim: 0.8,
  },
  { kind: 'scaling', name: 'scaling', title: '64 B, 1,000 flows: two PMDs and one', goal: 1.8, aim: 1.95 },
  {
    kind: 'overlay',
    name: 'vxlan',
    title: 'VXLAN, 64 B',
    tunnel: 'vxlan',
    size: 60,
    goal: 1,
    aim: 1.5,
  },
  {
    kind: 'overlay',
    name: 'vxlan-1500b',
    title: 'VXLAN, 1,500 B',
    tunnel: 'vxlan',
    size: 1464,
    goal: 1,
    aim: 1.5,
  },
  {
    kind: 'overlay',
    name: 'gre',
    title: 'GRE, 64 B',
    tunnel: 'gre',
    size: 60,
    goal: 1,
    aim: 1.5,
  },
  {
    kind: 'latency',
    name: 'latency',
    title: 'latency at half load',
    loads: [0.5, 0.1, 0.25, 0.75, 0.9],
    goal: 1.5,
    aim: 0.9,
  },
  { kind: 'memory', name: 'memory', title: 'memory of a megaflow, and of the caches', goal: 1 / 3, aim: 0.1 },
  {
    kind: 'idle',
    name: 'idle',
    title: 'idle: CPU, and the first packet after 10 s of silence',
    goal: 0.1,
    aim: 0.01,
  },
  { kind: 'segments', name: 'guests-tso', title: 'TSO, 64 KiB guest to guest', goal: 1.3, aim: 2 },
  {
    kind: 'containers',
    name: 'containers-tso',
    title: 'container to container by veth, with TSO',
    offloads: true,
    ovsConfig: { 'userspace-tso-enable': 'true' },
    goal: 1,
    aim: 4,
  },
  {
    kind: 'containers',
    name: 'containers',
    title: 'container to container by veth, no offloads',
    offloads: false,
    goal: 1,
    aim: 4,
  },
  {
    kind: 'control',
    name: 'control',
    title: 'control plane: a bundle of 100k flow-mods, a dump of 200k flows, memory',
    goal: 1,
    aim: 2,
  },
  { kind: 'ovsdb', name: 'ovsdb', title: 'OVSDB transactions', goal: 0.7, aim: 1 },
];
