import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { setVlanLimit } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import { BATCH_MAX, RECIRC_DEPTH_MAX, UPCALL_ACTION, UPCALL_MISS, UPCALL_OUTPUT } from '../../gen/arena.ts';
import { Bonds } from '../bonds.ts';
import type { DpAction } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey } from '../packet-key.ts';
import { countRecircs } from './compile-actions.ts';
import { actionList, testBonds } from './testing/action-lists.ts';
import { frames } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

/** Tables of megaflows that send packets on to each other, in the fast path and in TypeScript: the same packets by the same ports. */

const IN_PORT = 9;
/** Recirculation ids 1 to N_IDS, 1 to N_FLOWS of which have a megaflow; by the parity of dp_hash in the odd ones. */
const N_IDS = 5;

const rig = new Rig();
for (let port = 1; port <= 4; port++) rig.softPort(port);
rig.setVlanLimit(2);
setVlanLimit(2);
const bonds = new Bonds();
for (const [id, members] of testBonds) for (const to of [bonds, rig.bonds]) to.set(id, members);

type Out = Record<string, string[]>;

const add = (out: Out, name: string, packet: Uint8Array) => {
  out[name] ??= [];
  out[name].push(Buffer.from(packet).toString('hex'));
};

/** Lists of the first lookup, and of recirculation by id and parity of the hash: undefined where packets are not known. */
interface Table {
  first: DpAction[];
  again: (readonly [even: DpAction[], odd: DpAction[]] | undefined)[];
}

const recirc = fc.integer({ min: 1, max: N_IDS }).map((recircId): DpAction[] => [{ type: 'recirc', recircId }]);

/** Fewer tags: behind a third one the fast path's key ends, and with it what translation would set. */
function untagged(actions: readonly DpAction[]): DpAction[] {
  return actions
    .filter((a) => a.type !== 'push_vlan')
    .map((a): DpAction => {
      if (a.type === 'clone' || a.type === 'sample') return { ...a, actions: untagged(a.actions) };
      if (a.type !== 'check_pkt_len') return a;
      return { ...a, ifGreater: untagged(a.ifGreater), ifLessEqual: untagged(a.ifLessEqual) };
    });
}

function tables(kind: keyof typeof frames): fc.Arbitrary<Table> {
  const list = actionList(kind, 1, [recirc, recirc])
    .map(untagged)
    .filter((l) => countRecircs(l) <= 2);
  const pair = fc.tuple(list, list);
  return fc.record({
    first: list,
    again: fc.array(fc.option(pair, { nil: undefined }), { minLength: N_IDS, maxLength: N_IDS }),
  });
}

const byParity = (id: number) => id % 2 === 1;

function reference(table: Table, frame: Uint8Array, out: Out): void {
  const rssHash = hash5Tuple(extractKey(frame, new Flow(), 2), 0);
  const run = (packet: Uint8Array, md: Flow, actions: readonly DpAction[], depth: number): void =>
    executeActions(packet, md, actions, {
      output: (port, p) => add(out, `${port}`, p),
      userspace: (_userdata, p) => add(out, 'up', p),
      lbOutput: (id, p, hash) => {
        const port = bonds.choose(id, hash, p.length);
        add(
          out,
          port === undefined ? 'datapath_drop_invalid_bond' : `${port}`,
          port === undefined ? new Uint8Array() : p,
        );
      },
      recirc: (id, p, hash, next) => {
        if (depth === RECIRC_DEPTH_MAX) {
          add(out, 'datapath_drop_recirc_error', new Uint8Array());
          return;
        }
        const lists = table.again[id - 1];
        if (lists) run(p, next, lists[byParity(id) ? hash & 1 : 0]!, depth + 1);
        else add(out, `miss ${id} ${hash} ${next.pktMark} ${next.skbPriority}`, p);
      },
      rssHash,
    });
  const md = new Flow();
  md.inPort = IN_PORT;
  run(frame, md, table.first, 0);
}

const wildcards = (hash: number): FlowWildcards => {
  const wc = new FlowWildcards();
  Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff, dpHash: hash });
  return wc;
};

/** Puts the table in; gives back what takes it out. */
function install(table: Table): () => void {
  const flows: number[] = [];
  const put = (recircId: number, dpHash: number, hashMask: number, actions: DpAction[]) => {
    const key = new Flow();
    Object.assign(key, { inPort: IN_PORT, recircId, dpHash });
    const flow = rig.table.insert(key, wildcards(hashMask), rig.flowActions(actions));
    assert.notEqual(flow, 0);
    flows.push(flow);
  };
  put(0, 0, 0, table.first);
  table.again.forEach((lists, i) => {
    if (!lists) return;
    const mask = byParity(i + 1) ? 1 : 0;
    put(i + 1, 0, mask, lists[0]);
    if (mask) put(i + 1, 1, mask, lists[1]);
  });
  return () => {
    for (const flow of flows) rig.table.remove(flow, 1, () => {});
    rig.rcu.reap();
  };
}

function fastPath(table: Table, batch: readonly Uint8Array[]): Out {
  const out: Out = {};
  const remove = install(table);
  batch.forEach((frame, i) => {
    rig.place(i, frame);
  });
  const drops = rig.dropsDuring(() => rig.exports.process(batch.length, IN_PORT));
  for (const { type, port, packet, key } of rig.records()) {
    if (type === UPCALL_OUTPUT) add(out, `${port}`, packet);
    else if (type === UPCALL_ACTION) add(out, 'up', packet);
    else if (type === UPCALL_MISS)
      add(out, `miss ${key.recircId} ${key.dpHash} ${key.pktMark} ${key.skbPriority}`, packet);
  }
  for (const name of ['datapath_drop_invalid_bond', 'datapath_drop_recirc_error'])
    for (let i = 0; i < (drops[name] ?? 0); i++) add(out, name, new Uint8Array());
  remove();
  return out;
}

const sorted = (out: Out) => Object.fromEntries(Object.entries(out).map(([name, list]) => [name, list.sort()]));

describe('recirculation', () => {
  for (const kind of Object.keys(frames) as (keyof typeof frames)[]) {
    for (const caches of [true, false]) {
      test(`of packets of kind ${kind}, caches ${caches ? 'on' : 'off'}: the same bytes, misses and drops`, () => {
        rig.setCaches(caches, caches);
        const batch = fc.array(frames[kind], { minLength: 1, maxLength: BATCH_MAX });
        fc.assert(
          fc.property(tables(kind), batch, (table, packets) => {
            const want: Out = {};
            for (const frame of packets) reference(table, frame, want);
            assert.deepEqual(sorted(fastPath(table, packets)), sorted(want));
          }),
          { numRuns: 40 },
        );
      });
    }
  }

  test('of many copies of each packet has a record for all of them', () => {
    const frame = new Uint8Array(60).fill(3);
    const copies = new Array<DpAction>(BATCH_MAX).fill({ type: 'recirc', recircId: 2 });
    const again: Table['again'] = [
      undefined,
      [[{ type: 'output', port: 1 as never }], []],
      undefined,
      undefined,
      undefined,
    ];
    const out = fastPath({ first: copies, again }, new Array(BATCH_MAX).fill(frame));
    assert.equal(out['1']?.length, BATCH_MAX * BATCH_MAX);
  });
});
