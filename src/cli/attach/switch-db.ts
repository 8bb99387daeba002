import { ovsRundir } from '../../base/dirs.ts';
import type { Idl, IdlRow, IdlSnapshot, IdlTxn, RowInput, TxnResult } from '../../ovsdb/idl.ts';
import { createIdl } from '../../ovsdb/idl.ts';

/** The switch's database as those see it who attach containers: bridges, and ports of one interface. */

/** A type that no switch knows: the port has no device while it is set. */
const DETACHED = 'detached';

const MONITOR = {
  Open_vSwitch: ['bridges', 'next_cfg', 'cur_cfg', 'datapath_types'],
  Bridge: ['name', 'ports', 'mirrors', 'datapath_type'],
  Port: ['name', 'interfaces', 'tag', 'trunks', 'vlan_mode', 'external_ids'],
  Interface: ['name', 'type', 'ofport', 'error', 'link_state', 'mac_in_use', 'options', 'external_ids'],
  Mirror: ['name', 'select_src_port', 'select_dst_port', 'output_port', 'external_ids'],
} as const;

/** The database cannot be reached, or the switch does not follow it. */
export class SwitchUnavailable extends Error {
  override name = 'SwitchUnavailable';
}

/** The database or the switch refuses what was asked for. */
export class SwitchRefusal extends Error {
  override name = 'SwitchRefusal';
}

export interface PortRecord {
  readonly name: string;
  readonly bridge: string;
  /** Of the Port's row. */
  readonly uuid: string;
  readonly ifaceUuid: string;
  readonly type: string;
  /** Undefined until the switch has taken it on; -1 when it could not. */
  readonly ofport: number | undefined;
  readonly error: string | undefined;
  readonly link: string | undefined;
  readonly mac: string | undefined;
  readonly tag: number | undefined;
  readonly trunks: readonly number[];
  readonly vlanMode: string | undefined;
  readonly options: ReadonlyMap<string, string>;
  /** Of the Interface. */
  readonly externalIds: ReadonlyMap<string, string>;
}

export interface NewPort {
  readonly bridge: string;
  readonly name: string;
  readonly port?: RowInput;
  readonly iface: RowInput;
}

/** Puts operations into the transaction; false when there is nothing to do. */
type Decide = (txn: IdlTxn, snapshot: IdlSnapshot) => boolean;

export const defaultRemote = (): string => `unix:${ovsRundir()}/db.sock`;

export class SwitchDb {
  readonly #idl: Idl;
  readonly #timeoutMs: number;
  readonly #comment: string;

  private constructor(idl: Idl, timeoutMs: number, comment: string) {
    this.#idl = idl;
    this.#timeoutMs = timeoutMs;
    this.#comment = comment;
  }

  /** Connects and fetches, as ovs-vsctl with one try. `timeoutMs` holds for each later wait too. Rejects with SwitchUnavailable. */
  static async open(remote: string, timeoutMs: number, comment: string): Promise<SwitchDb> {
    const idl = createIdl({ remote, monitor: MONITOR, maxBackoffMs: 250 });
    const failed = new Promise<false>((resolve) => {
      idl.onState(() => idl.state === 'backoff' && resolve(false));
    });
    idl.start();
    const isReady = await withinOr(timeoutMs, Promise.race([idl.ready().then(() => true), failed]));
    if (isReady) return new SwitchDb(idl, timeoutMs, comment);
    idl.stop();
    throw new SwitchUnavailable(`the database at ${remote} does not answer (is ovsdb-server running?)`);
  }

  close(): void {
    this.#idl.stop();
  }

  get snapshot(): IdlSnapshot {
    return this.#idl.snapshot();
  }

  hasBridge(name: string): boolean {
    return this.#bridgeRow(name) !== undefined;
  }

