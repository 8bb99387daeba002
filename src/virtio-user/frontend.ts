/**
 * What a vhost-user front end says to a switch, as a generator of steps: it yields a request and is resumed with the answer's value. It
 * knows no socket, so that a test can play the switch. Requests and their order: QEMU's docs/interop/vhost-user, section
 * "Starting and stopping rings".
 */
import { VHOST_USER_PROTOCOL_F, VHOST_USER_REQUESTS, VIRTIO_F } from '../../protocols/vhost-user.ts';
import { encodeMemTable, encodeRequest } from '../wire/vhost-user.ts';
import type { MemoryLayout, RingPlace } from './driver-memory.ts';

export interface FrontendStep {
  message: Uint8Array;
  /** Sent with the message; they stay the caller's. */
  fds: readonly number[];
  /** The request whose answer, a u64 or a ring's position, resumes the generator; none when it goes on at once. */
  reply?: number;
}

/** A ring and its eventfds, by vhost ring index: 0 is what the guest receives on, 1 what it transmits on. */
export interface FrontendRing {
  place: RingPlace;
  kickFd: number;
  callFd: number;
}

export interface FrontendSetup {
  layout: Pick<MemoryLayout, 'sharedBase' | 'sharedSize'>;
  memoryFd: number;
  rings: readonly [rx: FrontendRing, tx: FrontendRing];
}

export interface Negotiated {
  features: bigint;
  protocolFeatures: bigint;
}

export class FrontendError extends Error {
  override name = 'FrontendError';
}

type Steps<T> = Generator<FrontendStep, T, bigint>;

const bit = (n: number) => 1n << BigInt(n);
const WANTED = bit(VIRTIO_F.VERSION_1) | bit(VIRTIO_F.NET_MRG_RXBUF) | bit(VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES);
const WANTED_PROTOCOL = bit(VHOST_USER_PROTOCOL_F.MQ) | bit(VHOST_USER_PROTOCOL_F.REPLY_ACK);

const has = (features: bigint, n: number) => (features & bit(n)) !== 0n;

const send = (message: Uint8Array, fds: readonly number[] = []): FrontendStep => ({ message, fds });

type AskName = 'GET_FEATURES' | 'GET_PROTOCOL_FEATURES' | 'GET_QUEUE_NUM';

/** Asks for a u64. */
function* ask(name: AskName): Steps<bigint> {
  return yield { message: encodeRequest(name, {}), fds: [], reply: VHOST_USER_REQUESTS[name].id };
}

/** Features that both sides have. */
function* negotiateFeatures(): Steps<Negotiated> {
  yield send(encodeRequest('SET_OWNER', {}));
  const features = (yield* ask('GET_FEATURES')) & WANTED;
  if (!has(features, VIRTIO_F.VERSION_1)) throw new FrontendError('the switch does not offer VIRTIO_F_VERSION_1');
  let protocolFeatures = 0n;
  if (has(features, VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES)) {
    protocolFeatures = (yield* ask('GET_PROTOCOL_FEATURES')) & WANTED_PROTOCOL;
    yield send(encodeRequest('SET_PROTOCOL_FEATURES', { value: protocolFeatures }));
    if (has(protocolFeatures, VHOST_USER_PROTOCOL_F.MQ)) yield* ask('GET_QUEUE_NUM');
  }
  return { features, protocolFeatures };
}

/** Sends a request; with REPLY_ACK the switch's verdict is awaited. */
function* sure(name: string, id: number, ack: boolean, message: Uint8Array, fds: readonly number[]): Steps<void> {
  if (!ack) {
    yield send(message, fds);
    return;
  }
  const verdict = yield { message, fds, reply: id };
  if (verdict !== 0n) throw new FrontendError(`the switch refused ${name} (${verdict})`);
}

function* shareMemory(setup: FrontendSetup, ack: boolean): Steps<void> {
  const { sharedBase, sharedSize } = setup.layout;
  // Addresses are offsets in the driver's memory: a descriptor's address is a WebAssembly pointer.
  const region = { gpa: BigInt(sharedBase), size: BigInt(sharedSize), userAddr: BigInt(sharedBase), mmapOffset: 0n };
  const { id } = VHOST_USER_REQUESTS.SET_MEM_TABLE;
  yield* sure('SET_MEM_TABLE', id, ack, encodeMemTable([region], ack), [setup.memoryFd]);
}

function* startRing(index: number, ring: FrontendRing): Steps<void> {
  const { place } = ring;
  yield send(encodeRequest('SET_VRING_NUM', { index, num: place.size }));
  yield send(encodeRequest('SET_VRING_BASE', { index, num: 0 }));
  const address = {
    index,
    flags: 0,
    descUserAddr: BigInt(place.desc),
    usedUserAddr: BigInt(place.used),
    availUserAddr: BigInt(place.avail),
    logGuestAddr: 0n,
  };
  yield send(encodeRequest('SET_VRING_ADDR', address));
  yield send(encodeRequest('SET_VRING_KICK', { value: BigInt(index) }), [ring.kickFd]);
}

/** From a fresh connection to two running rings. Throws FrontendError. */
export function* startDevice(setup: FrontendSetup): Steps<Negotiated> {
  const negotiated = yield* negotiateFeatures();
  const ack = has(negotiated.protocolFeatures, VHOST_USER_PROTOCOL_F.REPLY_ACK);
  // rte_vhost makes a ring when it first hears of it, and this is the first that names one.
  for (const [index, ring] of setup.rings.entries()) {
    yield send(encodeRequest('SET_VRING_CALL', { value: BigInt(index) }), [ring.callFd]);
  }
  yield send(encodeRequest('SET_FEATURES', { value: negotiated.features }));
  yield* shareMemory(setup, ack);
  for (const [index, ring] of setup.rings.entries()) yield* startRing(index, ring);
  if (!has(negotiated.features, VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES)) return negotiated;
  for (const index of setup.rings.keys()) yield* enableRing(index, 1, ack);
  return negotiated;
}

function* enableRing(index: number, on: 0 | 1, ack: boolean): Steps<void> {
  const { id } = VHOST_USER_REQUESTS.SET_VRING_ENABLE;
  yield* sure('SET_VRING_ENABLE', id, ack, encodeRequest('SET_VRING_ENABLE', { index, num: on }, ack), []);
}

/** Stops both rings; afterwards the switch touches them no more. */
export function* stopDevice(negotiated: Negotiated): Steps<void> {
  const ack = has(negotiated.protocolFeatures, VHOST_USER_PROTOCOL_F.REPLY_ACK);
  for (const index of [0, 1]) {
    if (has(negotiated.features, VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES)) yield* enableRing(index, 0, ack);
    const message = encodeRequest('GET_VRING_BASE', { index, num: 0 });
    yield { message, fds: [], reply: VHOST_USER_REQUESTS.GET_VRING_BASE.id };
  }
}
