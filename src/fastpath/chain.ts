/**
 * Walks a chain of descriptors (virtio 1.1, sections 2.6.5 and 2.6.7). Each 16-byte descriptor is copied once and the copy is checked; a chain ends at
 * the size of its table, and a packet at DESCS_MAX.
 */
import { TAIL_PIECES_MAX, VRING_DESC, VRING_F_INDIRECT, VRING_FLAGS, VRING_REGIONS, VRING_SIZE } from './gen/arena';
import { gLoad64 } from './guest';
import { DESC_F_INDIRECT, DESC_F_NEXT, NOWHERE, translate } from './ring';

/** Descriptors of one packet. */
const DESCS_MAX: u32 = TAIL_PIECES_MAX;

/** The chain that is walked: where its table is, which entry comes next. */
let table: u32 = 0;
let tableSize: u32 = 0;
let inIndirect: bool = false;
let walked: u32 = 0;
/** Descriptors that the packet may still take: long chains of empty buffers would cost the other guests the thread's time. */
export let descsLeft: u32 = 0;
/** The descriptor that `nextDesc` copied. */
export let descAddr: u64 = 0;
export let descLen: u32 = 0;
export let descFlags: u32 = 0;
export let descNext: u32 = 0;

// @ts-ignore: decorator
@inline
function startChain(vring: u32): void {
  table = load<u32>(vring, VRING_DESC);
  tableSize = load<u32>(vring, VRING_SIZE);
  inIndirect = false;
  walked = 0;
}

/** The fields of a descriptor that was read as two words. */
// @ts-ignore: decorator
@inline
function splitDesc(addr: u64, rest: u64): void {
  descAddr = addr;
  descLen = <u32>rest;
  descFlags = <u32>(rest >> 32) & 0xffff;
  descNext = <u32>(rest >> 48);
}

/** Copies descriptor `index` of the current table once, entering an indirect table. False when the chain is impossible. */
export function nextDesc(vring: u32, index: u32): bool {
  if (index >= tableSize || walked >= tableSize || descsLeft == 0) return false;
  walked++;
  descsLeft--;
  const at = table + index * 16;
  splitDesc(gLoad64(at), gLoad64(at + 8));
  return descFlags & DESC_F_INDIRECT ? enterIndirect(vring) : true;
}

/** Goes on in the indirect table of the current descriptor: not nested, not chained, a whole number of descriptors, no longer than the ring. */
function enterIndirect(vring: u32): bool {
  if (inIndirect || !(load<u32>(vring, VRING_FLAGS) & VRING_F_INDIRECT)) return false;
  if (descFlags & DESC_F_NEXT || descLen == 0 || descLen & 15) return false;
  const count = descLen >> 4;
  if (count > load<u32>(vring, VRING_SIZE)) return false;
  const at = translate(load<u32>(vring, VRING_REGIONS), descAddr, descLen);
  if (at == NOWHERE) return false;
  table = at;
  tableSize = count;
  inIndirect = true;
  walked = 0;
  return nextDesc(vring, 0);
}

/** The packet that comes next may take DESCS_MAX descriptors, in however many chains. */
// @ts-ignore: decorator
@inline
export function startPacket(): void {
  descsLeft = DESCS_MAX;
}

// @ts-ignore: decorator
@inline
export function hasDescs(): bool {
  return descsLeft != 0;
}

/** Starts a chain at descriptor `head` of the ring. */
export function openChain(vring: u32, head: u32): bool {
  startChain(vring);
  return nextDesc(vring, head);
}

/** Starts a chain, and a packet, at descriptor `head`, which has been read already. */
export function openReadChain(vring: u32, head: u32, addr: u64, rest: u64): bool {
  startChain(vring);
  if (head >= tableSize) return false;
  walked = 1;
  descsLeft = DESCS_MAX - 1;
  splitDesc(addr, rest);
  return descFlags & DESC_F_INDIRECT ? enterIndirect(vring) : true;
}
