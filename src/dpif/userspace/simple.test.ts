import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { extract } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { ACTIONS_F_PLAIN, ARENA_PORTS, PORT__SIZE, PORT_SIMPLE, UPCALL_MISS } from '../../gen/arena.ts';
import { anyFrame, frames, mutated } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

/** Simple match against full parsing and lookup: the same packets leave by the same ports, miss, and are counted on the same flows. */

const rig = new Rig();
rig.setCaches(false, false);
const IN_PORT = 9;
const OTHER_IN_PORT = 10;
for (let port = 1; port <= 4; port++) rig.softPort(port);

function mask(): FlowWildcards {
  const wc = new FlowWildcards();
  Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, vlanTci0: 0xffff, nwFrag: 0xff });
  return wc;
}

function keyOf(frame: Uint8Array, inPort: number): Flow {
  const key = new Flow();
  extract(frame, key);
  key.inPort = inPort;
  return key;
}

/** A megaflow for what frames like this have; the output depends on what the mask sees. */
function install(frame: Uint8Array, inPort: number, plain: boolean): number {
  const key = keyOf(frame, inPort);
  const known = rig.table.find(key, mask());
  if (known) return known;
  const port = 1 + ((key.dlType + key.nwFrag + key.vlanTci0) % 4);
  const actions = rig.actions([{ type: 'output', port: odpPort(port) }]);
  return rig.table.insert(key, mask(), actions | (plain ? ACTIONS_F_PLAIN : 0));
}

const isSimple = (port: number) => rig.arena.get(ARENA_PORTS + port * PORT__SIZE + PORT_SIMPLE) === 1;

/** What happens to the burst: records in order, and the flows' counters before and after. */
function run(burst: readonly Uint8Array[], inPort: number, flows: readonly number[]) {
  const before = flows.map((f) => rig.table.stats(f, 1));
  for (const [i, frame] of burst.entries()) rig.place(i, frame);
  rig.exports.process(burst.length, inPort);
  const records = rig
    .records()
    .map((r) => `${r.type === UPCALL_MISS ? 'miss' : r.port} ${Buffer.from(r.packet).toString('hex')}`);
  const counted = flows.map((f, i) => {
    const { packets, bytes, tcpFlags } = rig.table.stats(f, 1);
    return [packets - before[i]!.packets, bytes - before[i]!.bytes, tcpFlags];
  });
  return { records: records.sort(), counted };
}

const SIMPLE_FRAME = Uint8Array.from({ length: 60 }, (_, i) => [0x08, 0, 0x45, 0, 0, 46][i - 12] ?? 0);
SIMPLE_FRAME[23] = 17;

describe('simple match', () => {
  test('is as full lookup', () => {
    const burst = fc.array(fc.oneof(fc.constant(SIMPLE_FRAME), frames.ipv4, mutated(frames.ipv4), anyFrame), {
      minLength: 1,
      maxLength: 32,
    });
    fc.assert(
      fc.property(burst, fc.array(fc.boolean(), { minLength: 32, maxLength: 32 }), (packets, installed) => {
        const known = [SIMPLE_FRAME, ...packets.filter((_, i) => installed[i])];
        const plain = [...new Set(known.map((frame) => install(frame, IN_PORT, true)))];
        const other = [...new Set(known.map((frame) => install(frame, OTHER_IN_PORT, false)))];
        assert.ok(isSimple(IN_PORT));
        // The first packet teaches the port its flow.
        const lesson = run([SIMPLE_FRAME], IN_PORT, plain);
        assert.deepEqual(lesson.records, run([SIMPLE_FRAME], OTHER_IN_PORT, other).records);
        const hits = rig.counters.thread(0).simpleHits;
        assert.deepEqual(run(packets, IN_PORT, plain), run(packets, OTHER_IN_PORT, other));
        assert.ok(!packets.includes(SIMPLE_FRAME) || rig.counters.thread(0).simpleHits > hits);
        for (const flow of [...plain, ...other]) rig.table.remove(flow, 1, () => {});
        rig.rcu.reap();
      }),
      { numRuns: 300 },
    );
  });

  test('ends with the first megaflow that looks at more, and with the death of the flow', () => {
    const flow = install(SIMPLE_FRAME, IN_PORT, true);
    run([SIMPLE_FRAME], IN_PORT, [flow]);
    const wc = mask();
    wc.nwProto = 0xff;
    const key = keyOf(SIMPLE_FRAME, IN_PORT);
    const tcp = key.clone();
    tcp.nwProto = 6;
    const deeper = rig.table.insert(tcp, wc, rig.actions([]) | ACTIONS_F_PLAIN);
    assert.ok(!isSimple(IN_PORT));
    rig.table.remove(deeper, 1, () => {});
    assert.ok(isSimple(IN_PORT));
    const hits = rig.counters.thread(0).simpleHits;
    const sent = run([SIMPLE_FRAME], IN_PORT, [flow]).records;
    assert.equal(rig.counters.thread(0).simpleHits, hits + 1n);
    assert.equal(sent.length, 1);
    rig.table.remove(flow, 1, () => {});
    rig.rcu.reap();
    assert.match(run([SIMPLE_FRAME], IN_PORT, []).records[0]!, /^miss /);
  });

  test('is not for flows that need a parsed header', () => {
    const flow = install(SIMPLE_FRAME, IN_PORT, false);
    run([SIMPLE_FRAME], IN_PORT, [flow]);
    const hits = rig.counters.thread(0).simpleHits;
    run([SIMPLE_FRAME], IN_PORT, [flow]);
    assert.equal(rig.counters.thread(0).simpleHits, hits);
    rig.table.remove(flow, 1, () => {});
  });
});
