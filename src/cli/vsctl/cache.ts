import { CtlError } from './errors.ts';
import type { Model, Row } from './model.ts';

/** A bridge; a fake one (a VLAN of its parent) has no row of its own. */
export interface Bridge {
  readonly name: string;
  readonly row: Row | undefined;
  readonly ports: Port[];
  /** VLAN bridges, by VLAN. */
  readonly children: Map<number, Bridge>;
  readonly parent: Bridge | undefined;
  readonly vlan: number;
}

export interface Port {
  readonly row: Row;
  readonly name: string;
  readonly bridge: Bridge;
  readonly ifaces: Interface[];
}

export interface Interface {
  readonly row: Row;
  readonly name: string;
  readonly port: Port;
}

/** Fetches what the cache is made of. */
export function fetchBridges(db: Model): void {
  db.fetch('Open_vSwitch', 'bridges');
  db.fetch('Bridge', 'name', 'controller', 'fail_mode', 'ports');
  db.fetch('Port', 'name', 'fake_bridge', 'tag', 'interfaces');
  db.fetch('Interface', 'name', 'ofport', 'error');
}

/** The row of Bridge behind a real or a fake bridge. */
export function bridgeRow(bridge: Bridge): Row {
  return (bridge.parent ?? bridge).row!;
}

function tagOf(port: Row): number | undefined {
  const tag = port.scalar('tag');
  return typeof tag === 'number' && tag >= 0 && tag <= 4095 ? tag : undefined;
}

const isFakeBridge = (port: Row): boolean => port.scalar('fake_bridge') === true && tagOf(port) !== undefined;

interface CacheLog {
  warn(text: string): void;
  err(text: string): void;
}

/** Bridges, ports and interfaces by their names, as the transaction has left them so far. */
export class BridgeCache {
  readonly #db: Model;
  readonly #ovs: Row;
  readonly #log: CacheLog;
  #isValid = false;
  /** Of the present command. */
  #hasVerifiedPorts = false;
  readonly bridges = new Map<string, Bridge>();
  readonly ports = new Map<string, Port>();
  readonly ifaces = new Map<string, Interface>();

  constructor(db: Model, ovs: Row, log: CacheLog) {
    this.#db = db;
    this.#ovs = ovs;
    this.#log = log;
  }

  beginCommand(): void {
    this.#hasVerifiedPorts = false;
  }

  invalidate(): void {
    this.#isValid = false;
    this.bridges.clear();
    this.ports.clear();
    this.ifaces.clear();
  }

  /** To be called before anything is looked up. */
  populate(): this {
    if (this.#isValid) return this;
    this.#isValid = true;
    const rows = this.#ovs.refs('bridges');
    this.#addBridges(rows);
    const seen = new Set<string>();
    for (const row of rows) {
      const name = row.string('name');
      if (seen.has(name)) continue;
      seen.add(name);
      for (const port of row.refs('ports')) this.#addPort(this.bridges.get(name)!, port, seen);
    }
    return this;
  }

  #addBridges(rows: readonly Row[]): void {
    const ports = new Set<string>();
    for (const row of rows) {
      const name = row.string('name');
      if (this.bridges.has(name)) {
        this.#log.warn(`${name}: database contains duplicate bridge name`);
        continue;
      }
      const bridge = this.#addBridge(name, row, undefined, 0);
      for (const port of row.refs('ports')) {
        const portName = port.string('name');
        if (ports.has(portName)) continue;
        ports.add(portName);
        if (isFakeBridge(port) && !this.bridges.has(portName))
          this.#addBridge(portName, undefined, bridge, tagOf(port)!);
      }
    }
  }

