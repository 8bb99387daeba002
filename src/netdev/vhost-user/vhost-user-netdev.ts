import { randomBytes } from 'node:crypto';
import { VIRTIO_F } from '../../../protocols/vhost-user.ts';
import { VlogRateLimit, vlogModule } from '../../base/vlog.ts';
import type { FdStore } from '../../keeper/fd-store.ts';
import { SysError } from '../../sys/sys-error.ts';
import { type Netdev, NetdevError, type NetdevIo, type NetdevStats, type VringConsumer } from '../netdev.ts';
import { type Timers, VhostConnection } from './connection.ts';
import { VhostUserDevice } from './device.ts';
import type { VhostDeviceState } from './device-state.ts';
import type { Endpoint, EndpointDeps } from './endpoint.ts';
import { bit, OFFLOAD_FEATURES, SUPPORTED_FEATURES } from './features.ts';
import type { GuestMemoryPool } from './guest-memory.ts';
import type { VhostUserMessage } from './message-reader.ts';

const log = vlogModule('netdev_dpdk');
/** DPDK's vhost library logs under Open vSwitch's module `dpdk`. */
const vhostLog = vlogModule('dpdk');
/** What Open vSwitch allows DPDK; a front end may provoke as many lines as it likes. */
const limit = new VlogRateLimit(600, 600);

/** Smallest and largest MTU: RFC 791's 68; Open vSwitch's longest DPDK frame, 9,728 bytes, without Ethernet header and CRC. */
const MIN_MTU = 68;
const MAX_MTU = 9728 - 18;
const DEFAULT_MTU = 1500;
/** How often a PMD tries to send to a guest whose ring is full: Open vSwitch's default and bounds of `tx-retries-max`. */
const TX_RETRIES_DEFAULT = 8;
const TX_RETRIES_MAX = 32;

/** What all vhost-user ports of a switch share. */
export interface VhostUserShared {
  fds: FdStore;
  clock: Timers;
  pool: GuestMemoryPool;
  maxQueuePairs: number;
  /** `other_config:userspace-tso-enable`, as it was when the first port was opened. */
  userspaceTso: () => boolean;
  /** Names of the ports that are open: their keys in `fds` are taken. */
  names: Set<string>;
  /** Keeps a port's protocol state for a successor of this process; called at every change. */
  saveState(name: string, state: VhostDeviceState): void;
  /** What the predecessor saved, when its fds are in `fds`. */
  loadState(name: string): VhostDeviceState | undefined;
}

export interface VhostUserKind {
  type: 'dpdkvhostuser' | 'dpdkvhostuserclient';
  mode: 'server' | 'client';
  /** The endpoint that the options ask for; undefined when they name no path. */
  endpoint(options: ReadonlyMap<string, string>, deps: EndpointDeps): Endpoint | undefined;
}

/**
 * A vhost-user port: an endpoint, one connection at a time, and the device behind it. All that changes the device runs one after the
 * other in `#queue`.
 */
export class VhostUserNetdev implements Netdev {
  readonly name: string;
  readonly type: string;
  readonly io: NetdevIo;
  readonly #kind: VhostUserKind;
  readonly #shared: VhostUserShared;
  readonly #device: VhostUserDevice;
  readonly #counters = new Map<string, bigint>();
  #endpoint: Endpoint | undefined;
  /** Of the socket, also after it was closed. */
  #path = '';
  #connection: VhostConnection | undefined;
  /** From a front end's coming until everything of it is forgotten. */
  #occupied = false;
  #queue: Promise<void> = Promise.resolve();
  #mac: Uint8Array;
  #mtu = DEFAULT_MTU;
  #adminUp = true;
  #txRetriesMax = TX_RETRIES_DEFAULT;
  #ready = false;
  #carrierResets = 0;
  /** What status() said when the listeners were last called. */
  #shown = '';
  #closed = false;
  #changeSeq = 1;
  readonly #listeners: (() => void)[] = [];

