import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { createArena } from '../../../src/dpif/userspace/arena.ts';
import { TapPump } from '../../../src/dpif/userspace/tap-pump.ts';
import {
  ARENA_THREADS,
  ARENA_VRINGS,
  DROP_SOCKET_TX_NOT_READY,
  THREAD_DROPS,
  VRING__SIZE,
  VRING_DESC,
  VRING_FRAME_SIZE,
  VRING_PORT,
  VRING_SIZE,
  VRING_STARTED,
} from '../../../src/gen/arena.ts';
import type { SocketConsumer, SocketRing, SocketRings } from '../../../src/netdev/netdev.ts';
import { socketMemory } from '../../../src/netdev/socket-memory.ts';
import { TapNetdev } from '../../../src/netdev/tap.ts';
import { netdevContract } from '../../contract/netdev.ts';
import { until } from '../../support/vhost-front-end.ts';

/** Run by tap.test.ts in a network namespace of its own. */

netdevContract('tap', (name) => new TapNetdev(name));

/** Plays the datapath: starts the rings and moves frames as its threads would. */
class Pump implements SocketConsumer {
  readonly arena = createArena().arena;
  readonly #pump = new TapPump(this.arena, 0, socketMemory().memory);
  #rings: readonly SocketRing[] = [];
  #next = 0;

  async ringsStart({ rings }: SocketRings): Promise<void> {
    this.#rings = rings.filter(({ direction }, i) => direction === 'rx' || i === 1);
    this.#rings.forEach((ring, i) => {
      const at = this.#at(i);
      this.arena.set(at + VRING_DESC, ring.offset);
      this.arena.set(at + VRING_FRAME_SIZE, ring.frameSize);
      this.arena.set(at + VRING_SIZE, ring.nFrames);
      this.arena.set(at + VRING_PORT, 1);
      this.arena.publish(at + VRING_STARTED, 1);
    });
  }

  async ringsStop(): Promise<void> {}

  #at(i: number): number {
    return ARENA_VRINGS + i * VRING__SIZE;
  }

  /** Frames, each with its virtio_net_hdr before it, that the tap has now. */
  receive(): Buffer[] {
    const rx = this.#rings[0]!;
    const n = this.#pump.receive(this.#at(0), rx.fd);
    const { buffer } = socketMemory().memory;
    return Array.from({ length: n }, (_, i) => {
      const slot = rx.offset + ((this.#next + i) % rx.nFrames) * rx.frameSize;
      const view = new DataView(buffer, slot);
      const mac = view.getUint16(12, true);
      const frame = Buffer.from(new Uint8Array(buffer, slot + mac - 10, view.getUint32(4, true) + 10).slice());
      view.setUint32(0, 0, true);
      if (i === n - 1) this.#next += n;
      return frame;
    });
  }

  /** Puts a frame, with its virtio_net_hdr, into the next slot and has it written. */
  send(slot: number, frame: Uint8Array): void {
    const tx = this.#rings[1]!;
    const at = tx.offset + slot * tx.frameSize;
    new Uint8Array(socketMemory().memory.buffer, at + 32, frame.length).set(frame);
    const view = new DataView(socketMemory().memory.buffer, at);
    view.setUint32(4, frame.length, true);
    view.setUint32(0, 1, true);
    this.#pump.send(this.#at(1), tx.fd);
    assert.equal(view.getUint32(0, true), 0, 'the slot is free again');
  }

  get drops(): number {
    return Number(this.arena.counter(ARENA_THREADS + THREAD_DROPS + DROP_SOCKET_TX_NOT_READY * 8));
  }
}

async function attached(name: string): Promise<{ netdev: TapNetdev; pump: Pump }> {
  const netdev = new TapNetdev(name);
  const pump = new Pump();
  assert.ok(netdev.io.kind === 'rings');
  await netdev.io.attach(pump);
  return { netdev, pump };
}

test('frames of the host come out of the tap, and go into it', async () => {
  const { netdev, pump } = await attached('ct0');
  try {
    netdev.setAdminUp(true);
    spawnSync('ip', ['address', 'add', '192.0.2.1/24', 'dev', 'ct0']);
    spawnSync('ip', ['neighbour', 'add', '192.0.2.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'ct0']);
    assert.equal(netdev.linkUp(), true);
    assert.ok(netdev.ifindex() > 0);
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(5000, '192.0.2.1', resolve));
    const received = new Promise<string>((resolve) => socket.once('message', (m) => resolve(m.toString())));
    socket.send('from the host', 5001, '192.0.2.2');
    let sent: Buffer | undefined;
    await until(() => {
      sent ??= pump.receive().find((f) => f[22] === 0x08 && f[23] === 0x00 && f[33] === 17);
      return sent !== undefined;
    }, 'the datagram comes out');
    assert.equal(sent![0], 1, 'its checksum was left to the reader');
    assert.equal(sent!.subarray(52).toString(), 'from the host');
    pump.send(0, turnedRound(sent!));
    assert.equal(await received, 'from the host');
    assert.equal(pump.drops, 0);
    socket.close();
  } finally {
    await netdev.close();
  }
});

test('a tap that is down takes nothing, and what was for it counts as dropped', async () => {
  const { netdev, pump } = await attached('ct1');
  assert.equal(netdev.linkUp(), false);
  assert.deepEqual(pump.receive(), []);
  pump.send(0, new Uint8Array(70));
  assert.equal(pump.drops, 1);
  await netdev.close();
});

/** The same UDP datagram the other way, behind its virtio_net_hdr. The sum of the pseudo-header stays right: only what is added up changes places. */
function turnedRound(frame: Uint8Array): Uint8Array {
  const back = Uint8Array.from(frame);
  const swap = (a: number, b: number, n: number) => {
    back.copyWithin(10 + a, 10 + b, 10 + b + n);
    back.set(frame.subarray(10 + a, 10 + a + n), 10 + b);
  };
  swap(0, 6, 6);
  swap(26, 30, 4);
  swap(34, 36, 2);
  return back;
}
