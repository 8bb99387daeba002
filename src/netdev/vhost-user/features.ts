import { VHOST_USER_PROTOCOL_F, VIRTIO_F } from '../../../protocols/vhost-user.ts';

/** What the switch offers to a front end. */

/** What the ring code of the fast path (src/fastpath/vring.ts) can do. */
export const SUPPORT_INDIRECT_DESC = true;
export const SUPPORT_EVENT_IDX = false;
/** Every ring is used strictly in the order of its available entries. */
export const SUPPORT_IN_ORDER = true;

/** Rings of one device: as many as Open vSwitch's, 128 queue pairs. */
export const DEFAULT_MAX_QUEUE_PAIRS = 128;

export const bit = (n: number): bigint => 1n << BigInt(n);
const bits = (...numbers: number[]): bigint => numbers.reduce((mask, n) => mask | bit(n), 0n);
const iff = (condition: boolean, n: number): number[] => (condition ? [n] : []);

/** Virtio feature bits that every front end is offered. */
export const SUPPORTED_FEATURES = bits(
  VIRTIO_F.VERSION_1,
  VIRTIO_F.NET_MRG_RXBUF,
  VIRTIO_F.NET_GUEST_ANNOUNCE,
  VIRTIO_F.NET_STATUS,
  VIRTIO_F.NET_MTU,
  VIRTIO_F.NET_MQ,
  VIRTIO_F.ANY_LAYOUT,
  VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES,
  ...iff(SUPPORT_INDIRECT_DESC, VIRTIO_F.RING_INDIRECT_DESC),
  ...iff(SUPPORT_EVENT_IDX, VIRTIO_F.RING_EVENT_IDX),
  ...iff(SUPPORT_IN_ORDER, VIRTIO_F.IN_ORDER),
);

/** Checksums and segmentation left to the receiver, both ways: offered with `other_config:userspace-tso-enable`. */
export const OFFLOAD_FEATURES = bits(
  VIRTIO_F.NET_CSUM,
  VIRTIO_F.NET_GUEST_CSUM,
  VIRTIO_F.NET_GUEST_TSO4,
  VIRTIO_F.NET_GUEST_TSO6,
  VIRTIO_F.NET_GUEST_ECN,
  VIRTIO_F.NET_HOST_TSO4,
  VIRTIO_F.NET_HOST_TSO6,
  VIRTIO_F.NET_HOST_ECN,
  VIRTIO_F.NET_GUEST_USO4,
  VIRTIO_F.NET_GUEST_USO6,
  VIRTIO_F.NET_HOST_USO,
);

export const SUPPORTED_PROTOCOL_FEATURES = bits(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.RARP,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.NET_MTU,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.STATUS,
);

/** Bytes of the virtio_net_hdr before each packet: with num_buffers (12) or without (10). Virtio 1.2, section 5.1.6. */
export function netHdrSize(features: bigint): number {
  return features & bits(VIRTIO_F.NET_MRG_RXBUF, VIRTIO_F.VERSION_1) ? 12 : 10;
}
