import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { setVlanLimit } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import { UPCALL_ACTION, UPCALL_OUTPUT } from '../../gen/arena.ts';
import type { DpAction } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey } from '../packet-key.ts';
import { actionFlags, compileActions, isCompilable } from './compile-actions.ts';
import { typeChanges } from './testing/action-lists.ts';
import { frames } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';
import type { Userdata } from './userdata-table.ts';

/** Ethernet headers and NSHs that go on and come off, in the fast path and in TypeScript. */

const IN_PORT = 9;
const rig = new Rig();
for (let port = 1; port <= 3; port++) rig.softPort(port);
rig.setVlanLimit(2);
setVlanLimit(2);

const output = fc.integer({ min: 1, max: 3 }).map((n): DpAction[] => [{ type: 'output', port: odpPort(n) }]);
const spread = fc.nat(0xffffffff).map((basis): DpAction[] => [
  { type: 'hash', algorithm: 'sym_l4', basis },
  { type: 'recirc', recircId: 3 },
]);
const lists = fc
  .array(fc.oneof(output, ...typeChanges, spread), { minLength: 1, maxLength: 8 })
  .map((parts) => parts.flat())
  .chain((list) =>
    fc.constantFrom<DpAction[]>(list, [
      { type: 'clone', actions: list },
      { type: 'output', port: odpPort(1) },
    ]),
  );

type Out = Record<string, string[]>;

const add = (out: Out, name: string, packet: Uint8Array) => {
  out[name] ??= [];
  out[name].push(Buffer.from(packet).toString('hex'));
};

/** What the reference makes of a packet with that metadata, into `out`. Frames leave by ports; nothing else does. */
function reference(packet: Uint8Array, md: Flow, actions: readonly DpAction[], rssHash: number, out: Out): void {
  executeActions(packet, md, actions, {
    output: (port, p, m) => add(out, m.packetType === 0 ? `${port}` : 'no frame', p),
    userspace: () => assert.fail('no such action'),
    recirc: (id, p, hash, m) => add(out, `again ${id} ${hash} ${m.packetType}`, p),
    drop: (reason) => add(out, reason, new Uint8Array()),
    rssHash,
  });
}

const flowKey = new Flow();
flowKey.inPort = IN_PORT;
const wc = new FlowWildcards();
Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff });

/** The same by the fast path; what it sends up with the rest of its list is finished by the reference, as on the control thread. */
function fastPath(frame: Uint8Array, actions: readonly DpAction[]): { out: Out; up: number } {
  const userdata: Userdata[] = [];
  const words = compileActions(actions, (u) => userdata.push(u));
  const at = rig.heap.alloc(words.length * 4)!;
  rig.arena.u32.set(words, at >> 2);
  const flow = rig.table.insert(flowKey, wc, at | actionFlags(actions));
  rig.place(0, frame);
  const out: Out = {};
  let up = 0;
  const drops = rig.dropsDuring(() => rig.exports.process(1, IN_PORT));
  rig.table.remove(flow, 1, () => rig.heap.free(at, words.length * 4));
  rig.rcu.reap();
  for (const record of rig.records()) {
    const { type, port, packet, key } = record;
    if (type === UPCALL_OUTPUT) add(out, `${port}`, packet);
    else if (type === UPCALL_ACTION) {
      up++;
      const rest = userdata[record.userdata - 1]!;
      assert.equal(rest.kind, 'slow_list');
      if (rest.kind === 'slow_list') reference(packet, key, rest.actions, record.rss, out);
    } else add(out, `again ${key.recircId} ${key.dpHash} ${key.packetType}`, packet);
  }
  if (drops.datapath_drop_nsh_decap_error) add(out, 'datapath_drop_nsh_decap_error', new Uint8Array());
  return { out, up };
}

describe('packet types', () => {
  for (const kind of Object.keys(frames) as (keyof typeof frames)[]) {
    test(`of packets of kind ${kind}: the same bytes`, () => {
      let whole = 0;
      fc.assert(
        fc.property(frames[kind], lists.filter(isCompilable), (frame, actions) => {
          const want: Out = {};
          const md = new Flow();
          md.inPort = IN_PORT;
          reference(frame, md, actions, hash5Tuple(extractKey(frame, md), 0), want);
          const { out, up } = fastPath(frame, actions);
          if (up === 0 && Object.keys(out).length > 0) whole++;
          const sorted = (o: Out) => Object.fromEntries(Object.entries(o).map(([name, list]) => [name, list.sort()]));
          assert.deepEqual(sorted(out), sorted(want));
        }),
        { numRuns: 300 },
      );
      assert.ok(whole > 30, `${whole} lists ran on the fast path alone`);
    });
  }

  test('a list that pushes more than the headroom is not compiled', () => {
    const nsh = new Uint8Array(120);
    assert.equal(isCompilable([{ type: 'push_nsh', nsh }]), true);
    assert.equal(
      isCompilable([
        { type: 'push_nsh', nsh },
        { type: 'push_eth', src: new Uint8Array(6), dst: new Uint8Array(6) },
      ]),
      false,
    );
  });
});
