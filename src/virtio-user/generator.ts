/** Writes what a port generates into the driver's memory, where kernel/generate.ts reads it. Lcore thread, between two kernel calls. */
import type { DriverMemory } from './driver-memory.ts';
import type { KernelRange, Template } from './frame.ts';
import * as L from './kernel/layout.ts';

/** For ever. */
export const NO_LIMIT = 0xffff_ffff_ffff_ffffn;

export const portBase = (port: number) => L.PORTS + port * L.PORT_STRIDE;

function putRange(view: DataView, at: number, r: KernelRange): void {
  view.setUint32(at + L.RANGE_OFFSET, r.offset, true);
  view.setUint32(at + L.RANGE_WIDTH, r.width, true);
  view.setUint32(at + L.RANGE_SUMS, r.sums, true);
  view.setBigUint64(at + L.RANGE_NOW, r.range.start, true);
  view.setBigUint64(at + L.RANGE_MIN, r.range.min, true);
  view.setBigUint64(at + L.RANGE_MAX, r.range.max, true);
  view.setBigUint64(at + L.RANGE_INC, r.range.inc, true);
  view.setUint32(at + L.RANGE_OFFSET2, r.offset2, true);
  view.setUint32(at + L.RANGE_BIAS, r.bias, true);
  view.setUint32(at + L.RANGE_BIAS2, r.bias2, true);
}

function putSums(view: DataView, base: number, t: Template): void {
  view.setUint32(base + L.GEN_IP_SUM, t.ipSumAt, true);
  view.setUint32(base + L.GEN_L4_SUM, t.l4SumAt, true);
  view.setUint32(base + L.GEN_IP_BASE, t.ipBase, true);
  view.setUint32(base + L.GEN_L4_BASE, t.l4Base, true);
  view.setUint32(base + L.GEN_L4_IS_UDP, t.l4IsUdp ? 1 : 0, true);
}

/** Bytes from an entry table's start to the first frame, and room that copyFrame may read beyond a frame. */
const TABLE_ENTRY = 8;
const OVERREAD = 64;

/** Makes `template` what the port sends. It fits into TEMPLATE_ROOM: frames have up to 9,600 bytes. */
export function setTemplate(mem: DriverMemory, port: number, template: Template): void {
  if (template.ranges.length > L.MAX_RANGES) throw new RangeError(`at most ${L.MAX_RANGES} ranges`);
  const { view } = mem;
  const base = portBase(port);
  const table = mem.layout.ports[port]!.template;
  mem.bytes.set(template.frame, table + OVERREAD);
  putTable(view, base, table, [{ at: table + OVERREAD, size: template.frame.length }]);
  putSums(view, base, template);
  template.ranges.forEach((r, i) => {
    putRange(view, base + L.GEN_RANGES + i * L.RANGE_STRIDE, r);
  });
  view.setUint32(base + L.GEN_N_RANGES, template.ranges.length, true);
}

function putTable(view: DataView, base: number, table: number, entries: { at: number; size: number }[]): void {
  entries.forEach((e, i) => {
    view.setUint32(table + i * TABLE_ENTRY, e.at, true);
    view.setUint32(table + i * TABLE_ENTRY + 4, e.size, true);
  });
  view.setUint32(base + L.GEN_TEMPLATES, table, true);
  view.setUint32(base + L.GEN_N_TEMPLATES, entries.length, true);
  view.setUint32(base + L.GEN_NEXT, 0, true);
}

/** Bytes of the replay area that these frames take. */
export function replaySizeOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((n, f) => n + TABLE_ENTRY + f.length + OVERREAD, OVERREAD);
}

/** Makes the port send `frames` in turn, for ever. They are put at `place` of the replay area; returns the place after them. */
export function setReplay(mem: DriverMemory, port: number, frames: readonly Uint8Array[], place: number): number {
  let at = place + frames.length * TABLE_ENTRY;
  const entries = frames.map((f) => {
    const entry = { at, size: f.length };
    mem.bytes.set(f, at);
    at += f.length + OVERREAD;
    return entry;
  });
  const base = portBase(port);
  putTable(mem.view, base, place, entries);
  mem.view.setUint32(base + L.GEN_N_RANGES, 0, true);
  return Math.ceil(at / 8) * 8;
}

export function setCredit(mem: DriverMemory, port: number, frames: number): void {
  mem.view.setUint32(portBase(port) + L.GEN_CREDIT, frames, true);
}

export function getCredit(mem: DriverMemory, port: number): number {
  return mem.view.getUint32(portBase(port) + L.GEN_CREDIT, true);
}

/** Frames that the port may still send; NO_LIMIT for no end. */
export function setLeft(mem: DriverMemory, port: number, frames: bigint): void {
  mem.view.setBigUint64(portBase(port) + L.GEN_LEFT, frames, true);
}

export function getLeft(mem: DriverMemory, port: number): bigint {
  return mem.view.getBigUint64(portBase(port) + L.GEN_LEFT, true);
}

export function setMacs(mem: DriverMemory, port: number, mac: Uint8Array, peer: Uint8Array): void {
  mem.bytes.set(mac, portBase(port) + L.PORT_MAC);
  mem.bytes.set(peer, portBase(port) + L.PORT_PEER_MAC);
}
