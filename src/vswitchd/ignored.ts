import { vlogModule } from '../base/vlog.ts';
import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';
import { map, number, set, text } from './config-values.ts';

/** What the database can ask for and this switch does not do: each is told once, by one line. docs/columns.md names them all. */

const log = vlogModule('bridge');

interface IgnoredColumn {
  column: string;
  /** Whether the value asks for something. */
  asks(value: IdlRow[string], row: IdlRow): boolean;
  what: string;
}

const isTrue = (value: IdlRow[string]): boolean => value === true;
const isSet = (value: IdlRow[string]): boolean => set(value).length > 0;
const enables = (value: IdlRow[string]): boolean => map(value).get('enable')?.toLowerCase() === 'true';

const BRIDGE: readonly IgnoredColumn[] = [
  { column: 'stp_enable', asks: isTrue, what: 'the spanning tree protocol' },
  { column: 'rstp_enable', asks: isTrue, what: 'the rapid spanning tree protocol' },
  { column: 'mcast_snooping_enable', asks: isTrue, what: 'multicast snooping' },
  { column: 'netflow', asks: isSet, what: 'NetFlow' },
  { column: 'sflow', asks: isSet, what: 'sFlow' },
  { column: 'ipfix', asks: isSet, what: 'IPFIX' },
  { column: 'auto_attach', asks: isSet, what: 'auto-attach' },
];

const PORT: readonly IgnoredColumn[] = [
  { column: 'qos', asks: isSet, what: 'queueing (QoS; only the DSCP of queues counts)' },
  { column: 'bond_fake_iface', asks: isTrue, what: 'an interface of the host in the name of a bond' },
];

const INTERFACE: readonly IgnoredColumn[] = [
  { column: 'bfd', asks: enables, what: 'BFD' },
  { column: 'cfm_mpid', asks: (v) => number(v) !== undefined, what: 'CFM' },
  { column: 'lldp', asks: enables, what: 'LLDP' },
];

/** Columns to monitor for this, by table. */
export const IGNORED_COLUMNS = {
  Bridge: ['stp_enable', 'rstp_enable', 'mcast_snooping_enable', 'netflow', 'sflow', 'ipfix', 'auto_attach'],
  Interface: ['bfd', 'cfm_mpid', 'lldp'],
} as const;

export class IgnoredSettings {
  readonly #told = new Set<string>();
  readonly #log: (text: string) => void;

  constructor(say: (text: string) => void = (text) => log.info(text)) {
    this.#log = say;
  }

  /** Tells what is asked for in vain and was not told before. */
  tell(snapshot: IdlSnapshot): void {
    this.#table(snapshot, 'Bridge', BRIDGE);
    this.#table(snapshot, 'Port', PORT);
    this.#table(snapshot, 'Interface', INTERFACE);
  }

  #table(snapshot: IdlSnapshot, table: string, columns: readonly IgnoredColumn[]): void {
    for (const row of snapshot.table(table).values())
      for (const { column, asks, what } of columns)
        if (asks(row[column], row)) this.#say(table, text(row.name), column, what);
  }

  #say(table: string, name: string, column: string, what: string): void {
    const key = `${table}/${name}/${column}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#log(`${table.toLowerCase()} ${name}: ${column} has no effect, this switch does not do ${what} yet`);
  }
}
