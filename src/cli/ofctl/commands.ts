import type { OfctlCommand } from './context.ts';

/** The commands of ovs-ofctl. Each is loaded when it is called, with what it needs. */

export interface CommandEntry {
  name: string;
  /** Undefined: not shown by list-commands. */
  usage: string | undefined;
  minArgs: number;
  maxArgs: number;
  /** Not with --read-only. */
  writes: boolean;
  load(): Promise<OfctlCommand>;
}

type Module = Readonly<Record<string, OfctlCommand>>;

const ANY = Number.MAX_SAFE_INTEGER;

/** Name, usage, least and most arguments, and whether it may be run with --read-only. */
type Row = readonly [name: string, usage: string | undefined, min: number, max: number, access: 'RO' | 'RW'];

/** Commands by the module that has them, under their own names. */
const MODULES: readonly (readonly [() => Promise<{ COMMANDS: Module }>, readonly Row[]])[] = [
  [
    () => import('./switch-commands.ts'),
    [
      ['show', 'switch', 1, 1, 'RO'],
      ['dump-desc', 'switch', 1, 1, 'RO'],
      ['get-frags', 'switch', 1, 1, 'RO'],
      ['set-frags', 'switch frag_mode', 2, 2, 'RW'],
      ['probe', 'target', 1, 1, 'RO'],
      ['ping', 'target [n]', 1, 2, 'RO'],
      ['benchmark', 'target n count', 3, 3, 'RO'],
      ['dump-ipfix-bridge', 'switch', 1, 1, 'RO'],
      ['dump-ipfix-flow', 'switch', 1, 1, 'RO'],
      ['ct-flush-zone', 'switch zone', 2, 2, 'RO'],
      ['ct-flush', 'switch [zone=N] [ct-orig-tuple [ct-reply-tuple]]', 1, 4, 'RO'],
      ['add-tlv-map', 'switch map', 2, 2, 'RO'],
      ['del-tlv-map', 'switch [map]', 1, 2, 'RO'],
      ['dump-tlv-map', 'switch', 1, 1, 'RO'],
    ],
  ],
  [
    () => import('./monitor.ts'),
    [
      ['monitor', 'switch [misslen] [invalid_ttl] [watch:[...]]', 1, 3, 'RO'],
      ['snoop', 'switch', 1, 1, 'RO'],
    ],
  ],
  [
    () => import('./table-commands.ts'),
    [
      ['dump-tables', 'switch', 1, 1, 'RO'],
      ['dump-table-features', 'switch', 1, 1, 'RO'],
      ['dump-table-desc', 'switch', 1, 1, 'RO'],
      ['mod-table', 'switch mod', 3, 3, 'RW'],
    ],
  ],
  [
    () => import('./port-commands.ts'),
    [
      ['queue-stats', 'switch [port [queue]]', 1, 3, 'RO'],
      ['queue-get-config', 'switch [port [queue]]', 1, 3, 'RO'],
      ['dump-ports', 'switch [port]', 1, 2, 'RO'],
      ['dump-ports-desc', 'switch [port]', 1, 2, 'RO'],
      ['mod-port', 'switch iface act', 3, 3, 'RW'],
    ],
  ],
  [
    () => import('./flow-commands.ts'),
    [
      ['dump-flows', 'switch', 1, 2, 'RO'],
      ['dump-aggregate', 'switch', 1, 2, 'RO'],
      ['add-flow', 'switch flow', 2, 2, 'RW'],
      ['add-flows', 'switch file', 2, 2, 'RW'],
      ['mod-flows', 'switch flow', 2, 2, 'RW'],
      ['del-flows', 'switch [flow]', 1, 2, 'RW'],
      ['packet-out', 'switch "in_port=<port> packet=<hex data> actions=..."', 2, ANY, 'RW'],
      ['bundle', 'switch file', 2, 2, 'RW'],
    ],
  ],
  [
    () => import('./compare-flows.ts'),
    [
      ['replace-flows', 'switch file', 2, 2, 'RW'],
      ['diff-flows', 'source1 source2', 2, 2, 'RW'],
    ],
  ],
  [
    () => import('./group-commands.ts'),
    [
      ['add-group', 'switch group', 1, 2, 'RW'],
      ['add-groups', 'switch file', 2, 2, 'RW'],
      ['mod-group', 'switch group', 1, 2, 'RW'],
      ['del-groups', 'switch [group]', 1, 2, 'RW'],
      ['insert-buckets', 'switch [group]', 1, 2, 'RW'],
      ['remove-buckets', 'switch [group]', 1, 2, 'RW'],
      ['dump-groups', 'switch [group]', 1, 2, 'RO'],
      ['dump-group-stats', 'switch [group]', 1, 2, 'RO'],
      ['dump-group-features', 'switch', 1, 1, 'RO'],
      ['add-meter', 'switch meter', 2, 2, 'RW'],
      ['mod-meter', 'switch meter', 2, 2, 'RW'],
      ['del-meter', 'switch meter', 1, 2, 'RW'],
      ['del-meters', 'switch', 1, 2, 'RW'],
      ['dump-meter', 'switch meter', 1, 2, 'RO'],
      ['dump-meters', 'switch', 1, 2, 'RO'],
      ['meter-stats', 'switch [meter]', 1, 2, 'RO'],
      ['meter-features', 'switch', 1, 1, 'RO'],
    ],
  ],
  [
    () => import('./print-commands.ts'),
    [
      ['ofp-parse', 'file', 1, 1, 'RW'],
      ['ofp-parse-pcap', 'pcap', 1, ANY, 'RW'],
      ['ofp-print', undefined, 1, 2, 'RW'],
      ['print-error', undefined, 1, 1, 'RW'],
      ['encode-error-reply', undefined, 2, 2, 'RW'],
      ['encode-hello', undefined, 1, 1, 'RW'],
      ['parse-key-value', undefined, 1, ANY, 'RW'],
      ['parse-pcap', undefined, 1, ANY, 'RW'],
      ['parse-packet', undefined, 0, 0, 'RO'],
      ['compose-packet', undefined, 1, 2, 'RO'],
    ],
  ],
  [
    () => import('./parse-commands.ts'),
    [
      ['parse-flow', undefined, 1, 1, 'RW'],
      ['parse-flows', undefined, 1, 1, 'RW'],
      ['parse-group', undefined, 1, 1, 'RW'],
      ['parse-nx-match', undefined, 0, 0, 'RW'],
      ['parse-nxm', undefined, 0, 0, 'RW'],
      ['parse-oxm', undefined, 1, 1, 'RW'],
      ['parse-actions', undefined, 1, 1, 'RW'],
      ['parse-instructions', undefined, 1, 1, 'RW'],
      ['parse-ofp10-match', undefined, 0, 0, 'RW'],
      ['parse-ofp11-match', undefined, 0, 0, 'RW'],
      ['check-vlan', undefined, 2, 2, 'RW'],
    ],
  ],
];

export const COMMANDS: readonly CommandEntry[] = MODULES.flatMap(([load, rows]) =>
  rows.map(([name, usage, minArgs, maxArgs, access]) => ({
    name,
    usage,
    minArgs,
    maxArgs,
    writes: access === 'RW',
    load: async () => (await load()).COMMANDS[name]!,
  })),
);
