import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../../bench/peers/process.ts';
import { ofpPort } from '../../src/base/types.ts';
import { BAD_ND, FRAMES } from '../../src/flow/test-frames.ts';
import { formatMatch } from '../../src/openflow/flow-text.ts';
import { catchallMatch } from '../../src/openflow/match.ts';
import { FaultSwitch } from './support/fault-switch.ts';
import { HostileGuest } from './support/hostile-guest.ts';

/** Row 16 of the fault table: whatever a packet's headers say, the caches on and off give the same output and the same counters. */

let sw: FaultSwitch;

before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());

/** Flows that look into every header that the packets below get wrong, and change some. */
const FLOWS = [
  'priority=90,in_port=3,tcp,tp_dst=443,actions=mod_tp_src:7,output:4',
  'priority=80,in_port=3,udp,tp_src=53,actions=mod_nw_tos:184,output:4',
  'priority=70,in_port=3,ip,ip_frag=later,actions=mod_nw_src:10.9.9.9,output:4',
  'priority=60,in_port=3,ip,ip_frag=first,actions=output:4',
  'priority=50,in_port=3,ip,nw_proto=0,actions=mod_dl_dst:02:00:00:00:00:99,output:4',
  'priority=40,in_port=3,icmp6,icmp_type=135,nd_target=fe80::9,actions=output:4',
  'priority=30,in_port=3,tcp6,tp_src=22,actions=dec_ttl,output:4',
  'priority=20,in_port=3,ip,nw_tos=0xb8,actions=push_vlan:0x8100,mod_vlan_vid:5,output:4',
  'priority=10,in_port=3,ip,actions=dec_ttl,output:4',
  'priority=9,in_port=3,ipv6,actions=output:4',
  'priority=8,in_port=3,vlan_tci=0x1000/0x1000,actions=strip_vlan,output:4',
];

/** The Ethernet type of the frames below. */
const IPV4 = '0800';
const IP_AT = 14;

/** A copy of `frame` with bytes from `at` on replaced. */
function patched(frame: Buffer, at: number, ...bytes: number[]): Buffer {
  const copy = Buffer.from(frame);
  copy.set(bytes, at);
  return copy;
}

/** What an IPv4 header can get wrong. */
function badIpv4(frame: Buffer): Buffer[] {
  const bad = [0x40, 0x41, 0x44, 0x46, 0x4f, 0x05, 0x55, 0x65].map((first) => patched(frame, IP_AT, first));
  for (const total of [0, 1, 19, 20, 21, frame.length - IP_AT - 1, frame.length - IP_AT + 1, 0xffff])
    bad.push(patched(frame, IP_AT + 2, total >> 8, total & 0xff));
  for (const fragment of [0x2000, 0x3fff, 0x0001, 0x1fff, 0x8000, 0xe000])
    bad.push(patched(frame, IP_AT + 6, fragment >> 8, fragment & 0xff));
  bad.push(patched(frame, IP_AT + 10, 0xff, 0xff), patched(frame, IP_AT + 10, 0x12, 0x34));
  for (const protocol of [0, 1, 2, 6, 17, 58, 132, 255]) bad.push(patched(frame, IP_AT + 9, protocol));
  return bad;
}

/** What an IPv6 header can get wrong. */
function badIpv6(frame: Buffer): Buffer[] {
  const bad = [0, 1, frame.length - IP_AT - 41, 0xffff].map((n) => patched(frame, IP_AT + 4, n >> 8, n & 0xff));
  for (const next of [0, 43, 44, 51, 59, 60, 255]) bad.push(patched(frame, IP_AT + 6, next));
  return bad;
}

/** Every frame as it is, padded, cut after every few bytes, and with each field of its IP header wrong. */
function badPackets(): Buffer[] {
  const out: Buffer[] = [];
  for (const text of [...Object.values(FRAMES), ...Object.values(BAD_ND)]) {
    const frame = Buffer.from(text, 'hex');
    out.push(frame, Buffer.concat([frame, Buffer.alloc(18, 0xee)]));
    for (let size = IP_AT; size < frame.length; size += 3) out.push(frame.subarray(0, size));
    const type = frame.toString('hex', 12, 14);
    if (type === IPV4) out.push(...badIpv4(frame));
    if (type === '86dd') out.push(...badIpv6(frame));
  }
  return out;
}

