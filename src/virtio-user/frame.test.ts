import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp, parseMac } from './address.ts';
import { Driver } from './driver.ts';
import { FakeDevice } from './fake-device.ts';
import { buildTemplate, type FrameSpec, flowsRange, foldSum, type Range, sumWords } from './frame.ts';
import { NO_LIMIT, setCredit, setLeft, setReplay, setTemplate } from './generator.ts';

const spec = (over: Partial<FrameSpec> = {}): FrameSpec => ({
  srcMac: parseMac('02:00:00:00:00:01'),
  dstMac: parseMac('02:00:00:00:00:02'),
  srcIp: parseIp('192.168.0.1'),
  dstIp: parseIp('192.168.1.1'),
  proto: 'udp',
  sport: 1234,
  dport: 5678,
  ttl: 64,
  tos: 0,
  size: 60,
  ...over,
});
const v6 = { srcIp: parseIp('2001:db8::1'), dstIp: parseIp('2001:db8::2') };

const range = (field: Range['field'], start: bigint, min: bigint, max: bigint, inc: bigint): Range => {
  return { field, start, min, max, inc };
};

/** The frames that the kernel makes of a template. */
function generate(n: number, s: FrameSpec, ranges: Range[] = []): Uint8Array[] {
  const driver = new Driver({ ports: [{ rxd: 64, txd: 256 }] });
  driver.kernel.portStart(0);
  const device = new FakeDevice(driver.mem, 0);
  setTemplate(driver.mem, 0, buildTemplate(s, ranges));
  setCredit(driver.mem, 0, 0xffffffff);
  setLeft(driver.mem, 0, BigInt(n));
  const frames: Uint8Array[] = [];
  for (let moved = -1; moved !== 0; frames.push(...device.receive().map((f) => f.slice()))) {
    moved = driver.kernel.generate(1, 32, 1);
  }
  return frames;
}

/** Asserts that every checksum and length of an IPv4 or IPv6 frame without VLAN tag is right (plain re-computation). */
function checkSums(frame: Uint8Array): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const is6 = view.getUint16(12) === 0x86dd;
  const l4 = is6 ? 54 : 34;
  const proto = frame[is6 ? 20 : 23]!;
  if (!is6) {
    assert.equal(view.getUint16(16), frame.length - 14);
    assert.equal(foldSum(sumWords(frame.subarray(14, 34))), 0);
  } else assert.equal(view.getUint16(18), frame.length - 54);
  if (proto === 17) assert.equal(view.getUint16(l4 + 4), frame.length - l4);
  const pseudo = sumWords(is6 ? frame.subarray(22, 54) : frame.subarray(26, 34)) + proto + frame.length - l4;
  assert.equal(foldSum(sumWords(frame.subarray(l4)) + (proto === 1 ? 0 : pseudo)), 0);
}

describe('buildTemplate', () => {
  for (const proto of ['udp', 'tcp', 'icmp'] as const) {
    for (const [name, addresses] of [
      ['IPv4', {}],
      ['IPv6', v6],
    ] as const) {
      it(`${proto} over ${name}: lengths and checksums hold`, () => {
        for (const size of [60, 61, 99, 1514, 9000])
          checkSums(buildTemplate(spec({ proto, size, ...addresses })).frame);
      });
    }
  }

  it('raises a size that the headers do not fit into', () => {
    assert.equal(buildTemplate(spec({ ...v6, proto: 'tcp', size: 20 })).frame.length, 74);
  });

  it('refuses an empty range and one over sizes that do not hold the headers', () => {
    assert.throws(() => buildTemplate(spec(), [range('sport', 1n, 5n, 2n, 1n)]), /min <= start <= max/);
    assert.throws(() => buildTemplate(spec(), [range('size', 40n, 40n, 80n, 1n)]), /64 bytes at least/);
  });
});

