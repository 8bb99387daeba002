import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decode, encode } from '../../src/openflow/codec.ts';
import { parse } from '../../src/openflow/flow-text.ts';
import type { Message } from '../../src/openflow/messages.ts';
import { FaultSwitch } from './support/fault-switch.ts';
import { OfSession } from './support/of-session.ts';

/** Row 25 of the fault table: a bundle that fails at message 9,999 of 10,000, on a running switch with another pair under traffic. */

const OFP14 = 5;
const BAD = 9_999;
const MESSAGES = 10_000;

let sw: FaultSwitch;
before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());

async function flowsOfTable(session: OfSession, tableId: number): Promise<string[]> {
  const match = parse('actions=drop').match;
  const request: Message = {
    type: 'flow_stats_request',
    match,
    cookie: 0n,
    cookieMask: 0n,
    outPort: parse('actions=drop').outPort,
    outGroup: 0xffffffff,
    tableId,
  };
  const replies = await session.request(request);
  return replies.flatMap((reply) => {
    assert.ok(reply.type === 'flow_stats_reply');
    return reply.flows.map((flow) => `${flow.priority} ${flow.cookie} ${flow.actions.length}`);
  });
}

/** The messages of the bundle: adds, one modify and one delete, and at BAD an add that overlaps. */
function messages(): Uint8Array[] {
  return Array.from({ length: MESSAGES }, (_, i) => {
    const text = `table=7,priority=${1 + (i % 60_000)},udp,tp_dst=${i},actions=output:4`;
    if (i === 10) return encode(parse('table=7,udp,actions=output:3', 'modify'), OFP14, i)[0];
    if (i === 11) return encode(parse('table=7,icmp', 'delete'), OFP14, i)[0];
    if (i !== BAD - 1) return encode(parse(text), OFP14, i)[0];
    const overlapping = parse('table=7,priority=5,udp,check_overlap,actions=output:4');
    return encode(overlapping, OFP14, i)[0];
  });
}

/** Sends the bundle and asks for its commit; the name of the error that answers, or the control message. */
async function commit(session: OfSession, bundleId: number, list: readonly Uint8Array[]): Promise<string> {
  const flags = 3;
  await session.request({ type: 'bundle_control', bundleId, control: 'open_request', flags });
  // The message and its wrapping have one number.
  for (const message of list) {
    const xid = Buffer.from(message).readUInt32BE(4);
    session.send({ type: 'bundle_add_message', bundleId, flags, message }, xid);
  }
  session.send({ type: 'bundle_control', bundleId, control: 'commit_request', flags }, 2);
  for (;;) {
    const answer = decode(await session.next());
    assert.ok(answer.ok);
    const { message } = answer.value;
    if (message.type === 'error') return message.error?.name ?? 'unknown error';
    if (message.type === 'bundle_control') return message.control;
  }
}

test('row 25: a bundle that fails at message 9,999 leaves the table as it was', async () => {
  const session = await OfSession.connect(sw.management, OFP14);
  await session.flows('add', 'table=7,priority=3,udp,cookie=1,actions=output:3', 'table=7,icmp,cookie=2,actions=drop');
  const earlier = await flowsOfTable(session, 7);
  assert.equal(earlier.length, 2);
  assert.equal(await commit(session, 1, messages()), 'OFPFMFC_OVERLAP');
  assert.deepEqual(await flowsOfTable(session, 7), earlier);
  session.close();
  await sw.unharmed();
});

test('the same bundle without that message is applied whole', async () => {
  const session = await OfSession.connect(sw.management, OFP14);
  const list = messages();
  list.splice(BAD - 1, 1);
  assert.equal(await commit(session, 2, list), 'commit_reply');
  // Two messages of the list are no adds; the delete took one of the two that were there.
  assert.equal((await flowsOfTable(session, 7)).length, MESSAGES - 3 + 1);
  session.close();
  await sw.unharmed();
});
