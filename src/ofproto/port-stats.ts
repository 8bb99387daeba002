import type { Dpif } from '../dpif/dpif.ts';
import type { NetdevStats } from '../netdev/netdev.ts';
import type { PortStats } from '../openflow/messages.ts';
import type { BridgePort } from './port.ts';

/** Counters of ports: what the datapath counts and what the device adds. */

const ZERO: Omit<NetdevStats, 'custom'> = {
  rxPackets: 0n,
  txPackets: 0n,
  rxBytes: 0n,
  txBytes: 0n,
  rxErrors: 0n,
  txErrors: 0n,
  rxDropped: 0n,
  txDropped: 0n,
};

export function netdevStats(port: BridgePort, dpif: Dpif): NetdevStats {
  const device = port.netdev.stats();
  if (port.odpPort !== undefined && !port.tunnel) {
    const dp = dpif.portStats(port.odpPort);
    const both = (key: 'rxErrors' | 'txErrors' | 'rxDropped' | 'txDropped') => dp[key] + (device[key] ?? 0n);
    return {
      ...dp,
      rxErrors: both('rxErrors'),
      txErrors: both('txErrors'),
      rxDropped: both('rxDropped'),
      txDropped: both('txDropped'),
      custom: new Map([...dp.custom, ...(device.custom ?? [])]),
    };
  }
  const { rxPackets, rxBytes, txPackets, txBytes } = port.vportStats;
  return {
    ...ZERO,
    rxPackets: BigInt(rxPackets),
    rxBytes: BigInt(rxBytes),
    txPackets: BigInt(txPackets),
    txBytes: BigInt(txBytes),
    custom: new Map(),
  };
}

const UINT64_MAX = 0xffff_ffff_ffff_ffffn;

/** As OpenFlow reports them; counters that no device here has are unknown. */
export function openflowPortStats(port: BridgePort, nowMs: number): PortStats {
  const s = port.stats();
  const ms = Math.max(0, nowMs - port.createdMs);
  const packetsOnly = port.odpPort === undefined || port.netdev.countsPacketsOnly === true;
  const unknown = packetsOnly ? UINT64_MAX : 0n;
  const known = (n: bigint) => (packetsOnly ? UINT64_MAX : n);
  return {
    portNo: port.ofpPort,
    rxPackets: s.rxPackets,
    txPackets: s.txPackets,
    rxBytes: s.rxBytes,
    txBytes: s.txBytes,
    rxDropped: known(s.rxDropped),
    txDropped: known(s.txDropped),
    rxErrors: known(s.rxErrors),
    txErrors: known(s.txErrors),
    rxFrameErr: unknown,
    rxOverErr: unknown,
    rxCrcErr: unknown,
    collisions: unknown,
    durationSec: Math.floor(ms / 1000),
    durationNsec: Math.round((ms % 1000) * 1e6),
    custom: [...s.custom].map(([name, value]) => ({ name, value })),
  };
}