/** Packets of each flow, by its match. */
async function flowCounters(): Promise<Map<string, number>> {
  const match = catchallMatch();
  match.flow.inPort = 3;
  match.wc.inPort = 0xffffffff;
  const all = { cookie: 0n, cookieMask: 0n, outPort: ofpPort(0xffffffff), outGroup: 0xffffffff, tableId: 255 };
  const replies = await sw.openflow.request({ type: 'flow_stats_request', match, ...all });
  const flows = replies.flatMap((reply) => (reply.type === 'flow_stats_reply' ? reply.flows : []));
  return new Map(flows.map((f) => [`${f.priority} ${formatMatch(f.match)}`, Number(f.packetCount)]));
}

const sum = (counters: Map<string, number>) => [...counters.values()].reduce((n, count) => n + count, 0);

interface Outcome {
  output: string[];
  counters: Map<string, number>;
}

/** Sends all packets three times: the first makes megaflows, the second fills the caches, the third goes by them; what came out, sorted, and the packets of each flow. */
async function run(packets: readonly Buffer[], caches: Record<string, string>): Promise<Outcome> {
  await sw.setOtherConfig(caches);
  await sw.appctl('dpif-netdev/pmd-stats-clear');
  await sw.openflow.flows('delete', 'in_port=3');
  await sw.openflow.flows('add', 'priority=0,in_port=3,actions=output:4', ...FLOWS);
  const evil = await HostileGuest.up(sw.socket('evil1'));
  const sink = await HostileGuest.up(sw.socket('sink1'));
  const output: Buffer[] = [];
  for (let pass = 0; pass < 3; pass++) {
    for (let from = 0; from < packets.length; from += 64) {
      const batch = packets.slice(from, from + 64);
      await evil.transmit(batch);
      output.push(...(await sink.received(batch.length)));
    }
  }
  evil.close();
  sink.close();
  return { output: output.map((f) => f.toString('hex')).sort(), counters: await settled(3 * packets.length) };
}

/** The flows' counters once they add up to `n`. */
function settled(n: number): Promise<Map<string, number>> {
  return eventually(`flows count ${n} packets`, async () => {
    const counters = await flowCounters();
    return sum(counters) === n ? counters : undefined;
  });
}

const CACHES: Record<string, Record<string, string>> = {
  'the EMC alone': { 'emc-insert-inv-prob': '1', 'smc-enable': 'false' },
  'the SMC alone': { 'emc-insert-inv-prob': '0', 'smc-enable': 'true' },
  'both caches': { 'emc-insert-inv-prob': '1', 'smc-enable': 'true' },
};

/** Hits of a cache, over all threads. */
function hits(stats: string, cache: 'emc' | 'smc'): number {
  return [...stats.matchAll(new RegExp(`${cache} hits: (\\d+)`, 'g'))].reduce((n, m) => n + Number(m[1]), 0);
}

test('row 16: bad packets come out the same and count the same with the caches on and off', async () => {
  const packets = badPackets();
  const plain = await run(packets, { 'emc-insert-inv-prob': '0', 'smc-enable': 'false' });
  assert.ok(
    [...plain.counters.values()].every((n) => n > 0),
    'every flow sees some',
  );
  for (const [name, caches] of Object.entries(CACHES)) {
    const cached = await run(packets, caches);
    assert.deepEqual(cached.counters, plain.counters, name);
    assert.deepEqual(cached.output, plain.output, name);
    const stats = await sw.appctl('dpif-netdev/pmd-stats-show');
    assert.equal(hits(stats, 'emc') > 0, caches['emc-insert-inv-prob'] === '1', `${name}: ${stats}`);
    // What the EMC has, the SMC is not asked for.
    if (name === 'the SMC alone') assert.ok(hits(stats, 'smc') > 0, stats);
  }
  await sw.openflow.flows('delete', 'in_port=3');
  await sw.openflow.flows('add', 'in_port=3,actions=output:4');
  await sw.unharmed();
});
