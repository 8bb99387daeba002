import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PcapError, parsePcap } from './pcap.ts';

interface Options {
  little?: boolean;
  magic?: number;
  linktype?: number;
}

function pcapFile(
  frames: { sec: number; frac: number; data: Uint8Array; wire?: number }[],
  o: Options = {},
): Uint8Array {
  const little = o.little ?? true;
  const total = frames.reduce((n, f) => n + 16 + f.data.length, 24);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  view.setUint32(0, o.magic ?? 0xa1b2c3d4, little);
  view.setUint16(4, 2, little);
  view.setUint16(6, 4, little);
  view.setUint32(16, 65535, little);
  view.setUint32(20, o.linktype ?? 1, little);
  let at = 24;
  for (const f of frames) {
    for (const [i, n] of [f.sec, f.frac, f.data.length, f.wire ?? f.data.length].entries()) {
      view.setUint32(at + i * 4, n, little);
    }
    file.set(f.data, at + 16);
    at += 16 + f.data.length;
  }
  return file;
}

const one = { sec: 10, frac: 5, data: Uint8Array.of(1, 2, 3), wire: 60 };

describe('parsePcap', () => {
  for (const little of [true, false]) {
    it(`reads µs stamps, ${little ? 'little' : 'big'} endian`, () => {
      const [frame] = parsePcap(pcapFile([one], { little }));
      assert.deepEqual([...frame!.data], [1, 2, 3]);
      assert.equal(frame!.timeNs, 10_000_005_000n);
      assert.equal(frame!.wireSize, 60);
    });
    it(`reads ns stamps, ${little ? 'little' : 'big'} endian`, () => {
      const [, frame] = parsePcap(pcapFile([one, one], { little, magic: 0xa1b23c4d }));
      assert.equal(frame!.timeNs, 10_000_000_005n);
    });
  }

  const whole = pcapFile([one]);
  const bad: [string, RegExp, Uint8Array][] = [
    ['nothing', /too short/, new Uint8Array(0)],
    ['another magic', /not a pcap file/, pcapFile([one], { magic: 1 })],
    ['pcapng', /pcapng/, pcapFile([one], { magic: 0x0a0d0d0a })],
    ['another link type', /link type 113/, pcapFile([one], { linktype: 113 })],
    ['half a record header', /byte 24 is cut short/, whole.subarray(0, 30)],
    ['half a frame', /byte 24 is cut short/, whole.subarray(0, whole.length - 1)],
  ];
  for (const [name, message, file] of bad) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () => parsePcap(file),
        (e: Error) => e instanceof PcapError && message.test(e.message),
      );
    });
  }

  it('an empty capture has no frames', () => assert.deepEqual(parsePcap(pcapFile([])), []));
});
