import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { OF_ERRORS, type OfErrorName } from '../../protocols/openflow-errors.ts';
import { encode } from '../../src/openflow/codec.ts';
import { parse } from '../../src/openflow/flow-text.ts';
import { until } from '../support/vhost-front-end.ts';
import { FaultSwitch } from './support/fault-switch.ts';
import { OfSession } from './support/of-session.ts';

/** Rows 24 and 28 of the fault table: clients of the database and of OpenFlow that send nonsense to a running switch. */

let sw: FaultSwitch;

before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());

const sessions: OfSession[] = [];
afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});

async function connect(version: number): Promise<OfSession> {
  const session = await OfSession.connect(sw.management, version);
  sessions.push(session);
  return session;
}

async function connectDatabase(): Promise<Socket> {
  const socket = createConnection(`${sw.rundir}/db.sock`);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Resolves when the switch has closed the connection. What it says before that is thrown away. */
async function closed(socket: Socket): Promise<void> {
  socket.resume();
  await until(() => socket.closed, 'the client is cut off');
}

/** Other clients of the database are served. */
async function assertDatabaseServes(): Promise<void> {
  const txn = sw.idl.txn();
  const root = sw.idl.snapshot().first('Open_vSwitch')!;
  txn.update('Open_vSwitch', root._uuid, { external_ids: { n: String(sw.idl.seqno) } });
  assert.equal((await txn.commit()).status, 'success');
}

/** Resolves when the socket has room again or is closed. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

const CHUNK = Buffer.alloc(1 << 20, 'a');
const GIGABYTE = 1 << 30;

test('row 24: a gigabyte of JSON is cut off early', async () => {
  sw.markLog();
  const socket = await connectDatabase();
  socket.write('{"method":"transact","id":1,"params":["Open_vSwitch","');
  let sent = 0;
  let mid = false;
  for (; sent < GIGABYTE && !socket.closed; sent += CHUNK.length) {
    if (!socket.write(CHUNK)) await drained(socket);
    if (sent === 64 << 20) {
      await assertDatabaseServes();
      mid = true;
    }
  }
  assert.ok(mid, 'others were served in between');
  await closed(socket);
  assert.ok(sent < GIGABYTE / 2, `${sent} bytes were taken`);
  await sw.logged('message is too long');
  await assertDatabaseServes();
  await sw.unharmed();
});

const NONSENSE: Record<string, [bytes: Buffer, reason: string]> = {
  '100,000 arrays in each other': [Buffer.alloc(100_000, '['), 'input exceeds maximum nesting depth'],
  '100,000 objects in each other': [Buffer.from('{"a":'.repeat(100_000)), 'input exceeds maximum nesting depth'],
  'bad UTF-8': [Buffer.from('{"method":"\xc3\x28","id":1,"params":[]}', 'latin1'), 'UTF-8'],
  'no JSON at all': [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'syntax error'],
  'JSON that is no JSON-RPC': [Buffer.from('{"hello":"world"}'), 'hello'],
};

for (const [name, [bytes, reason]] of Object.entries(NONSENSE)) {
  test(`row 24: ${name}: that client is closed and nobody else`, async () => {
    sw.markLog();
    const socket = await connectDatabase();
    socket.write(bytes);
    await closed(socket);
    await sw.logged(reason);
    await assertDatabaseServes();
    await sw.unharmed();
  });
}

const OFP10 = 1;
const OFP13 = 4;
const OFP14 = 5;

/** An OpenFlow message as its bytes say. */
function raw(
  version: number,
  type: number,
  xid: number,
  body: readonly number[] = [],
  length = 8 + body.length,
): Buffer {
  const message = Buffer.from([version, type, 0, 0, 0, 0, 0, 0, ...body]);
  message.writeUInt16BE(length, 2);
  message.writeUInt32BE(xid, 4);
  return message;
}

/** The type and code of an error in a version, by protocols/openflow-errors.ts. */
function wireError(name: OfErrorName, version: number): [type: number, code: number] {
  const spec = OF_ERRORS[name].find(([of, from, to]) => of === 'OF' && from <= version && version <= to)!;
  return [spec[3], spec[4] ?? 0];
}

/** Sends `bytes`: the answer is exactly that error, and the next request is answered as ever. */
async function assertRefused(session: OfSession, bytes: Buffer, name: OfErrorName): Promise<void> {
  session.socket.write(bytes);
  const answer = Buffer.from(await session.next());
  assert.equal(answer[1], 1, `an error for ${bytes.toString('hex', 0, 16)}, not ${answer.toString('hex', 0, 16)}`);
  assert.equal(answer.readUInt32BE(4), bytes.readUInt32BE(4), 'its xid');
  assert.deepEqual([answer.readUInt16BE(8), answer.readUInt16BE(10)], wireError(name, session.version), name);
  assert.deepEqual(answer.subarray(12, 20), bytes.subarray(0, 8), 'the start of what was wrong');
  const [reply] = await session.request({ type: 'echo_request', data: Uint8Array.of(1, 2, 3) });
  assert.deepEqual(reply, { type: 'echo_reply', data: Uint8Array.of(1, 2, 3) });
}

const statsRequest = (version: number) => (version === OFP10 ? 16 : 18);
const barrier = (version: number) => (version === OFP10 ? 18 : 20);

for (const version of [OFP10, OFP13, OFP14]) {
  test(`row 28: wrong, truncated and unknown messages of OpenFlow version ${version}`, async () => {
    const session = await connect(version);
    const other = version === OFP10 ? OFP14 : OFP10;
    const zeros = (n: number) => new Array<number>(n).fill(0);
    const vendor = [0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1];
    const nicira = [0, 0, 0x23, 0x20, 0xff, 0xff, 0xff, 0xff];
    const cases: [Buffer, OfErrorName][] = [
      [raw(other, 2, 0x51), 'OFPBRC_BAD_VERSION'],
      [raw(99, 2, 0x52), 'OFPBRC_BAD_VERSION'],
      [raw(version, 14, 0x53, zeros(4)), 'OFPBRC_BAD_LEN'],
      [raw(version, barrier(version), 0x54, zeros(8)), 'OFPBRC_BAD_LEN'],
      [raw(version, statsRequest(version), 0x55, zeros(2)), 'OFPBRC_BAD_LEN'],
      [raw(version, 5, 0x56, zeros(1)), 'OFPBRC_BAD_LEN'],
      [raw(version, 99, 0x57), 'OFPBRC_BAD_TYPE'],
      [raw(version, 255, 0x58, zeros(1000)), 'OFPBRC_BAD_TYPE'],
      [raw(version, statsRequest(version), 0x59, [0x77, 0x77, ...zeros(6)]), 'OFPBRC_BAD_STAT'],
      [raw(version, 4, 0x5a, vendor), 'OFPBRC_BAD_VENDOR'],
      [raw(version, 4, 0x5b, nicira), 'OFPBRC_BAD_SUBTYPE'],
    ];
    for (const [bytes, name] of cases) await assertRefused(session, bytes, name);
    session.close();
    await sw.unharmed();
  });
}

test('row 28: flow-mods cut at every length are refused, and no flow comes of them', async () => {
  const session = await connect(OFP13);
  const reference = await connect(OFP13);
  const count = async () => {
    const [reply] = await reference.request({ type: 'table_stats_request' });
    assert.ok(reply?.type === 'table_stats_reply');
    return reply.tables.reduce((n, table) => n + table.activeCount, 0);
  };
  const nFlows = await count();
  const whole = Buffer.from(flowMod());
  // Cut right behind its match, it is a whole flow-mod without instructions.
  const matchEnd = 48 + Math.ceil(whole.readUInt16BE(50) / 8) * 8;
  for (let size = 9; size < whole.length; size++) {
    if (size === matchEnd) continue;
    const cut = Buffer.from(whole.subarray(0, size));
    cut.writeUInt16BE(size, 2);
    cut.writeUInt32BE(size, 4);
    session.socket.write(cut);
    const answer = Buffer.from(await session.next());
    assert.deepEqual([answer[1], answer.readUInt32BE(4)], [1, size], `cut to ${size} bytes`);
  }
  assert.equal(await count(), nFlows);
  for (const s of [session, reference]) s.close();
  await sw.unharmed();
});

function flowMod(): Uint8Array {
  const fm = parse('table=9,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=set_field:1->reg0,output:2', 'add');
  return encode(fm, OFP13, 1)[0]!;
}

test('row 28: a length that leaves no way to go on ends that connection only', async () => {
  const session = await connect(OFP14);
  session.socket.write(raw(OFP14, 2, 1, [], 7));
  await session.ended();
  session.close();
  await sw.unharmed();
});

test('row 28: a peer that speaks no version of ours is told so', async () => {
  const session = await OfSession.open(sw.management, 99);
  const bitmap = [0, 1, 0, 8, 0x80, 0, 0, 0];
  session.socket.write(raw(99, 0, 7, bitmap));
  const messages = [await session.next(), await session.next()].map((m) => Buffer.from(m));
  const error = messages.find((m) => m[1] === 1);
  assert.deepEqual(error && [error.readUInt16BE(8), error.readUInt16BE(10)], [0, 0], 'HELLO_FAILED, INCOMPATIBLE');
  await session.ended();
  session.close();
  await sw.unharmed();
});
