import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { FIELDS } from '../../protocols/fields.ts';
import { requirePeer } from '../../test/support/require.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { parseMatch } from './flow-text.ts';
import type { Match } from './match.ts';
import { formatMatch } from './match-text.ts';
import { pullNxMatch, pullOxmMatch, putNxMatch, putOxmMatch } from './nx-match.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match, putOfp11Match } from './ofp-match.ts';
import { fieldByOxmName } from './oxm.ts';

const hex = (n: number): string => `0x${n.toString(16)}`;
const be32 = fc.nat(0xffffffff);
const be16 = fc.nat(0xffff);
const byte = fc.nat(255);
const ip = be32.map((n) => `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`);
const mac = fc
  .array(byte, { minLength: 6, maxLength: 6 })
  .map((b) => b.map((x) => x.toString(16).padStart(2, '0')).join(':'));
const ip6 = fc.array(be16, { minLength: 8, maxLength: 8 }).map((g) => g.map((x) => x.toString(16)).join(':'));
const oneOf = (name: string, value: fc.Arbitrary<string | number>) => value.map((v) => `${name}=${v}`);
const cidr = (address: fc.Arbitrary<string>, max: number) =>
  fc.tuple(address, fc.integer({ min: 1, max })).map(([a, n]) => `${a}/${n}`);

const metadata = fc.subarray([0, 1, 2, 3, 4, 5]).chain((which) =>
  fc.tuple(
    ...which.map(
      (i) =>
        [
          oneOf('reg5', be32.map(hex)),
          oneOf(
            'metadata',
            be32.map((n) => `${hex(n & 0xff00)}/0xff00`),
          ),
          oneOf('tun_id', be32.map(hex)),
          oneOf('pkt_mark', be32.map(hex)),
          oneOf('in_port', fc.nat(0xfeff)),
          oneOf('ct_zone', be16),
        ][i],
    ),
  ),
);
const ethernet = fc.subarray([0, 1, 2]).chain((which) =>
  fc.tuple(
    ...which.map(
      (i) =>
        [
          oneOf('dl_src', mac),
          oneOf(
            'dl_dst',
            fc.tuple(mac, mac).map((x) => x.join('/')),
          ),
          oneOf('dl_vlan', fc.nat(4095)),
        ][i],
    ),
  ),
);
const l4 = (proto: string) =>
  fc
    .tuple(
      oneOf('tp_src', be16),
      oneOf(
        'tp_dst',
        be16.map((n) => `${hex(n & 0xff00)}/0xff00`),
      ),
    )
    .map((x) => [proto, ...x]);
const l3 = fc.oneof(
  fc.constant([] as string[]),
  fc
    .tuple(
      oneOf('nw_src', cidr(ip, 32)),
      oneOf('nw_dst', ip),
      oneOf(
        'nw_tos',
        fc.nat(63).map((n) => n * 4),
      ),
    )
    .map((x) => ['ip', ...x]),
  fc.tuple(oneOf('ipv6_src', cidr(ip6, 128)), oneOf('ipv6_dst', ip6), oneOf('nw_ttl', byte)).map((x) => ['ipv6', ...x]),
  fc.tuple(oneOf('arp_spa', ip), oneOf('arp_op', byte), oneOf('arp_tha', mac)).map((x) => ['arp', ...x]),
  fc.tuple(oneOf('mpls_label', fc.nat(0xfffff)), oneOf('mpls_bos', fc.nat(1))).map((x) => ['mpls', ...x]),
  l4('tcp'),
  l4('udp6'),
  l4('sctp'),
);
const matches: fc.Arbitrary<Match> = fc.tuple(metadata, ethernet, l3).map((x) => parseMatch(x.flat().join(',')));
const plainMatches: fc.Arbitrary<Match> = fc
  .tuple(
    oneOf('in_port', fc.nat(0xfeff)),
    oneOf('dl_src', mac),
    fc.oneof(
      fc
        .tuple(
          oneOf('nw_src', cidr(ip, 32)),
          oneOf(
            'nw_tos',
            fc.nat(63).map((n) => n * 4),
          ),
        )
        .map((x) => ['ip', ...x]),
      fc.tuple(oneOf('tp_src', be16)).map((x) => ['tcp', ...x]),
      fc.tuple(oneOf('dl_vlan', fc.nat(4095)), oneOf('dl_vlan_pcp', fc.nat(7))),
      fc.constant(['vlan_tci=0']),
    ),
  )
  .map((x) => parseMatch(x.flat().join(',')));

function same(a: Match, b: Match): void {
  assert.equal(formatMatch(b), formatMatch(a));
  assert.ok(a.flow.equals(b.flow) && a.wc.equals(b.wc));
}

