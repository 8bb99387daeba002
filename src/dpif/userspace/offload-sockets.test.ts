import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { ARENA_PORTS, PORT__SIZE, PORT_KIND, PORT_KIND_VHOST } from '../../gen/arena.ts';
import { SOCKET_MEMORY } from './datapath-thread.ts';
import { FakeSocket } from './testing/fake-socket.ts';
import {
  ALL,
  anyGso,
  anySpec,
  bytes,
  CSUM,
  end,
  finished,
  forward,
  install,
  MERGEABLE,
  out,
  receiver,
  send,
  sender,
  spec,
  vnetOf,
} from './testing/offload-bench.ts';
import { onWire, type Spec, segments, unfinished, vnetBytes } from './testing/segments.ts';
import { hex, rig, type Setup } from './testing/vring-bench.ts';

/** Guests and the host's interfaces on one datapath: whoever leaves something to be done, and whoever takes it, the wire between them would carry the same. */

const PORT = odpPort(7);
const socket = new FakeSocket();
const port = rig.sockets.add(PORT, 'veth0');
await port.ringsStart(socket.rings);
rig.arena.publish(ARENA_PORTS + PORT * PORT__SIZE + PORT_KIND, PORT_KIND_VHOST);
const host = { port: { port: PORT } };

afterEach(end);
after(() => rig.sockets.remove(PORT));

const outHost = { type: 'output', port: PORT } as const;
const wireOf = (s: Setup) => hex(s.ring.receivedWhole().flatMap((p) => onWire(p.subarray(0, 10), p.subarray(12))));

/** Polls the socket until it has nothing more. */
function forwardHost(): void {
  for (;;) {
    const n = rig.thread.guest(SOCKET_MEMORY)!.rx(0, port.rings[0]!.at);
    if (n === 0) return;
    rig.exports.process(n, PORT);
  }
}

/** Lets the kernel send a frame of which something is left to be done. */
const hear = (s: Spec, gsoSize: number) => socket.hear(unfinished(s).frame, vnetOf(s, gsoSize));

test('a stream of a guest reaches the kernel in one piece, as it was sent', async () => {
  const a = await sender();
  install(a, [outHost]);
  for (const version of [4, 6] as const) {
    const s = spec({ version, payload: bytes(30_000) });
    send(a, s, 1448);
    forward(a);
    const [got, ...more] = socket.sent();
    assert.deepEqual(more, []);
    assert.equal(hex([got!.frame])[0], hex([unfinished(s).frame])[0]);
    const want = vnetOf(s, 1448);
    assert.deepEqual([...got!.vnet], vnetBytes({ ...want, hdrLen: got!.frame.length }));
  }
});

test('random frames of a guest, to the kernel and to a guest', async () => {
  await fc.assert(
    fc.asyncProperty(anySpec, anyGso, fc.constantFrom(ALL, CSUM, MERGEABLE), async (s, gsoSize, features) => {
      const [a, b] = [await sender(), await receiver(features)];
      install(a, [outHost, out(b)]);
      send(a, s, gsoSize || 1448);
      send(a, s, 0);
      const want = hex([...finished(s, gsoSize || 1448), ...finished(s, 0)]);
      forward(a);
      const got = hex(socket.sent().flatMap(({ vnet, frame }) => onWire(vnet, frame)));
      // The socket has few slots: what is not merged may find none.
      assert.deepEqual(got.slice(0, 8), want.slice(0, Math.min(8, got.length)));
      assert.ok(got.length >= Math.min(8, want.length));
      assert.deepEqual(wireOf(b), want);
      await end();
    }),
    { numRuns: 40 },
  );
});

test('random frames of the kernel, to guests of any features', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(anySpec, anyGso), { minLength: 1, maxLength: 6 }), async (sent) => {
      const [b, c, d] = [await receiver(ALL), await receiver(CSUM), await receiver(MERGEABLE)];
      install(host, [out(b), out(c), out(d)]);
      const whole = sent.map(([s, gsoSize]) => [s, gsoSize || 1448] as const);
      for (const [s, gsoSize] of whole) hear(s, gsoSize);
      forwardHost();
      const want = hex(whole.flatMap(([s, gsoSize]) => segments(s, gsoSize)));
      assert.deepEqual([wireOf(b), wireOf(c), wireOf(d)], [want, want, want]);
      await end();
    }),
    { numRuns: 40 },
  );
});
