/**
 * The vhost-user protocol, declared: requests, payloads, features. Source: "Vhost-user Protocol" in QEMU's documentation
 * (docs/interop/vhost-user), for split virtqueues of network devices. The members of a payload follow each other without gaps, in
 * the machine's byte order (little-endian on everything Turnout runs on).
 */

export type VhostUserMember = readonly [name: string, type: 'u32' | 'u64'];

/** Bytes of the header: u32 request, u32 flags, u32 size of what follows. */
export const VHOST_USER_HDR_SIZE = 12;
export const VHOST_USER_VERSION = 1;
/** Flags of the header. */
export const VHOST_USER_VERSION_MASK = 0x3;
export const VHOST_USER_REPLY = 0x4;
export const VHOST_USER_NEED_REPLY = 0x8;

/** Most regions in one SET_MEM_TABLE. */
export const VHOST_USER_MAX_REGIONS = 8;
/** Bits of the u64 of SET_VRING_KICK, CALL and ERR: the ring's index, and "no fd comes with this". */
export const VHOST_USER_VRING_INDEX_MASK = 0xff;
export const VHOST_USER_VRING_NOFD = 0x100;
/** Largest split ring (virtio 1.2, section 2.7). */
export const VIRTQUEUE_MAX_SIZE = 32768;

export const VHOST_USER_PAYLOADS = {
  none: [],
  u64: [['value', 'u64']],
  vringState: [
    ['index', 'u32'],
    ['num', 'u32'],
  ],
  vringAddr: [
    ['index', 'u32'],
    ['flags', 'u32'],
    ['descUserAddr', 'u64'],
    ['usedUserAddr', 'u64'],
    ['availUserAddr', 'u64'],
    ['logGuestAddr', 'u64'],
  ],
  /** Followed by nRegions times `memRegion`. */
  memTable: [
    ['nRegions', 'u32'],
    ['padding', 'u32'],
  ],
  memRegion: [
    ['gpa', 'u64'],
    ['size', 'u64'],
    ['userAddr', 'u64'],
    ['mmapOffset', 'u64'],
  ],
  /** ADD_MEM_REG, REM_MEM_REG: padding, then one `memRegion`. */
  oneMemRegion: [
    ['padding', 'u64'],
    ['gpa', 'u64'],
    ['size', 'u64'],
    ['userAddr', 'u64'],
    ['mmapOffset', 'u64'],
  ],
  log: [
    ['mmapSize', 'u64'],
    ['mmapOffset', 'u64'],
  ],
} as const satisfies Record<string, readonly VhostUserMember[]>;

export type VhostUserPayloadName = keyof typeof VHOST_USER_PAYLOADS;

/**
 * How many fds come with a request: `vring`: one, unless VHOST_USER_VRING_NOFD is set; `regions`: one a region; `optional`: none
 * or one.
 */
export type VhostUserFds = 'none' | 'one' | 'optional' | 'vring' | 'regions';

export interface VhostUserRequestRow {
  id: number;
  payload: VhostUserPayloadName;
  fds: VhostUserFds;
  /** Payload of the answer that this request always gets. */
  reply?: VhostUserPayloadName;
}

/** Requests from the front end (the guest's side) to the back end (the switch). */
export const VHOST_USER_REQUESTS = {
  GET_FEATURES: { id: 1, payload: 'none', fds: 'none', reply: 'u64' },
  SET_FEATURES: { id: 2, payload: 'u64', fds: 'none' },
  SET_OWNER: { id: 3, payload: 'none', fds: 'none' },
  RESET_OWNER: { id: 4, payload: 'none', fds: 'none' },
  SET_MEM_TABLE: { id: 5, payload: 'memTable', fds: 'regions' },
  SET_LOG_BASE: { id: 6, payload: 'log', fds: 'one' },
  SET_LOG_FD: { id: 7, payload: 'none', fds: 'one' },
  SET_VRING_NUM: { id: 8, payload: 'vringState', fds: 'none' },
  SET_VRING_ADDR: { id: 9, payload: 'vringAddr', fds: 'none' },
  SET_VRING_BASE: { id: 10, payload: 'vringState', fds: 'none' },
  GET_VRING_BASE: { id: 11, payload: 'vringState', fds: 'none', reply: 'vringState' },
  SET_VRING_KICK: { id: 12, payload: 'u64', fds: 'vring' },
  SET_VRING_CALL: { id: 13, payload: 'u64', fds: 'vring' },
  SET_VRING_ERR: { id: 14, payload: 'u64', fds: 'vring' },
  GET_PROTOCOL_FEATURES: { id: 15, payload: 'none', fds: 'none', reply: 'u64' },
  SET_PROTOCOL_FEATURES: { id: 16, payload: 'u64', fds: 'none' },
  GET_QUEUE_NUM: { id: 17, payload: 'none', fds: 'none', reply: 'u64' },
  SET_VRING_ENABLE: { id: 18, payload: 'vringState', fds: 'none' },
  SEND_RARP: { id: 19, payload: 'u64', fds: 'none' },
  NET_SET_MTU: { id: 20, payload: 'u64', fds: 'none' },
  RESET_DEVICE: { id: 34, payload: 'none', fds: 'none' },
  GET_MAX_MEM_SLOTS: { id: 36, payload: 'none', fds: 'none', reply: 'u64' },
  ADD_MEM_REG: { id: 37, payload: 'oneMemRegion', fds: 'one' },
  REM_MEM_REG: { id: 38, payload: 'oneMemRegion', fds: 'optional' },
  SET_STATUS: { id: 39, payload: 'u64', fds: 'none' },
  GET_STATUS: { id: 40, payload: 'none', fds: 'none', reply: 'u64' },
} as const satisfies Record<string, VhostUserRequestRow>;

export type VhostUserRequestName = keyof typeof VHOST_USER_REQUESTS;

/** Protocol features: bit numbers. */
export const VHOST_USER_PROTOCOL_F = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  NET_MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
} as const;

/** Virtio's feature bits as vhost-user carries them: bit numbers. Source: virtio 1.2, sections 5.1.3 and 6; bit 30: vhost-user. */
export const VIRTIO_F = {
  NET_CSUM: 0,
  NET_GUEST_CSUM: 1,
  NET_MTU: 3,
  NET_MAC: 5,
  NET_GUEST_TSO4: 7,
  NET_GUEST_TSO6: 8,
  NET_GUEST_ECN: 9,
  NET_GUEST_UFO: 10,
  NET_HOST_TSO4: 11,
  NET_HOST_TSO6: 12,
  NET_HOST_ECN: 13,
  NET_HOST_UFO: 14,
  NET_MRG_RXBUF: 15,
  NET_STATUS: 16,
  NET_CTRL_VQ: 17,
  NET_CTRL_RX: 18,
  NET_CTRL_VLAN: 19,
  NET_GUEST_ANNOUNCE: 21,
  NET_MQ: 22,
  NET_CTRL_MAC_ADDR: 23,
  NOTIFY_ON_EMPTY: 24,
  LOG_ALL: 26,
  ANY_LAYOUT: 27,
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  VHOST_USER_PROTOCOL_FEATURES: 30,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  NET_GUEST_USO4: 54,
  NET_GUEST_USO6: 55,
  NET_HOST_USO: 56,
} as const;