  #addBridge(name: string, row: Row | undefined, parent: Bridge | undefined, vlan: number): Bridge {
    const bridge: Bridge = { name, row, ports: [], children: new Map(), parent, vlan };
    const conflict = parent?.children.get(vlan);
    if (conflict) {
      this.#log.warn(
        `${parent!.name}: bridge has multiple VLAN bridges (${name} and ${conflict.name}) for VLAN ${vlan}, but only one is allowed`,
      );
    } else parent?.children.set(vlan, bridge);
    this.bridges.set(name, bridge);
    return bridge;
  }

  #addPort(bridge: Bridge, row: Row, bridgeNames: Set<string>): void {
    const name = row.string('name');
    const known = this.ports.get(name);
    if (known) {
      if (known.row === row) {
        this.#log.warn(`${name}: port is in multiple bridges (${bridge.name} and ${known.bridge.name})`);
      } else this.#log.err(`${name}: database contains duplicate port name`);
      return;
    }
    if (isFakeBridge(row)) {
      if (bridgeNames.has(name)) return;
      bridgeNames.add(name);
    }
    const port = this.addPort(bridge, row);
    for (const iface of row.refs('interfaces')) this.#addInterface(port, iface);
  }

  #addInterface(port: Port, row: Row): void {
    const name = row.string('name');
    const known = this.ifaces.get(name);
    if (!known) this.addInterface(port, row);
    else if (known.row === row) {
      this.#log.warn(`${name}: interface is in multiple ports (${known.port.name} and ${port.name})`);
    } else this.#log.err(`${name}: database contains duplicate interface name`);
  }

  /** A port with a tag belongs to the fake bridge of that VLAN, if there is one. */
  addPort(parent: Bridge, row: Row): Port {
    const tag = tagOf(row);
    const bridge = (tag === undefined ? undefined : parent.children.get(tag)) ?? parent;
    const port: Port = { row, name: row.string('name'), bridge, ifaces: [] };
    bridge.ports.push(port);
    this.ports.set(port.name, port);
    return port;
  }

  addInterface(port: Port, row: Row): void {
    const iface: Interface = { row, name: row.string('name'), port };
    port.ifaces.push(iface);
    this.ifaces.set(iface.name, iface);
  }

  /** Deletes the port and its interfaces, in the database too. */
  deletePort(port: Port): void {
    const { bridge } = port;
    const parent = bridgeRow(bridge);
    parent.setRefs(
      'ports',
      parent.refs('ports').filter((row) => row !== port.row),
    );
    for (const iface of [...port.ifaces]) this.deleteInterface(iface);
    bridge.ports.splice(bridge.ports.indexOf(port), 1);
    this.ports.delete(port.name);
    port.row.delete();
  }

  deleteInterface(iface: Interface): void {
    const { ifaces } = iface.port;
    ifaces.splice(ifaces.indexOf(iface), 1);
    this.ifaces.delete(iface.name);
    iface.row.delete();
  }

  deleteBridge(bridge: Bridge): void {
    for (const child of [...bridge.children.values()]) this.deleteBridge(child);
    for (const port of [...bridge.ports]) this.deletePort(port);
    for (const set of this.#db.table('Flow_Sample_Collector_Set').rows()) {
      if (bridge.row && set.scalar('bridge') === bridge.row.uuid) set.delete();
    }
    bridge.parent?.children.delete(bridge.vlan);
    if (bridge.row) {
      bridge.row.delete();
      this.#ovs.setRefs(
        'bridges',
        this.#ovs.refs('bridges').filter((row) => row !== bridge.row),
      );
    }
    this.bridges.delete(bridge.name);
  }

  /** What the answers lean on must still be so when the transaction is carried out. */
  verifyPorts(): void {
    if (this.#hasVerifiedPorts) return;
    this.#ovs.verify('bridges');
    for (const row of this.#db.table('Bridge').rows()) row.verify('ports');
    for (const row of this.#db.table('Port').rows()) row.verify('interfaces');
    this.#hasVerifiedPorts = true;
  }

  findBridge(name: string): Bridge | undefined {
    this.#ovs.verify('bridges');
    return this.bridges.get(name);
  }

  bridge(name: string): Bridge {
    const bridge = this.findBridge(name);
    if (!bridge) throw new CtlError(`no bridge named ${name}`);
    return bridge;
  }

  /** The row of a bridge that is no fake one. */
  realBridge(name: string): Row {
    const bridge = this.bridge(name);
    if (bridge.parent) throw new CtlError(`${name} is a fake bridge`);
    return bridge.row!;
  }

  /** A port other than a bridge's own. */
  findPort(name: string): Port | undefined {
    const port = this.ports.get(name);
    this.verifyPorts();
    return port?.bridge.name === name ? undefined : port;
  }

  port(name: string): Port {
    const port = this.findPort(name);
    if (!port) throw new CtlError(`no port named ${name}`);
    return port;
  }

  findInterface(name: string): Interface | undefined {
    const iface = this.ifaces.get(name);
    this.verifyPorts();
    return iface?.port.bridge.name === name ? undefined : iface;
  }

  interface(name: string): Interface {
    const iface = this.findInterface(name);
    if (!iface) throw new CtlError(`no interface named ${name}`);
    return iface;
  }

  /** Throws CtlError, with `refusal` before the reason, when the name is taken. */
  checkConflicts(name: string, refusal: string): void {
    this.verifyPorts();
    if (this.bridges.has(name)) throw new CtlError(`${refusal} because a bridge named ${name} already exists`);
    const port = this.ports.get(name);
    if (port) {
      throw new CtlError(`${refusal} because a port named ${name} already exists on bridge ${port.bridge.name}`);
    }
    const iface = this.ifaces.get(name);
    if (!iface) return;
    throw new CtlError(
      `${refusal} because an interface named ${name} already exists on bridge ${iface.port.bridge.name}`,
    );
  }
}
