import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OfpPort } from '../base/types.ts';
import {
  type Envelope,
  type FragHandling,
  type Message,
  type MessageOf,
  type MessageType,
  type PacketOut,
  PC_NO_FLOOD,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
  PC_NO_RECV,
  PC_NO_RECV_STP,
  PC_NO_STP,
  PC_PORT_DOWN,
  type Resume,
} from '../openflow/messages.ts';
import type { GroupMod } from '../openflow/messages-group.ts';
import type { MeterMod } from '../openflow/messages-meter.ts';
import type { CtMatch } from '../openflow/messages-nicira.ts';
import type { TunTable } from '../openflow/tun-metadata.ts';
import { type Logger, OFP10_VERSION, type OfprotoDesc } from './config.ts';
import { FlowModOp } from './flow-mod.ts';
import type { FlowTables } from './flow-tables.ts';
import { GroupModOp, type GroupTable } from './group-table.ts';
import type { MeterTable } from './meters.ts';
import type { FlowMonitors } from './monitors.ts';
import type { Ofconn } from './ofconn.ts';
import type { BridgePort } from './port.ts';
import { change, type ModOp, noStep, type Requester, type Slicer, type Steps, step } from './transaction.ts';

/** Requests that change a bridge, alone or in a bundle, and what they need of it. */

/** A packet-out that has been translated, and waits for being carried out. */
export interface StagedPacketOut {
  /** Counts what it did, and sends the packet. */
  finish(): void;
  /** Lets go of what it holds; nothing has happened. */
  cancel(): void;
}

/** The part of a bridge that requests are about. */
export interface RequestHost {
  readonly name: string;
  readonly flowTables: FlowTables;
  readonly groupTable: GroupTable;
  readonly meters: MeterTable;
  readonly monitors: FlowMonitors;
  /** Runs what changes tables, one change after the other. */
  readonly slicer: Slicer;
  readonly desc: OfprotoDesc;
  frag: FragHandling;
  tunTable: TunTable;
  /** Bits of the tunnel metadata fields that flows' actions name. */
  tunMetadataInUse(): bigint;
  tlvReply(): Omit<MessageOf<'nxt_tlv_table_reply'>, 'type'>;
  /** Forgets connections of a zone, or all; with `match` those alone that it describes. */
  ctFlush(zone: number | undefined, match?: CtMatch): OfErrorName | undefined;
  /** A bundle that nobody has touched for so long is forgotten. */
  readonly bundleIdleMs: number;
  datapathId(): bigint;
  bridgePorts(): Iterable<BridgePort>;
  bridgePort(port: OfpPort): BridgePort | undefined;
  nowMs(): number;
  /** Takes the datapath's counters. */
  pushStats(): void;
  /** Translates a packet-out; lookups see what the change under way has staged. */
  packetOut(m: PacketOut, allowInconsistent?: boolean): StagedPacketOut | OfErrorName;
  /** Goes on with a packet that was paused. */
  resume(m: Resume): OfErrorName | undefined;
  /** `by`: whose port-mod it was. */
  portConfigChanged(port: BridgePort, by: Ofconn): void;
  /** Something that translation reads has changed. */
  changed(): void;
  conns(): Iterable<Ofconn>;
  /** Tells the others of a request (OFPT_REQUESTFORWARD). */
  forwardRequest(m: GroupMod | MeterMod, by: Requester): void;
  roleStatus(conn: Ofconn, reason: number): void;
  generationId: bigint | undefined;
  log(module: string): Logger;
}

/** A request of whatever type. */
export type AnyRequest = Pick<Request, 'host' | 'conn' | 'env' | 'raw'>;

export interface Request<T extends MessageType = MessageType> {
  host: RequestHost;
  conn: Ofconn;
  m: MessageOf<T>;
  env: Envelope;
  raw: Uint8Array;
}

/** What a handler gives: the error to answer with, if any, now or when the work is through. */
export type Outcome = OfErrorName | undefined | Promise<OfErrorName | undefined>;

const OFPST_VENDOR = 0xffff;
const OFPT_VENDOR = 4;

/** A request in Nicira's form gets its reply in it. */
export const isNicira = (raw: Uint8Array): boolean =>
  raw[1] === OFPT_VENDOR || (raw[0] === 1 && raw[1] === 16 && ((raw[8] << 8) | raw[9]) === OFPST_VENDOR);

export const reply = (r: Omit<AnyRequest, 'host'>, m: Message): undefined => {
  r.conn.reply(m, r.env.xid, isNicira(r.raw));
};

/** Runs work in slices. What is short is done when this returns, the rest is a promise. */
export function inSlices<T>(slicer: Slicer, make: () => Steps<T>): T | Promise<T> {
  let result: { value: T } | undefined;
  let resolve: ((value: T) => void) | undefined;
  slicer.run(make, (value: T) => {
    result = { value };
    resolve?.(value);
  });
  return result
    ? (result as { value: T }).value
    : new Promise((r) => {
        resolve = r;
      });
}

function applyOp(r: AnyRequest, op: ModOp): Outcome {
  const { host, conn, env } = r;
  const by = { conn, xid: env.xid };
  const failed = inSlices(host.slicer, () => change(host.flowTables, [op], by));
  return failed instanceof Promise ? failed.then((f) => f?.error) : failed?.error;
}

