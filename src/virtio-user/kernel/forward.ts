/** The forward modes of testpmd; each handles one burst of one stream (an rx port and the tx port it feeds). */

import { generateBurst } from './generate';
import { icmpEcho } from './icmp-echo';
import {
  BURST,
  FWD_FLOWGEN,
  FWD_ICMPECHO,
  FWD_IO,
  FWD_MAC,
  FWD_MACSWAP,
  FWD_RXONLY,
  FWD_TXONLY,
  GEN_CREDIT,
  PORT_MAC,
  PORT_PEER_MAC,
} from './layout';
import { bufData } from './pool';
import { consume, receiveBurst, sendOrDrop } from './ports';

function swapMacs(frame: u32): void {
  const dst = load<u64>(frame);
  const src = load<u32>(frame, 6);
  const src2 = load<u16>(frame, 10);
  store<u32>(frame, src);
  store<u16>(frame, src2, 4);
  store<u32>(frame, <u32>dst, 6);
  store<u16>(frame, <u16>(dst >> 32), 10);
}

/** Destination = the tx port's peer, source = the tx port. */
function writeMacs(frame: u32, txPort: u32): void {
  store<u32>(frame, load<u32>(txPort, PORT_PEER_MAC));
  store<u16>(frame, load<u16>(txPort, PORT_PEER_MAC + 4), 4);
  store<u32>(frame, load<u32>(txPort, PORT_MAC), 6);
  store<u16>(frame, load<u16>(txPort, PORT_MAC + 4), 10);
}

function transfer(rxPort: u32, txPort: u32, mode: u32, burst: u32): u32 {
  const n = receiveBurst(rxPort, BURST, burst);
  if (n == 0) return 0;
  if (mode == FWD_MACSWAP) {
    for (let i: u32 = 0; i < n; i++) swapMacs(bufData(load<u32>(BURST + (i << 2))));
  } else if (mode == FWD_MAC) {
    for (let i: u32 = 0; i < n; i++) writeMacs(bufData(load<u32>(BURST + (i << 2))), txPort);
  }
  sendOrDrop(txPort, BURST, n);
  return n;
}

/** Receives a burst and frees it. */
export function drain(port: u32, burst: u32): u32 {
  const n = receiveBurst(port, BURST, burst);
  consume(port, BURST, n);
  return n;
}

/** txonly and flowgen send as fast as the ring takes it. */
function flood(port: u32, burst: u32): u32 {
  store<u32>(port, burst, GEN_CREDIT);
  return generateBurst(port, burst);
}

/** One burst of one stream; returns how many packets moved. */
export function forwardStream(mode: u32, rxPort: u32, txPort: u32, burst: u32): u32 {
  if (mode == FWD_IO || mode == FWD_MAC || mode == FWD_MACSWAP) return transfer(rxPort, txPort, mode, burst);
  if (mode == FWD_RXONLY) return drain(rxPort, burst);
  if (mode == FWD_TXONLY) return flood(txPort, burst);
  if (mode == FWD_FLOWGEN) return drain(rxPort, burst) + flood(txPort, burst);
  if (mode == FWD_ICMPECHO) return icmpEcho(rxPort, burst);
  return 0;
}
