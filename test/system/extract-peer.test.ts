import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extract } from '../../src/flow/extract.ts';
import { Flow } from '../../src/flow/flow.ts';
import { FRAMES } from '../../src/flow/test-frames.ts';
import { formatFlow } from '../../src/ofproto/flow-format.ts';
import { RealDummySwitch } from '../support/real-dummy-switch.ts';
import { requirePeer } from '../support/require.ts';

function ours(frame: Uint8Array): string {
  const flow = new Flow();
  flow.inPort = 1;
  extract(frame, flow);
  return formatFlow(flow);
}

function theirs(peer: RealDummySwitch, hex: string): string {
  return /^Flow: (.*)$/m.exec(peer.appctl('ofproto/trace', 'br0', 'in_port=1', hex))?.[1] ?? '';
}

/** Cuts at every header's edge and in its middle. */
function* truncations(hex: string): Generator<string> {
  for (let n = 14; n < hex.length / 2; n += 5) yield hex.slice(0, 2 * n);
}

/** Numbers that are the same in every run (xorshift). */
function* numbers(seed: number): Generator<number> {
  for (let x = seed; ; ) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield x >>> 0;
  }
}

/** Frames with one byte behind the MAC addresses changed. Options of neighbour discovery are left alone: see `extract`. */
function* mutations(count: number): Generator<string> {
  const random = numbers(2463534242);
  const next = (n: number): number => random.next().value % n;
  const frames = Object.entries(FRAMES).filter(([name]) => !/solicitation|advertisement/.test(name));
  for (let i = 0; i < count; i++) {
    const frame = Buffer.from(frames[next(frames.length)][1], 'hex');
    frame[12 + next(frame.length - 12)] = next(256);
    yield frame.toString('hex');
  }
}

test('headers of frames, whole and truncated, are those the real switch sees', async (t) => {
  if (!requirePeer(t, 'ovs-vswitchd', 'ovsdb-server', 'ovs-appctl', 'ovs-vsctl')) return;
  const peer = new RealDummySwitch();
  t.after(() => peer.stop());
  await peer.start([1]);
  for (const [name, hex] of Object.entries(FRAMES)) {
    assert.equal(ours(Buffer.from(hex, 'hex')), theirs(peer, hex), `${name}: ${hex}`);
    for (const cut of truncations(hex))
      assert.equal(ours(Buffer.from(cut, 'hex')), theirs(peer, cut), `${name}, cut: ${cut}`);
  }
  for (const hex of mutations(500)) assert.equal(ours(Buffer.from(hex, 'hex')), theirs(peer, hex), hex);
});