describe('the generator', () => {
  it('sends the template as it is, as often as asked', () => {
    const frames = generate(70, spec());
    assert.equal(frames.length, 70);
    for (const f of frames) assert.deepEqual(f, buildTemplate(spec()).frame);
  });

  it('spreads a jumbo frame over several descriptors', () => {
    const [frame] = generate(1, spec({ size: 9000 }));
    assert.deepEqual(frame, buildTemplate(spec({ size: 9000 })).frame);
  });

  it('varies a field from start by inc, and goes on at min beyond max', () => {
    const frames = generate(6, spec(), [range('sport', 102n, 100n, 106n, 2n)]);
    const ports = frames.map((f) => new DataView(f.buffer, f.byteOffset).getUint16(34));
    assert.deepEqual(ports, [102, 104, 106, 100, 102, 104]);
  });

  it('does not overrun at the end of a 64-bit field', () => {
    const max = 0xffff_ffff_ffff_ffffn;
    const frames = generate(3, spec(v6), [range('src ip', max - 1n, 7n, max, 1n)]);
    const low = frames.map((f) => new DataView(f.buffer, f.byteOffset).getBigUint64(30));
    assert.deepEqual(low, [max - 1n, max, 7n]);
  });

  for (const proto of ['udp', 'tcp', 'icmp'] as const) {
    for (const [name, addresses] of [
      ['IPv4', {}],
      ['IPv6', v6],
    ] as const) {
      it(`${proto} over ${name}: every frame of every range has right lengths and checksums`, () => {
        const ranges = [
          range('src ip', 0xc0a800f0n, 0xc0a80000n, 0xc0a8ffffn, 0x333n),
          range('dst ip', 0x0a000001n, 0x0a000000n, 0xfffffffen, 0x1234567n),
          range('sport', 1n, 0n, 65535n, 7919n),
          range('dport', 65535n, 0n, 65535n, 1n),
          range('ttl', 1n, 1n, 255n, 100n),
          range('src mac', 0x020000000000n, 0n, 0xffffffffffffn, 0x1010101n),
          range('size', 80n, 80n, 1514n, 13n),
        ];
        const frames = generate(200, spec({ proto, ...addresses }), ranges);
        for (const f of frames) checkSums(f);
        assert.equal(new Set(frames.map((f) => Buffer.from(f).toString('hex'))).size, 200);
      });
    }
  }

  it('makes as many flows as asked', () => {
    const frames = generate(100, spec(), [flowsRange(spec(), 10)]);
    assert.equal(new Set(frames.map((f) => f.subarray(26, 30).join('.'))).size, 10);
  });

  it('tags with a VLAN that varies', () => {
    const frames = generate(4, spec({ vlan: 5 }), [range('vlan', 5n, 4n, 6n, 1n)]);
    const vlans = frames.map((f) => new DataView(f.buffer, f.byteOffset).getUint16(14));
    assert.deepEqual(vlans, [5, 6, 4, 5]);
    assert.ok(frames.every((f) => f[12] === 0x81 && f[16] === 8));
  });

  it('replays frames in turn', () => {
    const all = [Uint8Array.of(...Array(60).keys()), new Uint8Array(700).fill(3), new Uint8Array(5000).fill(4)];
    const driver = new Driver({ ports: [{ rxd: 64, txd: 64 }], replaySize: 8192 });
    driver.kernel.portStart(0);
    const device = new FakeDevice(driver.mem, 0);
    setReplay(driver.mem, 0, all, driver.mem.layout.replay);
    setCredit(driver.mem, 0, 5);
    setLeft(driver.mem, 0, NO_LIMIT);
    assert.equal(driver.kernel.generate(1, 32, 1), 5);
    assert.deepEqual(
      device.receive().map((f) => f.length),
      [60, 700, 5000, 60, 700],
    );
  });

  it('sends no more than the credit, and no more than the ring has room for', () => {
    const driver = new Driver({ ports: [{ rxd: 64, txd: 64 }] });
    driver.kernel.portStart(0);
    setTemplate(driver.mem, 0, buildTemplate(spec()));
    setLeft(driver.mem, 0, NO_LIMIT);
    setCredit(driver.mem, 0, 10);
    assert.equal(driver.kernel.generate(1, 32, 9), 10);
    setCredit(driver.mem, 0, 100);
    for (let i = 0; i < 9; i++) driver.kernel.generate(1, 32, 1);
    assert.equal(new FakeDevice(driver.mem, 0).tx.waiting, 64);
  });
});