  #bridgeRow(name: string): IdlRow | undefined {
    return [...this.snapshot.table('Bridge').values()].find((row) => row.name === name);
  }

  /** All ports of one interface, bridges' own among them. */
  ports(): PortRecord[] {
    const snapshot = this.snapshot;
    return [...snapshot.table('Bridge').values()].flatMap((bridge) =>
      refs(bridge.ports).flatMap((uuid) => {
        const port = snapshot.get('Port', uuid);
        const [iface, ...others] = refs(port?.interfaces).flatMap((one) => snapshot.get('Interface', one) ?? []);
        return port && iface && others.length === 0 ? [portRecord(String(bridge.name), port, iface)] : [];
      }),
    );
  }

  port(name: string): PortRecord | undefined {
    return this.ports().find((port) => port.name === name);
  }

  /** Makes the bridge if there is none. `datapathType` undefined: as the other bridges have it. */
  async ensureBridge(name: string, datapathType?: string): Promise<void> {
    await this.change((txn) => {
      if (this.hasBridge(name)) return false;
      this.#checkName(name, `cannot create a bridge named ${name}`);
      const iface = txn.insert('Interface', { name, type: 'internal' });
      const port = txn.insert('Port', { name, interfaces: [iface] });
      const type = datapathType ?? this.#usualDatapathType();
      const bridge = txn.insert('Bridge', { name, ports: [port], datapath_type: type });
      txn.mutate('Open_vSwitch', this.#root()._uuid, 'bridges', 'insert', [bridge]);
      return true;
    });
  }

  #usualDatapathType(): string {
    const types = [...this.snapshot.table('Bridge').values()].map((row) => String(row.datapath_type ?? ''));
    if (types.includes('netdev')) return 'netdev';
    const known = refs(this.#root().datapath_types);
    return known.length === 0 || known.includes('system') ? '' : 'netdev';
  }

  /** Adds a port and waits until the switch has it. Resolves with its OpenFlow port number; rejects, with nothing left in the database,
   *  when the name is taken or the switch could not set it up. */
  async addPort({ bridge, name, port = {}, iface }: NewPort): Promise<number> {
    await this.change((txn) => {
      const row = this.#bridgeRow(bridge);
      if (!row) throw new SwitchRefusal(`no bridge named ${bridge}`);
      this.#checkName(name, `cannot create a port named ${name}`);
      const ifaceUuid = txn.insert('Interface', { name, ...iface });
      const portUuid = txn.insert('Port', { name, interfaces: [ifaceUuid], ...port });
      txn.mutate('Bridge', row._uuid, 'ports', 'insert', [portUuid]);
      return true;
    });
    try {
      return await this.#waitForPort(name);
    } catch (error) {
      await this.deletePort(name, false);
      throw error;
    }
  }

  async #waitForPort(name: string): Promise<number> {
    let isSeen = false;
    const state = await this.waitFor(() => {
      const port = this.port(name);
      if (!port && isSeen) throw new SwitchRefusal(`somebody deleted port ${name} meanwhile`);
      isSeen ||= port !== undefined;
      return port?.error !== undefined || (port?.ofport ?? -1) !== -1 ? port : undefined;
    });
    if (!state) throw new SwitchUnavailable(`the switch did not take on port ${name} (is ovs-vswitchd running?)`);
    if (state.error !== undefined) throw new SwitchRefusal(`the switch could not set up port ${name}: ${state.error}`);
    return state.ofport!;
  }

  /** Deletes a port, if it is there. With `waits` not before the switch has let go of it, or does not do so in time. */
  async deletePort(name: string, waits = true): Promise<void> {
    const wanted = await this.change((txn) => {
      const record = this.port(name);
      if (record) txn.mutate('Bridge', this.#bridgeRow(record.bridge)!._uuid, 'ports', 'delete', [record.uuid]);
      return record !== undefined;
    });
    if (waits && wanted !== undefined) await this.waitFor(() => this.#hasReached(wanted));
  }

  /** Has the switch close a port's device and open the one that now has its name, under the same OpenFlow port number. Open vSwitch's
   *  datapath in user space would otherwise stay with a socket on the device that is gone. */
  async reopenPort(name: string): Promise<void> {
    const { type, ofport = -1 } = this.port(name) ?? {};
    const closed = await this.updatePort(name, { iface: { type: DETACHED } });
    await this.waitFor(() => this.#hasReached(closed ?? 0));
    const request = ofport > 0 ? { ofport_request: ofport } : {};
    const opened = await this.updatePort(name, { iface: { type: type === DETACHED ? '' : (type ?? ''), ...request } });
    await this.waitFor(() => this.#hasReached(opened ?? 0));
    await this.#waitForPort(name);
  }

  /** Sets columns of a port's Port and Interface. Resolves with what `change` does. */
  async updatePort(name: string, columns: { port?: RowInput; iface?: RowInput }): Promise<number | undefined> {
    return await this.change((txn) => {
      const record = this.port(name);
      if (!record) throw new SwitchRefusal(`no port named ${name}`);
      if (columns.port) txn.update('Port', record.uuid, columns.port);
      if (columns.iface) txn.update('Interface', record.ifaceUuid, columns.iface);
      return true;
    });
  }

  /** One transaction, decided again on what the database then holds as often as somebody else's change is in its way. Resolves with
   *  the value of cur_cfg that says that the switch has taken it on; undefined when there was nothing to do. */
  async change(decide: Decide): Promise<number | undefined> {
    const end = performance.now() + this.#timeoutMs;
    for (;;) {
      const result = await this.#attempt(decide, end);
      if (result.status === 'unchanged') return undefined;
      if (result.status === 'success') return result.increment;
      if (result.status === 'error') throw new SwitchRefusal(`the database refuses: ${result.error}`);
      if (performance.now() > end) throw new SwitchUnavailable('the database is not there any more');
      await this.#nextChange(100);
    }
  }

  async #attempt(decide: Decide, end: number): Promise<TxnResult> {
    const txn = this.#idl.txn();
    if (!decide(txn, this.snapshot)) return { status: 'unchanged', uuids: new Map() };
    txn.increment('Open_vSwitch', this.#root()._uuid, 'next_cfg');
    txn.comment(this.#comment);
    const result = await withinOr(Math.max(1, end - performance.now()), txn.commit());
    if (!result) throw new SwitchUnavailable('the database does not answer');
    return result;
  }

  #hasReached(cfg: number): true | undefined {
    return Number(this.#root().cur_cfg ?? 0) >= cfg || undefined;
  }

  #root(): IdlRow {
    const root = this.snapshot.first('Open_vSwitch');
    if (!root) throw new SwitchUnavailable('the database is empty (was ovs-vsctl init run?)');
    return root;
  }

  /** Looks after each change until `probe` returns something; undefined when the time is over. */
  async waitFor<T>(probe: () => T | undefined, timeoutMs = this.#timeoutMs): Promise<T | undefined> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const value = probe();
      const left = end - performance.now();
      if (value !== undefined || left <= 0) return value;
      await this.#nextChange(left);
    }
  }

  /** Resolves after the next change, at the latest after `ms`. */
  #nextChange(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        stops.forEach((stop) => {
          stop();
        });
        resolve();
      };
      const timer = setTimeout(finish, ms);
      const stops = [this.#idl.onChange(finish), this.#idl.onState(finish)];
    });
  }

  /** The name of anything in the database is one name (ovs-vsctl's rule). */
  #checkName(name: string, refusal: string): void {
    const snapshot = this.snapshot;
    const taken = ([table, what]: readonly [string, string]) =>
      [...snapshot.table(table).values()].some((row) => row.name === name) ? what : undefined;
    const what = taken(['Bridge', 'a bridge']) ?? taken(['Port', 'a port']) ?? taken(['Interface', 'an interface']);
    if (what !== undefined) throw new SwitchRefusal(`${refusal} because ${what} named ${name} already exists`);
  }
}

function portRecord(bridge: string, port: IdlRow, iface: IdlRow): PortRecord {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
  const map = (value: unknown) => (value instanceof Map ? (value as ReadonlyMap<string, string>) : new Map());
  return {
    name: String(port.name),
    bridge,
    uuid: port._uuid,
    ifaceUuid: iface._uuid,
    type: String(iface.type ?? ''),
    ofport: number(iface.ofport),
    error: text(iface.error),
    link: text(iface.link_state),
    mac: text(iface.mac_in_use),
    tag: number(port.tag),
    trunks: Array.isArray(port.trunks) ? (port.trunks as number[]) : [],
    vlanMode: text(port.vlan_mode),
    options: map(iface.options),
    externalIds: map(iface.external_ids),
  };
}

function refs(value: IdlRow[string] | undefined): readonly string[] {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

/** What `promise` resolves with, or undefined when that takes longer. */
async function withinOr<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
