/** What `turnout bench` measures: one row a line of its table. */

/** Packets between two vhost-user ports, both directions, one core a switch. */
export interface ThroughputRow {
  kind: 'throughput';
  name: string;
  title: string;
  /** In bench/rulesets/. */
  ruleset: string;
  /** Flows that testpmd's flowgen sends in turn on each port, evenly: destination addresses from 10.253.0.0 upward. */
  nFlows: number;
  /** Wanted at least: Turnout's rate divided by Open vSwitch's. */
  goal: number;
}

/** CPU of a switch with nothing to do, and how long the first packet after a silence takes. */
export interface IdleRow {
  kind: 'idle';
  name: string;
  title: string;
}

/** Flow-mods, dumps, memory: see control.ts. */
export interface ControlRow {
  kind: 'control';
  name: string;
  title: string;
}

export type Row = ThroughputRow | IdleRow | ControlRow;

export const ROWS: readonly Row[] = [
  {
    kind: 'throughput',
    name: 'bare-in-port',
    title: '64 B, bare in_port rule',
    ruleset: 'bare-in-port.flows',
    nFlows: 1000,
    goal: 1,
  },
  {
    kind: 'throughput',
    name: 'l3l4-1k',
    title: '64 B, L3/L4 rules, 1,000 flows',
    ruleset: 'l3l4-1k.flows',
    nFlows: 1000,
    goal: 1,
  },
  {
    kind: 'throughput',
    name: 'l3l4-100k',
    title: '64 B, L3/L4 rules, 100k flows',
    ruleset: 'l3l4-100k.flows',
    nFlows: 100_000,
    goal: 1,
  },
  { kind: 'idle', name: 'idle', title: 'idle: CPU, and the first packet after 10 s of silence' },
  {
    kind: 'control',
    name: 'control',
    title: 'control plane: a bundle of 100k flow-mods, a dump of 200k flows, memory',
  },
];
