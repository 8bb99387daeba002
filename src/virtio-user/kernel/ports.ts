/** A port: its two queues and the counters that both programs report. */
import {
  PORT_RX,
  PORT_STRIDE,
  PORT_TX,
  PORTS,
  RX_BYTES,
  RX_CONSUMED,
  RX_ERRORS,
  RX_NO_BUFFER,
  RX_PACKETS,
  TX_BYTES,
  TX_DROPPED,
  TX_PACKETS,
  VQ_BROKEN,
} from './layout';
import { packetFree, packetLen } from './pool';
import { rxBurst, rxRefill, txBurst, vqUsable } from './virtqueue';

export function portAt(n: u32): u32 {
  return PORTS + n * PORT_STRIDE;
}

export function count(port: u32, counter: u32, n: u64): void {
  store<u64>(port + counter, load<u64>(port + counter) + n);
}

/** Sends packets and counts them; returns how many the ring took. */
export function sendBurst(port: u32, packets: u32, n: u32): u32 {
  let bytes: u64 = 0;
  // Lengths first: what is sent belongs to the device.
  for (let i: u32 = 0; i < n; i++) bytes += packetLen(load<u32>(packets + (i << 2)));
  const sent = txBurst(port + PORT_TX, packets, n);
  for (let i = sent; i < n; i++) bytes -= packetLen(load<u32>(packets + (i << 2)));
  if (sent == 0) return 0;
  count(port, TX_PACKETS, sent);
  count(port, TX_BYTES, bytes);
  return sent;
}

/** Sends packets; those that the ring has no room for are freed and counted as dropped. */
export function sendOrDrop(port: u32, packets: u32, n: u32): void {
  const sent = sendBurst(port, packets, n);
  if (sent == n) return;
  for (let i = sent; i < n; i++) packetFree(load<u32>(packets + (i << 2)));
  count(port, TX_DROPPED, n - sent);
}

/** Receives packets into `out`, counts them, and gives the device new buffers. */
export function receiveBurst(port: u32, out: u32, max: u32): u32 {
  const vq = port + PORT_RX;
  if (!vqUsable(vq)) return 0;
  const n = rxBurst(vq, out, max);
  if (n != 0) {
    let bytes: u64 = 0;
    for (let i: u32 = 0; i < n; i++) bytes += packetLen(load<u32>(out + (i << 2)));
    count(port, RX_PACKETS, n);
    count(port, RX_BYTES, bytes);
  }
  if (load<u32>(vq, VQ_BROKEN) != 0) {
    count(port, RX_ERRORS, 1);
    return n;
  }
  const missing = rxRefill(vq);
  if (missing != 0) count(port, RX_NO_BUFFER, missing);
  return n;
}

/** Frees received packets that end here by design. */
export function consume(port: u32, packets: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) packetFree(load<u32>(packets + (i << 2)));
  if (n != 0) count(port, RX_CONSUMED, n);
}
