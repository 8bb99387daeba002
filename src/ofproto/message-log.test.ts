import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MessageLog } from './message-log.ts';

describe('MessageLog', () => {
  it('gives back what it was given, over many buffers', () => {
    const log = new MessageLog();
    const sizes = [8, 65_535, 12, ...Array.from({ length: 200 }, (_, i) => 8 + ((i * 7919) % 60_000))];
    const message = (size: number, xid: number): Uint8Array => {
      const m = new Uint8Array(size).fill(xid & 0xff);
      const view = new DataView(m.buffer);
      view.setUint16(2, size);
      view.setUint32(4, xid);
      return m;
    };
    sizes.forEach((size, i) => {
      log.add(message(size, 0xfffffff0 - i));
    });
    assert.equal(log.length, sizes.length);
    assert.equal(
      log.size,
      sizes.reduce((sum, n) => sum + n, 0),
    );
    for (const [i, size] of sizes.entries()) {
      assert.equal(log.xid(i), 0xfffffff0 - i);
      assert.deepEqual(log.get(i), message(size, 0xfffffff0 - i));
    }
  });
});
