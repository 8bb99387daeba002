import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';

/** For tests: a database's snapshot out of plain rows. References are the uuids that the rows are listed under. */

export type FakeTables = { [table: string]: { [uuid: string]: Record<string, unknown> } };

/** Columns with a value that every row of the table has unless it says otherwise. */
const DEFAULTS: { [table: string]: Record<string, unknown> } = {
  Open_vSwitch: { next_cfg: 1, other_config: new Map() },
  Bridge: { datapath_type: 'netdev', controller: [], protocols: [], other_config: new Map(), fail_mode: null },
  Port: { tag: null, trunks: [], vlan_mode: null, other_config: new Map(), protected: false },
  Interface: {
    type: '',
    options: new Map(),
    other_config: new Map(),
    mac: null,
    ofport_request: null,
    mtu_request: null,
  },
  Controller: { type: null, max_backoff: null, inactivity_probe: null },
};

export function fakeSnapshot(tables: FakeTables): IdlSnapshot {
  const views = new Map<string, Map<string, IdlRow>>();
  for (const [table, rows] of Object.entries(tables)) {
    const view = new Map<string, IdlRow>();
    for (const [uuid, row] of Object.entries(rows))
      view.set(uuid, { ...DEFAULTS[table], ...row, _uuid: uuid } as IdlRow);
    views.set(table, view);
  }
  const table = (name: string) => views.get(name) ?? new Map<string, IdlRow>();
  return {
    seqno: 1,
    table,
    get: (name, uuid) => table(name).get(uuid),
    first: (name) => table(name).values().next().value,
  };
}

/** A database with one bridge `br0` and a port of one interface for each of `interfaces`, its local one first. */
export function oneBridge(
  interfaces: { [name: string]: Record<string, unknown> },
  bridge: Record<string, unknown> = {},
): FakeTables {
  const all: { [name: string]: Record<string, unknown> } = { br0: { type: 'internal' }, ...interfaces };
  const names = Object.keys(all);
  return {
    Open_vSwitch: { root: { bridges: ['00112233-4455-6677-8899-aabbccddeeff'] } },
    Bridge: {
      '00112233-4455-6677-8899-aabbccddeeff': { name: 'br0', ports: names.map((n) => `port-${n}`), ...bridge },
    },
    Port: Object.fromEntries(names.map((n) => [`port-${n}`, { name: n, interfaces: [`if-${n}`] }])),
    Interface: Object.fromEntries(names.map((n) => [`if-${n}`, { name: n, ...all[n] }])),
  };
}
