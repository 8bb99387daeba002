/** From the command line's vdevs to what an lcore is started with. */
import { randomBytes } from 'node:crypto';
import { replaySizeOf } from './generator.ts';
import type { LcoreConfig } from './lcore.ts';
import type { VdevConfig } from './vdev.ts';

export interface TrafficOptions {
  vdevs: readonly VdevConfig[];
  /** Descriptors a ring, where a vdev has no queue_size; powers of two. */
  rxd: number;
  txd: number;
  burst: number;
  window?: number;
  /** Destination MACs of the mode mac, by port. */
  peerMacs?: ReadonlyMap<number, Uint8Array>;
  /** Frames that a port replays. */
  replay?: ReadonlyMap<number, readonly Uint8Array[]>;
}

/** A locally administered address, as DPDK gives a virtio-user port without `mac=`. */
function randomMac(): Uint8Array {
  const mac = new Uint8Array(randomBytes(6));
  mac[0] = (mac[0]! & 0xfc) | 2;
  return mac;
}

/** testpmd's peer of port n when none is set. */
const defaultPeer = (port: number) => Uint8Array.of(2, 0, 0, 0, 0, port);

export function lcoreConfig(o: TrafficOptions): LcoreConfig {
  const ports = o.vdevs.map((vdev, i) => ({
    vdev,
    mac: vdev.mac ?? randomMac(),
    peerMac: o.peerMacs?.get(i) ?? defaultPeer(i),
    rxd: vdev.queueSize ?? o.rxd,
    txd: vdev.queueSize ?? o.txd,
  }));
  const replay = ports.map((_, i) => [...(o.replay?.get(i) ?? [])]);
  const replaySize = replay.reduce((n, frames) => n + replaySizeOf(frames), 0);
  return { ports, burst: o.burst, window: o.window ?? 0, replay, replaySize };
}
