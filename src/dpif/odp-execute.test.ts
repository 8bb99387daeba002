import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../base/types.ts';
import { composePacket } from '../flow/compose.ts';
import { Flow } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import type { DpAction } from './dpif.ts';
import { parseOdpActions } from './odp-action-parse.ts';
import { executeActions } from './odp-execute.ts';
import { parseOdpFlow } from './odp-parse.ts';

/** What leaves when `actions` (text, before an output) run on a frame. */
function run(frame: Uint8Array, actions: string | DpAction[]): Uint8Array {
  const out: Uint8Array[] = [];
  const list = typeof actions === 'string' ? parseOdpActions(actions) : actions;
  executeActions(frame, new Flow(), [...list, { type: 'output', port: odpPort(1) }], {
    output: (_port, p) => out.push(p),
    userspace: () => assert.fail('no user space here'),
    recirc: () => assert.fail('no recirculation here'),
  });
  assert.equal(out.length, 1);
  return out[0];
}

const frameOf = (key: string, payload?: number[]): Uint8Array => composePacket(parseOdpFlow(key).flow, payload);

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');

/** The frame that has the headers `key`, made from nothing: its checksums are computed over the whole, not updated. */
const expectFrame = (got: Uint8Array, key: string, payload?: number[]): void =>
  assert.equal(hex(got), hex(frameOf(key, payload)));

const eth = 'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02)';
const ip4 = (fields: string, rest: string) =>
  `${eth},eth_type(0x0800),ipv4(${fields || 'src=10.0.0.1,dst=10.0.0.2,tos=0,ttl=64'},frag=no),${rest}`;