  constructor(name: string, kind: VhostUserKind, shared: VhostUserShared) {
    if (shared.names.has(name)) throw new NetdevError(`could not open network device ${name} (File exists)`);
    shared.names.add(name);
    this.name = name;
    this.type = kind.type;
    this.#kind = kind;
    this.#shared = shared;
    this.#mac = randomMac();
    this.#device = new VhostUserDevice({
      key: this.#key,
      fds: shared.fds,
      pool: shared.pool,
      maxQueuePairs: shared.maxQueuePairs,
      features: shared.userspaceTso() ? SUPPORTED_FEATURES | OFFLOAD_FEATURES : SUPPORTED_FEATURES,
      log: {
        info: (text) => vhostLog.infoRl(limit, this.#tag(text)),
        warn: (text) => vhostLog.warnRl(limit, this.#tag(text)),
      },
      ringEnabled: (index, enabled) => this.#ringEnabled(index, enabled),
      changed: () => this.#deviceChanged(),
      save: (state) => shared.saveState(name, state),
    });
    this.io = { kind: 'vhost', attach: (consumer) => this.#attach(consumer) };
    this.#resume();
  }

  /** The device's protocol state and memory, for tests and for `dpif-netdev` commands. */
  get device(): VhostUserDevice {
    return this.#device;
  }

  /** `options:tx-retries-max`. */
  get txRetriesMax(): number {
    return this.#txRetriesMax;
  }

  mac(): Uint8Array {
    return this.#mac;
  }

  setMac(mac: Uint8Array): void {
    if (mac.every((byte, i) => byte === this.#mac[i])) return;
    this.#mac = Uint8Array.from(mac);
    this.#changed();
  }

  mtu(): number {
    return this.#mtu;
  }

  setMtu(mtu: number): string | undefined {
    if (mtu < MIN_MTU || mtu > MAX_MTU) return `MTU ${mtu} is not in the range ${MIN_MTU} to ${MAX_MTU}`;
    if (mtu !== this.#mtu) {
      this.#mtu = mtu;
      this.#changed();
    }
    return undefined;
  }

  linkUp(): boolean {
    return this.#ready;
  }

  /** The guest came or went. */
  carrierResets(): number {
    return this.#carrierResets;
  }

  changeSeq(): number {
    return this.#changeSeq;
  }

  onChange(cb: () => void): void {
    this.#listeners.push(cb);
  }

  adminUp(): boolean {
    return this.#adminUp;
  }

  setAdminUp(up: boolean): void {
    if (up === this.#adminUp) return;
    this.#adminUp = up;
    this.#changed();
  }

  /** Keys and values of Open vSwitch's netdev-dpdk for vhost-user ports. */
  status(): ReadonlyMap<string, string> {
    const status = new Map([['mode', this.#kind.mode as string]]);
    status.set('status', this.#ready ? 'connected' : 'disconnected');
    if (!this.#ready) return status;
    const { features, guestMtu, rings } = this.#device.state;
    status.set('socket', this.#path);
    status.set('features', `0x${features.toString(16).padStart(16, '0')}`);
    if (features & bit(VIRTIO_F.NET_MTU)) status.set('mtu', String(guestMtu));
    status.set('numa', '0');
    status.set('num_of_vrings', String(rings.length));
    rings.forEach((ring, i) => {
      status.set(`vring_${i}_size`, String(ring.size));
    });
    return status;
  }

  /** Why front ends were cut off, by name; packets are the datapath's. */
  stats(): Partial<NetdevStats> {
    return { custom: this.#counters };
  }

  setOptions(options: ReadonlyMap<string, string>): string | undefined {
    const retries = Number(options.get('tx-retries-max') ?? TX_RETRIES_DEFAULT);
    const fits = Number.isInteger(retries) && retries >= 0 && retries <= TX_RETRIES_MAX;
    this.#txRetriesMax = fits ? retries : TX_RETRIES_DEFAULT;
    try {
      this.#setEndpoint(this.#kind.endpoint(options, this.#endpointDeps()));
      return undefined;
    } catch (e) {
      if (e instanceof SysError || e instanceof NetdevError) return e.message;
      throw e;
    }
  }

  /** While a front end is there, or on its way out, the new endpoint waits for `#disconnected` to open it. */
  #setEndpoint(endpoint: Endpoint | undefined): void {
    if (endpoint?.path === this.#endpoint?.path) return;
    if (this.#endpoint) {
      this.#endpoint.close();
      this.#endpoint = undefined;
      this.#connection?.close('the path has changed');
    }
    if (!this.#occupied || this.#path === '') {
      this.#path = endpoint?.path ?? '';
      endpoint?.open(this.#occupied);
    }
    this.#endpoint = endpoint;
  }

  /** As many pairs as the guest has named, at least one. */
  queues(): { rx: number; tx: number } {
    const n = this.#ready ? Math.max(1, this.#device.state.rings.length >> 1) : 1;
    return { rx: n, tx: n };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#endpoint?.close();
    this.#endpoint = undefined;
    this.#connection?.close();
    await this.settled();
    this.#shared.fds.dropAll(`${this.#key}/`);
    this.#shared.names.delete(this.name);
  }

  /** Resolves when everything that has arrived so far is done. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  get #key(): string {
    return `vhost/${this.name}`;
  }

  #tag(text: string): string {
    return `VHOST_CONFIG: (${this.#path}) ${text}`;
  }

  #endpointDeps(): EndpointDeps {
    const { fds, clock } = this.#shared;
    const warn = (text: string) => vhostLog.warnRl(limit, this.#tag(text));
    return { key: this.#key, fds, clock, warn, opened: () => this.#opened(), connected: (fd) => this.#connected(fd) };
  }

  #opened(): void {
    log.info(`vHost User device '${this.name}' created in 'client' mode, using client socket '${this.#path}'`);
  }

  /** Runs `work` after all that came before it; a failure is a defect and surfaces. */
  #enqueue<T>(work: () => Promise<T> | T): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  #attach(consumer: VringConsumer): void {
    void this.#enqueue(() => this.#device.attach(consumer));
  }

  /** Goes on with the front end that a predecessor left in the fd store, who notices nothing. */
  #resume(): void {
    const fd = this.#shared.fds.get(`${this.#key}/conn`);
    const state = fd < 0 ? undefined : this.#shared.loadState(this.name);
    if (!state?.connected) {
      this.#shared.fds.drop(`${this.#key}/conn`);
      return;
    }
    void this.#enqueue(async () => {
      const error = await this.#device.resume(state);
      if (error !== undefined) this.#connection?.close(error);
    });
    this.#serve(fd);
  }

  #connected(fd: number): void {
    vhostLog.infoRl(limit, this.#tag('new front end'));
    void this.#enqueue(() => this.#device.connected());
    this.#serve(fd);
  }

  #serve(fd: number): void {
    this.#occupied = true;
    this.#connection = new VhostConnection(fd, this.#shared.clock, {
      message: (message) => this.#message(message),
      closed: (reason) => this.#disconnected(reason),
    });
  }

  #message(message: VhostUserMessage): Promise<Uint8Array | undefined> {
    return this.#enqueue(() => this.#device.handle(message));
  }

  #disconnected(reason: string | undefined): void {
    this.#connection = undefined;
    this.#count('vhost_disconnects');
    if (reason !== undefined) {
      this.#count('vhost_errors');
      vhostLog.warnRl(limit, this.#tag(`front end cut off: ${reason}`));
    }
    const endpoint = this.#endpoint;
    void this.#enqueue(async () => {
      await this.#device.disconnected();
      this.#shared.fds.drop(`${this.#key}/conn`);
      log.infoRl(limit, `vHost Device '${this.#path}' connection has been destroyed`);
      this.#occupied = false;
      if (!this.#closed) this.#nextFrontEnd(endpoint, reason !== undefined);
    });
  }

  #nextFrontEnd(last: Endpoint | undefined, misbehaved: boolean): void {
    this.#path = this.#endpoint?.path ?? '';
    if (this.#endpoint === last) last?.released(misbehaved);
    else this.#endpoint?.open(false);
  }

  #ringEnabled(index: number, enabled: boolean): void {
    const queue = `${index & 1 ? 'rx' : 'tx'}_qid ${index >> 1}`;
    const state = enabled ? 'enabled' : 'disabled';
    log.infoRl(limit, `State of queue ${index} ( ${queue} ) of vhost device '${this.#path}' changed to '${state}'`);
  }

  #deviceChanged(): void {
    const ready = this.#device.ready;
    if (ready !== this.#ready) {
      this.#ready = ready;
      this.#carrierResets++;
      log.infoRl(limit, `vHost Device '${this.#path}' has been ${ready ? 'added on numa node 0' : 'removed'}`);
    }
    const shown = [...this.status().values()].join();
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#changed();
  }

  #changed(): void {
    this.#changeSeq++;
    for (const cb of this.#listeners) cb();
  }

  #count(name: string): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0n) + 1n);
  }
}

/** Locally administered, unicast. */
function randomMac(): Uint8Array {
  const mac = new Uint8Array(randomBytes(6));
  mac[0] = (mac[0]! & 0xfc) | 0x02;
  return mac;
}
