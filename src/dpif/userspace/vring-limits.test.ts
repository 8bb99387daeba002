import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { VRING_BROKEN_CHAIN } from '../../gen/arena.ts';
import { DESC_F_NEXT, F_MRG_RXBUF, FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { Rig } from './testing/rig.ts';

/** What a packet may cost the thread, however many descriptors a guest gives it. */

const DESCS_MAX = 256;
const rig = new Rig();

function start(index: number) {
  const guest = new FakeGuest();
  return rig.start(new FakeRing(guest, { size: 512, index, hdrSize: 12, features: F_MRG_RXBUF }));
}

/** Sends a frame of zeros behind empty buffers: `nDescs` descriptors in all. */
function sendLong(running: Awaited<ReturnType<typeof start>>, nDescs: number): void {
  const { ring } = running;
  const addr = ring.guest.gpa(ring.guest.alloc(12 + 60));
  const next = (i: number) => ({ flags: DESC_F_NEXT, next: i + 1 });
  for (let i = 0; i < nDescs - 1; i++) ring.setDesc(i, { addr, len: 0, ...next(i) });
  ring.setDesc(nDescs - 1, { addr, len: 12 + 60 });
  ring.publish(0);
}

describe('descriptors of one packet', () => {
  test('a guest sends as many as are allowed', async () => {
    const running = await start(1);
    sendLong(running, DESCS_MAX);
    assert.equal(rig.rx(running).length, 1);
  });

  test('one more breaks its ring', async () => {
    const running = await start(1);
    sendLong(running, DESCS_MAX + 1);
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(rig.rx(running).length, 0)),
      { vhost_rx_bad_chain: 1 },
    );
    assert.equal(rig.broken(running), VRING_BROKEN_CHAIN);
  });

  test('a guest receives into as many merged buffers, and a packet that needs more is dropped', async () => {
    for (const [size, drops] of [
      [DESCS_MAX - 1, {}],
      [DESCS_MAX, { vhost_tx_oversize: 1 }],
    ] as const) {
      const running = await start(0);
      // The header alone in the first buffer, then a byte a buffer.
      for (let i = 0; i < 400; i++) running.ring.post([i === 0 ? 12 : 1]);
      assert.deepEqual(
        rig.dropsDuring(() => rig.tx(running, [new Uint8Array(size)])),
        drops,
      );
      assert.equal(rig.broken(running), 0);
    }
  });
});
