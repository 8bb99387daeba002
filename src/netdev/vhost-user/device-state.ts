import type { VhostUserRegion } from '../../wire/vhost-user.ts';

/** What a front end has told about one ring. */
export interface VringState {
  /** Entries; 0 until SET_VRING_NUM. */
  size: number;
  /** Addresses in the front end's own address space; undefined until SET_VRING_ADDR. */
  addr: { desc: bigint; avail: bigint; used: bigint } | undefined;
  /** Where to go on when the ring starts; while it runs, where it last started. */
  lastAvail: number;
  lastUsed: number;
  /** The next start looks at used->idx, because the front end has set the ring up anew. */
  fresh: boolean;
  /** SET_VRING_KICK has come, and no GET_VRING_BASE since. */
  kicked: boolean;
  enabled: boolean;
}

/**
 * Everything about a device that a successor of this process needs besides the fds: a plain record. With it go, in the FdStore, the
 * device's `listen`, `conn`, `mem/<i>`, `kick/<i>`, `call/<i>` and `err/<i>`.
 */
export interface VhostDeviceState {
  version: 1;
  connected: boolean;
  owned: boolean;
  features: bigint;
  protocolFeatures: bigint;
  regions: VhostUserRegion[];
  /** By ring index; its length is how many rings the front end has named. */
  rings: VringState[];
  /** By NET_SET_MTU; 0 until then. */
  guestMtu: number;
  /** Virtio device status by SET_STATUS. */
  status: number;
}

export function newVring(): VringState {
  return { size: 0, addr: undefined, lastAvail: 0, lastUsed: 0, fresh: true, kicked: false, enabled: false };
}

export function newDeviceState(): VhostDeviceState {
  return {
    version: 1,
    connected: false,
    owned: false,
    features: 0n,
    protocolFeatures: 0n,
    regions: [],
    rings: [],
    guestMtu: 0,
    status: 0,
  };
}

const BIGINT = /^0x[0-9a-f]+n$/;

/** JSON, with a bigint as the string `0x…n`. */
export function encodeDeviceState(state: VhostDeviceState): string {
  return JSON.stringify(state, (_key, value) => (typeof value === 'bigint' ? `0x${value.toString(16)}n` : value));
}

/** Reads what `encodeDeviceState` wrote. Throws on another version. */
export function decodeDeviceState(text: string): VhostDeviceState {
  const state = JSON.parse(text, (_key, value) =>
    typeof value === 'string' && BIGINT.test(value) ? BigInt(value.slice(0, -1)) : value,
  ) as VhostDeviceState;
  if (state.version !== 1) throw new Error(`vhost-user device state of version ${state.version}`);
  for (const ring of state.rings) ring.addr ??= undefined;
  return state;
}
