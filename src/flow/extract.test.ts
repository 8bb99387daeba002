import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { composePacket } from './compose.ts';
import { extract } from './extract.ts';
import { Flow } from './flow.ts';
import { BAD_ND, FRAMES } from './test-frames.ts';

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
function of(frame: Uint8Array, vlanLimit?: number): Flow {
  const flow = new Flow();
  extract(frame, flow, vlanLimit);
  return flow;
}

test('a TCP segment has all its headers', () => {
  const f = of(bytes(FRAMES.tcp));
  assert.deepEqual(
    [f.dlType, f.nwSrc, f.nwDst, f.nwProto, f.nwTtl, f.nwFrag, f.tpSrc, f.tpDst, f.tcpFlags],
    [0x0800, 0x0a000001, 0x0a000002, 6, 64, 0, 22, 443, 0x12],
  );
});

test('tags are looked at as far as the limit says', () => {
  const frame = bytes(FRAMES['two tags']);
  assert.deepEqual([of(frame, 0).dlType, of(frame, 0).vlanTci0], [0x88a8, 0]);
  assert.deepEqual([of(frame, 1).dlType, of(frame, 1).vlanTci0, of(frame, 1).vlanTci1], [0x8100, 0x1064, 0]);
  const two = of(frame, 2);
  assert.deepEqual(
    [two.dlType, two.vlanTpid0, two.vlanTci0, two.vlanTpid1, two.vlanTci1, two.tpDst],
    [0x0800, 0x88a8, 0x1064, 0x8100, 0x10c8, 443],
  );
  assert.equal(of(bytes(FRAMES['three tags']), 99).dlType, 0x8100);
});

test('fragments', () => {
  const of4 = (name: string) => of(bytes(FRAMES[name]));
  assert.deepEqual([of4('first fragment').nwFrag, of4('first fragment').tpSrc], [1, 53]);
  assert.deepEqual([of4('later fragment').nwFrag, of4('later fragment').tpSrc], [3, 0]);
  assert.deepEqual([of4('first IPv6 fragment').nwFrag, of4('first IPv6 fragment').tpSrc], [1, 53]);
  assert.deepEqual([of4('later IPv6 fragment').nwFrag, of4('later IPv6 fragment').nwProto], [3, 44]);
  assert.deepEqual([of4('whole IPv6 "fragment"').nwFrag, of4('whole IPv6 "fragment"').tpSrc], [0, 53]);
});

test('impossible lengths end the parse where they are', () => {
  const patch = (name: string, at: number, value: number) => {
    const frame = bytes(FRAMES[name]);
    frame[at] = value;
    return of(frame);
  };
  // IHL below 5, IHL beyond the total length, total length beyond the frame.
  for (const f of [patch('tcp', 14, 0x44), patch('udp', 14, 0x4f), patch('tcp', 17, 0xff)])
    assert.deepEqual([f.dlType, f.nwProto, f.nwSrc, f.tpSrc], [0x0800, 0, 0, 0]);
  // IPv6 payload beyond the frame.
  const v6 = patch('tcp6', 19, 0xff);
  assert.deepEqual([v6.dlType, v6.nwProto, v6.ipv6Src[0]], [0x86dd, 0, 0]);
  // An extension header beyond the packet leaves the addresses.
  const ext = patch('hop-by-hop options', 55, 0xff);
  assert.deepEqual([ext.nwProto, ext.ipv6Src[0]], [0, 0xfe]);
  const tcp = of(bytes(FRAMES['bad TCP data offset']));
  assert.deepEqual([tcp.nwProto, tcp.tpSrc, tcp.tcpFlags], [6, 0, 0]);
});

test('padding is no part of the packet', () => {
  const frame = bytes(FRAMES['no next header']);
  const padded = new Uint8Array(80);
  padded.set(frame);
  assert.ok(of(frame).equals(of(padded)));
});

