/**
 * The packet path of the traffic tools: a virtio-user driver and what runs on it. Called by one thread, the lcore; each call handles
 * many bursts. See layout.ts for the memory.
 */

import { drain, forwardStream } from './forward';
import { generateBurst } from './generate';
import { INTERRUPT, KICKS_PENDING, PORT_RX, PORT_TX, STREAMS, TX_ABORTED, VQ_FREE, VQ_LIVE, VQ_SIZE } from './layout';
import { count, portAt } from './ports';
import { rxRefill, txReclaim, vqAbort, vqClear, vqInit, vqInterrupts, vqUsable } from './virtqueue';

export { bufData, bufLen, bufNext, poolFree, poolInit } from './pool';

/** Places a queue (`tx`: 0 or 1) of port `n` in memory: see vqInit. */
export function queueInit(n: u32, tx: u32, size: u32, desc: u32, avail: u32, used: u32, arrays: u32): void {
  const slots = arrays;
  const links = slots + (size << 2);
  const vq = portAt(n) + (tx != 0 ? PORT_TX : PORT_RX);
  vqInit(vq, size, desc, avail, used, slots, links, links + (size << 1));
}

/** Empties both rings and fills the rx one with buffers. Before the rings are announced to the device. */
export function portStart(n: u32): void {
  const port = portAt(n);
  vqClear(port + PORT_RX);
  vqClear(port + PORT_TX);
  store<u32>(port + PORT_RX, 1, VQ_LIVE);
  store<u32>(port + PORT_TX, 1, VQ_LIVE);
  rxRefill(port + PORT_RX);
}

/** Takes all buffers back. After the device has gone. What it had not sent is counted as aborted. */
export function portStop(n: u32): void {
  const port = portAt(n);
  if (load<u32>(port + PORT_RX, VQ_LIVE) == 0) return;
  store<u32>(port + PORT_RX, 0, VQ_LIVE);
  store<u32>(port + PORT_TX, 0, VQ_LIVE);
  txReclaim(port + PORT_TX);
  vqAbort(port + PORT_RX);
  count(port, TX_ABORTED, vqAbort(port + PORT_TX));
}

/** Switches rx interrupts of port `n`; returns how many packets wait already. */
export function rxInterrupts(n: u32, on: u32): u32 {
  const vq = portAt(n) + PORT_RX;
  return vqUsable(vq) ? vqInterrupts(vq, on) : 0;
}

/** Descriptors of port `n`'s tx ring that the device has not given back; 0 when the ring is not live. */
export function txPending(n: u32): u32 {
  const vq = portAt(n) + PORT_TX;
  if (!vqUsable(vq)) return 0;
  txReclaim(vq);
  return load<u32>(vq, VQ_SIZE) - load<u32>(vq, VQ_FREE);
}

function mustReturn(): bool {
  return load<u32>(KICKS_PENDING) != 0 || atomic.load<u32>(INTERRUPT) != 0;
}

/**
 * Runs a forward mode over `nStreams` streams, up to `passes` times; returns when a pass found nothing to do, a device wants a kick
 * or INTERRUPT is set. Returns how many packets moved.
 */
export function forward(mode: u32, nStreams: u32, burst: u32, passes: u32): u32 {
  let moved: u32 = 0;
  for (let pass: u32 = 0; pass < passes; pass++) {
    const before = moved;
    for (let i: u32 = 0; i < nStreams; i++) {
      const stream = STREAMS + (i << 3);
      moved += forwardStream(mode, portAt(load<u32>(stream)), portAt(load<u32>(stream, 4)), burst);
    }
    if (moved == before || mustReturn()) break;
  }
  return moved;
}

/** As `forward`, for the generator: receives and frees on ports 0 to `nPorts` - 1, and sends what their credit allows. */
export function generate(nPorts: u32, burst: u32, passes: u32): u32 {
  let moved: u32 = 0;
  for (let pass: u32 = 0; pass < passes; pass++) {
    const before = moved;
    for (let i: u32 = 0; i < nPorts; i++) {
      moved += drain(portAt(i), burst);
      moved += generateBurst(portAt(i), burst);
    }
    if (moved == before || mustReturn()) break;
  }
  return moved;
}