test('a match comes back from NXM, and from OXM of each version', () => {
  fc.assert(
    fc.property(matches, fc.constantFrom(0, 3, 4, 5, 6), (m, version) => {
      const w = new Writer();
      if (version) putOxmMatch(w, m, version);
      else putNxMatch(w, m, 0);
      const r = new Reader(w.done());
      same(m, version ? pullOxmMatch(r) : pullNxMatch(r, w.length).match);
      assert.equal(r.left, 0);
    }),
  );
});

test('a match of the fields of OpenFlow 1.0 comes back from its match and from that of 1.1', () => {
  fc.assert(
    fc.property(plainMatches, (m) => {
      const w = new Writer();
      putOfp10Match(w, m);
      assert.equal(w.length, 40);
      same(m, pullOfp10Match(new Reader(w.done())));
      const w11 = new Writer();
      putOfp11Match(w11, m);
      assert.equal(w11.length, 88);
      same(m, pullOfp11Match(new Reader(w11.done())));
    }),
  );
});

test('a match comes back from its text', () => {
  fc.assert(fc.property(matches, (m) => same(m, parseMatch(formatMatch(m)))));
});

test('a cookie goes along in NXM', () => {
  const w = new Writer();
  putNxMatch(w, parseMatch('in_port=1'), 0, 0x1234n, 0xffffn);
  const { cookie, cookieMask, match } = pullNxMatch(new Reader(w.done()), w.length, { cookie: true });
  assert.deepEqual([cookie, cookieMask, match.flow.inPort], [0x1234n, 0xffffn, 1]);
  assert.throws(() => pullNxMatch(new Reader(w.done()), w.length), new OfDecodeError('OFPBMC_BAD_FIELD'));
});

function errorOf(digits: string): string {
  const b = new Uint8Array(Buffer.from(digits.replaceAll(' ', ''), 'hex'));
  try {
    pullNxMatch(new Reader(b), b.length);
  } catch (e) {
    if (e instanceof OfDecodeError) return e.ofError;
    throw e;
  }
  return 'none';
}

test('what is wrong with a match is said with the right error', () => {
  assert.equal(errorOf('00000002 0001'), 'none');
  assert.equal(errorOf('000000'), 'OFPBMC_BAD_LEN');
  assert.equal(errorOf('00000002 00'), 'OFPBMC_BAD_LEN');
  assert.equal(errorOf('00000003 000001'), 'OFPBMC_BAD_FIELD');
  assert.equal(errorOf('0001fe04 00000000'), 'OFPBMC_BAD_FIELD');
  assert.equal(errorOf('00000104 0001fffe'), 'OFPBMC_BAD_WILDCARDS');
  assert.equal(errorOf('00000104 0000fffe'), 'OFPBMC_BAD_MASK');
  assert.equal(errorOf('00000002 0001 00000002 0001'), 'OFPBMC_DUP_FIELD');
  assert.equal(errorOf('00000e04 0a000001'), 'OFPBMC_BAD_PREREQ');
  assert.equal(errorOf('00000602 0800 00000a01 03'), 'OFPBMC_BAD_VALUE');
});

test('ovs-ofctl reads our NXM and writes it as we do', (t) => {
  if (!requirePeer(t, 'ovs-ofctl')) return;
  fc.assert(
    fc.property(matches, (m) => {
      const w = new Writer();
      putNxMatch(w, m, 0);
      const dump = spawnSync('ovs-ofctl', ['parse-nxm'], { input: `${nxmText(w.done())}\n`, encoding: 'utf8' });
      assert.equal(dump.stderr, '');
      assert.equal(dump.stdout.trim(), nxmText(w.done()));
    }),
    { numRuns: 40 },
  );
});

/** NXM in the words of `ovs-ofctl parse-nxm`: `NXM_OF_IP_SRC(0a000001/ffffff00)`. */
function nxmText(b: Uint8Array): string {
  const out: string[] = [];
  const r = new Reader(b);
  while (r.left > 0) {
    const word = r.readU32();
    const header = FIELDS.flatMap((f) => f.headers).find(
      (h) => h.oxmClass === word >>> 16 && h.number === ((word >>> 9) & 0x7f),
    );
    assert.ok(header && fieldByOxmName(header.name));
    const length = word & 0xff;
    const digits = (n: number) => Buffer.from(r.bytes(n)).toString('hex');
    const masked = (word & 0x100) !== 0;
    out.push(
      masked ? `${header.name}_W(${digits(length / 2)}/${digits(length / 2)})` : `${header.name}(${digits(length)})`,
    );
  }
  return out.join(', ') || '<any>';
}