test('neighbour discovery', () => {
  const ns = of(bytes(FRAMES['neighbour solicitation']));
  assert.deepEqual([ns.tpSrc, ns.ndTarget[15], ns.arpSha[5], ns.ndOptionsType], [135, 9, 0xaa, 1]);
  const na = of(bytes(FRAMES['neighbour advertisement']));
  assert.deepEqual([na.tpSrc, na.arpTha[5], na.ndOptionsType], [136, 0xbb, 2]);
  for (const [name, frame] of [...Object.entries(BAD_ND), ['twice', FRAMES['solicitation with an option twice']]]) {
    const bad = of(bytes(frame));
    assert.deepEqual([bad.tpSrc, bad.ndTarget[15], bad.arpSha[5], bad.arpTha[5]], [135, 0, 0, 0], name);
  }
});

test('802.3 frames have no Ethertype but that of SNAP', () => {
  assert.equal(of(bytes(FRAMES.llc)).dlType, 0x5ff);
  assert.equal(of(bytes(FRAMES['snap of another organisation'])).dlType, 0x5ff);
  assert.deepEqual([of(bytes(FRAMES.snap)).dlType, of(bytes(FRAMES.snap)).tpSrc], [0x0800, 53]);
});

test('metadata stays, headers of the frame before go', () => {
  const flow = new Flow();
  flow.inPort = 7;
  flow.reg3 = 9;
  extract(bytes(FRAMES.tcp6), flow);
  extract(bytes(FRAMES['arp request']), flow);
  const fresh = of(bytes(FRAMES['arp request']));
  assert.deepEqual([flow.inPort, flow.reg3], [7, 9]);
  fresh.inPort = 7;
  fresh.reg3 = 9;
  assert.ok(flow.equals(fresh));
});

test('nothing makes it throw, or read what it was not given', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(FRAMES)),
      fc.nat(200),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
      fc.nat(3),
      (hex, cut, changes, limit) => {
        const whole = bytes(hex);
        for (const [at, value] of changes) if (at < whole.length) whole[at] = value;
        const frame = whole.slice(0, cut);
        // The same bytes with others behind them.
        const behind = new Uint8Array(frame.length + 64).fill(0x5a);
        behind.set(frame);
        assert.ok(of(frame, limit).equals(of(behind.subarray(0, frame.length), limit)));
      },
    ),
  );
});

const byte = fc.nat(255);
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
const ip6 = fc.uint8Array({ minLength: 16, maxLength: 16 });

test('what is composed from a flow extracts to that flow', () => {
  const l4 = fc.record({
    proto: fc.constantFrom(6, 17, 132),
    src: fc.nat(65535),
    dst: fc.nat(65535),
    flags: fc.nat(0xfff),
  });
  fc.assert(
    fc.property(
      mac,
      mac,
      fc.option(fc.nat(0xefff)),
      fc.boolean(),
      fc.nat(),
      fc.nat(),
      ip6,
      ip6,
      byte,
      byte,
      l4,
      (dst, src, tci, v6, a, b, a6, b6, tos, ttl, t) => {
        const flow = new Flow();
        flow.dlDst = dst;
        flow.dlSrc = src;
        if (tci !== null) {
          flow.vlanTpid0 = 0x8100;
          flow.vlanTci0 = (tci & 0xefff) | 0x1000;
        }
        flow.dlType = v6 ? 0x86dd : 0x0800;
        if (v6) {
          flow.ipv6Src = a6;
          flow.ipv6Dst = b6;
          flow.ipv6Label = a & 0xfffff;
        } else {
          flow.nwSrc = a;
          flow.nwDst = b;
        }
        flow.nwTos = tos;
        flow.nwTtl = ttl;
        flow.nwProto = t.proto;
        flow.tpSrc = t.src;
        flow.tpDst = t.dst;
        if (t.proto === 6) flow.tcpFlags = t.flags;
        const back = of(composePacket(flow));
        assert.deepEqual(Buffer.from(back.u8).toString('hex'), Buffer.from(flow.u8).toString('hex'));
      },
    ),
  );
});
