import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { odpPort } from '../base/types.ts';
import { composePacket } from '../flow/compose.ts';
import { Flow } from '../flow/flow.ts';
import { parseOdpActions } from './odp-action-parse.ts';
import { type ExecuteSink, executeActions } from './odp-execute.ts';
import { parseOdpFlow } from './odp-parse.ts';

/** Actions that change what kind of packet it is, or where it goes on. */

const TEXT =
  'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64,frag=no),udp(src=1,dst=2)';
const FRAME = composePacket(parseOdpFlow(TEXT).flow, [1, 2, 3, 4]);
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');

interface Seen {
  out: { packet: Uint8Array; md: Flow }[];
  recircs: Flow[];
  drops: string[];
}

function run(actions: string, sink: Partial<ExecuteSink> = {}, md = new Flow()): Seen {
  const seen: Seen = { out: [], recircs: [], drops: [] };
  executeActions(FRAME, md, parseOdpActions(actions), {
    output: (_port, packet, md) => seen.out.push({ packet, md }),
    userspace: () => assert.fail('no user space here'),
    recirc: (_id, _packet, _hash, md) => seen.recircs.push(md),
    drop: (reason) => seen.drops.push(reason),
    ...sink,
  });
  return seen;
}

describe('types of packets', () => {
  it('puts a frame into NSH and takes it out', () => {
    const { out } = run(
      'push_nsh(flags=0,ttl=63,mdtype=1,np=0,spi=0x123,si=255,c1=0x1),1,set(nsh(si=254)),2,pop_nsh(),3',
    );
    assert.equal(out[0]!.md.packetType, 0x1894f);
    assert.equal(hex(out[0]!.packet.subarray(0, 12)), '0fc60103000123ff00000001');
    assert.equal(hex(out[1]!.packet.subarray(4, 8)), '000123fe');
    assert.equal(hex(out[2]!.packet), hex(FRAME));
    assert.equal(out[2]!.md.packetType, 0);
  });

  it('takes the Ethernet header away and gives another', () => {
    const { out } = run('pop_eth,set(ipv4(ttl=9)),1,push_eth(src=00:00:00:00:00:05,dst=00:00:00:00:00:06),2');
    assert.equal(out[0]!.md.packetType, 0x10800);
    assert.equal(out[0]!.packet[8], 9);
    assert.equal(hex(out[1]!.packet.subarray(0, 14)), '0000000000060000000000050800');
  });

  it('puts labels before a whole frame', () => {
    const { out } = run('add_mpls(label=7,tc=0,ttl=64,bos=1,eth_type=0x8847),1,pop_mpls(eth_type=0x6558),2');
    // Text has no word for where it goes: behind the Ethernet header.
    assert.equal(hex(out[0]!.packet.subarray(12, 18)), '884700007140');
  });

  it('drops what no NSH tells apart', () => {
    const { out, drops } = run(
      'push_nsh(flags=0,ttl=63,mdtype=1,np=0,spi=0x1,si=1),set(nsh(ttl=62)),pop_nsh(),pop_nsh(),1',
    );
    assert.equal(out.length, 1);
    assert.deepEqual(drops, []);
  });
});

describe('where packets go on', () => {
  it('recirculates with what the packet has gathered', () => {
    const md = new Flow();
    md.inPort = 3;
    const { recircs } = run('set(skb_mark(0x5)),hash(l4(0)),recirc(0x2)', {}, md);
    const [next] = recircs;
    assert.deepEqual([next!.inPort, next!.pktMark, next!.recircId], [3, 5, 2]);
    assert.notEqual(next!.dpHash, 0);
  });

  it('starts a hash from the one the packet came with', () => {
    const own = run('hash(l4(0)),recirc(0x2)').recircs[0]!.dpHash;
    const other = run('hash(l4(0)),recirc(0x2)', { rssHash: 77 }).recircs[0]!.dpHash;
    assert.notEqual(own, other);
  });

  it('ends a list at a meter, and a nested list only itself', () => {
    const { out, drops } = run('clone(meter(1),2),1,meter(1),3', { meter: () => false });
    assert.deepEqual(out.length, 1);
    assert.deepEqual(drops, ['datapath_drop_meter', 'datapath_drop_meter']);
  });

  it('says that it tracks no connections', () => {
    const { out } = run('ct(commit,zone=7),1,ct_clear,2');
    assert.deepEqual([out[0]!.md.ctState, out[0]!.md.ctZone, out[1]!.md.ctState], [0x30, 7, 0]);
  });

  it('samples all or nothing at the ends of the scale', () => {
    assert.equal(run('sample(sample=100.0%,actions(1)),2').out.length, 2);
    assert.equal(run('sample(sample=0.0%,actions(1)),2').out.length, 1);
  });

  it('names the port of an output', () => {
    const ports: number[] = [];
    run('1,2', { output: (port) => ports.push(port) });
    assert.deepEqual(ports, [odpPort(1), odpPort(2)]);
  });
});