describe('executeActions', () => {
  for (const [proto, number] of [
    ['tcp', 6],
    ['udp', 17],
  ] as const) {
    it(`keeps ${proto} checksums right over addresses, ports and TTL`, () => {
      const before = frameOf(
        ip4(`src=10.0.0.1,dst=10.0.0.2,proto=${number},tos=0x10,ttl=64`, `${proto}(src=5,dst=80)`),
      );
      const after = run(
        before,
        `set(ipv4(src=192.168.7.1,dst=8.8.8.8,tos=0x2c,ttl=63)),set(${proto}(src=65535,dst=443))`,
      );
      expectFrame(
        after,
        ip4(`src=192.168.7.1,dst=8.8.8.8,proto=${number},tos=0x2c,ttl=63`, `${proto}(src=65535,dst=443)`),
      );
    });
  }

  it('keeps checksums right for any values', () => {
    const byte = fc.nat(255);
    fc.assert(
      fc.property(
        fc.array(byte, { minLength: 4, maxLength: 4 }),
        fc.nat(65535),
        fc.array(byte, { maxLength: 9 }),
        (ip, port, data) => {
          const key = (a: string, p: number) => ip4(`src=10.0.0.1,dst=${a},proto=6,ttl=9`, `tcp(src=7,dst=${p})`);
          const dst = ip.join('.');
          const after = run(frameOf(key('1.2.3.4', 9), data), `set(ipv4(dst=${dst})),set(tcp(dst=${port}))`);
          expectFrame(after, key(dst, port), data);
        },
      ),
    );
  });

  it('copies a frame that came in a Buffer, and keeps its checksums right', () => {
    const key = (dst: string) => ip4(`src=10.0.0.1,dst=${dst},proto=17,tos=0,ttl=64,frag=no`, 'udp(src=5,dst=80)');
    const frame = frameOf(key('10.0.0.2'));
    const buffer = Buffer.from(frame);
    expectFrame(Uint8Array.from(run(buffer, 'set(ipv4(dst=10.9.9.9))')), key('10.9.9.9'));
    assert.deepEqual(Uint8Array.from(buffer), frame);
  });

  it('leaves a UDP checksum of zero alone, and sends a sum of zero as 0xffff', () => {
    const frame = frameOf(ip4('src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64', 'udp(src=5,dst=80)'));
    frame[40] = frame[41] = 0;
    const after = run(frame, 'set(ipv4(dst=10.9.9.9)),set(udp(src=6))');
    assert.deepEqual([after[40], after[41]], [0, 0]);
    fc.assert(
      fc.property(fc.nat(65535), (port) => {
        const whole = frameOf(ip4('src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64', 'udp(src=5,dst=80)'));
        const changed = run(whole, `set(udp(src=${port}))`);
        assert.ok(changed[40] || changed[41]);
      }),
      { numRuns: 500 },
    );
  });

  it('does not take the payload of a later fragment for a header', () => {
    const key = (dst: string) =>
      `${eth},eth_type(0x0800),ipv4(src=10.0.0.1,dst=${dst},proto=17,tos=0,ttl=64,frag=later)`;
    const data = Array.from({ length: 32 }, (_, i) => i);
    expectFrame(run(frameOf(key('10.0.0.2'), data), 'set(ipv4(dst=10.0.0.9)),set(udp(dst=9))'), key('10.0.0.9'), data);
  });

  it('rewrites IPv6 with its transport checksum', () => {
    const key = (dst: string, tclass: number, port: number, label: number) =>
      `${eth},eth_type(0x86dd),ipv6(src=2001:db8::1,dst=${dst},label=${label},proto=17,tclass=${tclass},hlimit=64,frag=no),udp(src=5,dst=${port})`;
    const after = run(
      frameOf(key('fe80::1', 0, 53, 5)),
      'set(ipv6(dst=2001:db8::99,tclass=0xb8,label=0x12345)),set(udp(dst=54))',
    );
    expectFrame(after, key('2001:db8::99', 0xb8, 54, 0x12345));
  });

  it('rewrites ARP, ICMP and neighbour discovery', () => {
    const arp = (tip: string, op: number, sha: string) =>
      `${eth},eth_type(0x0806),arp(sip=10.0.0.1,tip=${tip},op=${op},sha=${sha},tha=00:00:00:00:00:00)`;
    expectFrame(
      run(frameOf(arp('10.0.0.2', 1, '00:00:00:00:00:01')), 'set(arp(tip=10.0.0.7,op=2,sha=02:00:00:00:00:09))'),
      arp('10.0.0.7', 2, '02:00:00:00:00:09'),
    );
    const icmp = (type: number) => ip4('src=10.0.0.1,dst=10.0.0.2,proto=1,ttl=64', `icmp(type=${type},code=0)`);
    expectFrame(run(frameOf(icmp(8)), 'set(icmp(type=0,code=0))'), icmp(0));
    const nd = (target: string, sll: string) =>
      `${eth},eth_type(0x86dd),ipv6(src=fe80::1,dst=ff02::1,label=0,proto=58,tclass=0,hlimit=255,frag=no),` +
      `icmpv6(type=135,code=0),nd(target=${target},sll=${sll},tll=00:00:00:00:00:00)`;
    expectFrame(
      run(frameOf(nd('fe80::2', '00:00:00:00:00:05')), 'set(nd(target=fe80::3,sll=00:00:00:00:00:06))'),
      nd('fe80::3', '00:00:00:00:00:06'),
    );
  });

  it('updates the CRC of SCTP', () => {
    const key = (port: number) => ip4('src=10.0.0.1,dst=10.0.0.2,proto=132,ttl=64', `sctp(src=5,dst=${port})`);
    const there = run(frameOf(key(80)), 'set(sctp(dst=81))');
    const back = run(there, 'set(sctp(dst=80))');
    assert.notEqual(hex(there.subarray(42, 46)), '00000000');
    assert.equal(hex(back), hex(frameOf(key(80))));
  });

  it('pushes and pops tags, and sets only the bits of a mask', () => {
    const plain = frameOf(ip4('', 'udp(src=1,dst=2)'));
    const tagged = run(plain, 'push_vlan(vid=10,pcp=3)');
    assert.equal(hex(tagged.subarray(12, 18)), '8100600a0800');
    assert.equal(hex(run(tagged, 'pop_vlan')), hex(plain));
    assert.equal(
      hex(run(plain, 'push_vlan(vid=1,pcp=0),push_vlan(tpid=0x88a8,vid=2,pcp=0)').subarray(12, 22)),
      '88a80002810000010800',
    );
    const masked = run(plain, 'set(eth(dst=aa:bb:cc:dd:ee:ff/ff:00:00:00:00:0f))');
    assert.equal(hex(masked.subarray(0, 6)), 'aa000000000f');
  });

  it('gives each output the packet as it is at that point, cut where told', () => {
    const frame = frameOf(ip4('src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64', 'udp(src=1,dst=2)'));
    const out: [number, number][] = [];
    executeActions(
      frame,
      new Flow(),
      parseOdpActions('1,trunc(60),2,clone(push_vlan(vid=5,pcp=0),3),4,trunc(60),push_vlan(vid=6,pcp=0),5'),
      {
        output: (port, p) => out.push([port, p.length]),
        userspace: () => undefined,
        recirc: () => undefined,
      },
    );
    const n = frame.length;
    assert.deepEqual(out, [
      [1, n],
      [2, 60],
      [3, n + 4],
      [4, n],
      // Cut off the packet as it was: what is pushed behind comes on top.
      [5, 64],
    ]);
  });

  it('survives any bytes', () => {
    const actions =
      'set(ipv4(src=1.2.3.4,ttl=1)),set(ipv6(dst=::1)),set(tcp(src=1)),set(udp(dst=2)),set(sctp(src=3)),set(arp(op=1)),' +
      'set(icmp(type=1)),set(nd(target=::1)),pop_vlan,push_vlan(vid=1,pcp=0),pop_vlan,pop_vlan';
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 14, maxLength: 90 }),
        fc.constantFrom(0x0800, 0x86dd, 0x0806, 0x8100, 0x8847),
        fc.boolean(),
        (bytes, type, ihl) => {
          bytes.set([type >> 8, type & 255], 12);
          if (ihl && bytes.length > 14) bytes[14] = 0x45;
          const after = run(bytes, actions);
          assert.ok(after.length <= bytes.length);
          flowFromPacket(after, 1);
        },
      ),
    );
  });

  it('survives packets without a whole Ethernet header, which a controller may send', () => {
    const skip = () => undefined;
    const actions = parseOdpActions(
      'set(eth(src=00:00:00:00:00:01)),push_vlan(vid=1,pcp=0),push_mpls(label=1,tc=0,ttl=64,bos=1,eth_type=0x8847),' +
        'set(mpls(label=2,tc=0,ttl=1,bos=1)),pop_mpls(eth_type=0x800),pop_vlan,trunc(14),1,pop_eth,push_eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),1',
    );
    for (const a of actions)
      for (let n = 0; n < 20; n++)
        executeActions(new Uint8Array(n), new Flow(), [a, ...actions], { output: skip, userspace: skip, recirc: skip });
  });
});

describe('a packet that gets too long for the IP header of a tunnel', () => {
  const header = new Uint8Array(50);
  header.set([8, 0, 0x45], 12);
  const push = (size: number) => {
    const drops: string[] = [];
    const out: Uint8Array[] = [];
    const actions: DpAction[] = [
      { type: 'tunnel_push', tunnelPort: odpPort(1), outPort: odpPort(2), tunnelType: 'vxlan', header },
      { type: 'output', port: odpPort(3) },
    ];
    executeActions(new Uint8Array(size), new Flow(), actions, {
      output: (_port, packet) => out.push(packet),
      userspace: () => {},
      recirc: () => {},
      drop: (reason) => drops.push(reason),
      tunnelPort: () => ({ config: { type: 'vxlan', gbp: false }, state: { seq: 0 } }),
    });
    return { drops, sizes: out.map((p) => p.length) };
  };

  it('is dropped by name', () => {
    const longest = 14 + 0xffff - header.length;
    assert.deepEqual(push(longest), { drops: [], sizes: [14 + 0xffff] });
    assert.deepEqual(push(longest + 1), { drops: ['datapath_drop_tunnel_push_error'], sizes: [] });
  });
});