export function flowMod(r: Request<'flow_mod'>): Outcome {
  const op = FlowModOp.init(r.host.flowTables, r.m);
  if (typeof op === 'string') return op;
  const outcome = applyOp(r, op);
  const report = (error: OfErrorName | undefined) => {
    if (!error) r.conn.countFlowMod(r.m.command, r.host.nowMs());
    return error;
  };
  return outcome instanceof Promise ? outcome.then(report) : report(outcome);
}

export function groupModOp(host: RequestHost, m: GroupMod): GroupModOp {
  return new GroupModOp(host.groupTable, host.flowTables, m, (mod, by) => host.forwardRequest(mod, by));
}

export const groupMod = (r: Request<'group_mod'>): Outcome => applyOp(r, groupModOp(r.host, r.m));

export function meterMod(r: Request<'meter_mod'>): Outcome {
  const { host, conn, env, m } = r;
  return inSlices(host.slicer, () =>
    step(() => {
      if (m.command === 'delete') host.pushStats();
      const error = host.meters.mod(m, host.flowTables);
      host.changed();
      if (!error) host.forwardRequest(m, { conn, xid: env.xid });
      return error;
    }),
  );
}

export function packetOut(r: Request<'packet_out'>): Outcome {
  return inSlices(r.host.slicer, () =>
    step(() => {
      const staged = r.host.packetOut(r.m, r.env.version === OFP10_VERSION);
      if (typeof staged === 'string') return staged;
      staged.finish();
      return undefined;
    }),
  );
}

/** A packet-out of a bundle. */
export class PacketOutOp implements ModOp {
  readonly deletes = false;
  readonly #host: RequestHost;
  readonly #m: PacketOut;
  #staged: StagedPacketOut | undefined;

  constructor(host: RequestHost, m: PacketOut) {
    this.#host = host;
    this.#m = m;
  }

  start(): Steps<OfErrorName | undefined> {
    return step(() => this.#stage());
  }

  #stage(): OfErrorName | undefined {
    const { view } = this.#host.flowTables;
    view.next = true;
    const staged = this.#host.packetOut(this.#m);
    view.next = false;
    if (typeof staged === 'string') return staged;
    this.#staged = staged;
    return undefined;
  }

  revert(): Steps<void> {
    return step(() => this.#staged?.cancel());
  }

  finish(): Steps<void> {
    return step(() => this.#staged?.finish());
  }
}

const PORT_MOD_BITS: readonly number[] = [
  PC_NO_STP,
  PC_NO_RECV,
  PC_NO_RECV_STP,
  PC_NO_FLOOD,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
];

/** The port that a port-mod names, or why not. */
function portOfMod(host: RequestHost, m: MessageOf<'port_mod'>): BridgePort | OfErrorName {
  const port = host.bridgePort(m.portNo);
  if (!port) return 'OFPPMFC_BAD_PORT';
  return Buffer.from(m.hwAddr).equals(Buffer.from(port.netdev.mac())) ? port : 'OFPPMFC_BAD_HW_ADDR';
}

/** The kernel may refuse (ENETDOWN, EPERM, ENODEV): then the port stays as it is, as in Open vSwitch. */
function setAdminUp(host: RequestHost, port: BridgePort, up: boolean): void {
  try {
    port.netdev.setAdminUp(up);
  } catch (e) {
    host.log('ofproto').warn(`${port.name}: could not be set ${up ? 'up' : 'down'} (${(e as Error).message})`);
  }
}

export function applyPortMod(host: RequestHost, m: MessageOf<'port_mod'>, conn: Ofconn): OfErrorName | undefined {
  const port = portOfMod(host, m);
  if (typeof port === 'string') return port;
  const { config } = port;
  if (m.mask & PC_PORT_DOWN) setAdminUp(host, port, (m.config & PC_PORT_DOWN) === 0);
  for (const bit of PORT_MOD_BITS) if (m.mask & bit) port.configBits = (port.configBits & ~bit) | (m.config & bit);
  if (port.config !== config) host.portConfigChanged(port, conn);
  return undefined;
}

/** A port-mod of a bundle: it is applied when the rest has succeeded, and can't be undone. */
export class PortModOp implements ModOp {
  readonly deletes = false;
  readonly #host: RequestHost;
  readonly #m: MessageOf<'port_mod'>;
  readonly #atomic: boolean;
  readonly #conn: Ofconn;

  constructor(host: RequestHost, m: MessageOf<'port_mod'>, atomic: boolean, conn: Ofconn) {
    this.#host = host;
    this.#m = m;
    this.#atomic = atomic;
    this.#conn = conn;
  }

  start(): Steps<OfErrorName | undefined> {
    return step(() => {
      if (this.#atomic) return 'OFPBFC_MSG_FAILED';
      const port = portOfMod(this.#host, this.#m);
      return typeof port === 'string' ? port : undefined;
    });
  }

  revert(): Steps<void> {
    return noStep();
  }

  finish(): Steps<void> {
    return step(() => {
      applyPortMod(this.#host, this.#m, this.#conn);
    });
  }
}
