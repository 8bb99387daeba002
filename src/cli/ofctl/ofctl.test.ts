import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decode, encode, encodeError } from '../../openflow/codec.ts';
import { parse } from '../../openflow/flow-text.ts';
import type { FlowMod, Message } from '../../openflow/messages.ts';
import { MessageStream } from '../../openflow/stream.ts';

/** ovs-ofctl as a process, against a switch that is made of answers. */

const program = fileURLToPath(new URL('../../../bin/turnout.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'ofctl-'));
const OFP10 = 1;

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

function ofctl(...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, 'ofctl', ...args], {
      env: { ...process.env, OVS_RUNDIR: folder },
      cwd: folder,
    });
    const run: Run = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (d) => {
      run.stdout += d;
    });
    child.stderr.on('data', (d) => {
      run.stderr += d;
    });
    child.on('close', (code) => resolve({ ...run, code }));
  });
}

/** What the switch got, beside hellos and barriers. */
let received: Message[] = [];

/** Answers of the switch; undefined: none. */
function answer(m: Message, xid: number, bytes: Uint8Array): Uint8Array | undefined {
  const reply = (message: Message) => encode(message, OFP10, xid)[0];
  switch (m.type) {
    case 'hello':
      return reply({ type: 'hello', versions: 1 << OFP10 });
    case 'barrier_request':
      return reply({ type: 'barrier_reply' });
    case 'desc_stats_request':
      return reply({ type: 'desc_stats_reply', mfrDesc: 'm', hwDesc: 'h', swDesc: 's', serialNum: '1', dpDesc: 'd' });
    case 'flow_stats_request': {
      const { match, priority, actions } = parse('priority=7,in_port=1,actions=output:2');
      const rest = { cookie: 0n, tableId: 3, idleTimeout: 0, hardTimeout: 0, durationSec: 1, durationNsec: 0 };
      const counters = { packetCount: 2n, byteCount: 120n, idleAge: -1, hardAge: -1, flags: 0, importance: 0 };
      return reply({
        type: 'flow_stats_reply',
        more: false,
        flows: [{ match, priority, actions, ...rest, ...counters }],
      });
    }
    case 'flow_mod':
      return m.priority === 666 ? encodeError({ name: 'OFPFMFC_TABLE_FULL' }, bytes, OFP10) : undefined;
    case 'set_flow_format':
      return encodeError({ name: 'OFPBRC_BAD_SUBTYPE' }, bytes, OFP10);
    default:
      return undefined;
  }
}

function serve(socket: Socket): void {
  const stream = new MessageStream();
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Uint8Array) => {
    for (const bytes of stream.push(chunk)) {
      const result = decode(bytes);
      assert.ok(result.ok);
      const { message, xid } = result.value;
      if (message.type !== 'hello' && message.type !== 'barrier_request') received.push(message);
      const reply = answer(message, xid, bytes);
      if (reply) socket.write(reply);
    }
  });
}

describe('ofctl', () => {
  let server: Server;

  before(async () => {
    server = createServer(serve);
    await new Promise<void>((resolve) => server.listen(join(folder, 'br0.mgmt'), resolve));
  });
  beforeEach(() => {
    received = [];
  });
  after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  it('finds a bridge by its name and prints what it says', async () => {
    const { code, stdout } = await ofctl('dump-desc', 'br0');
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^OFPST_DESC reply \(xid=0x2\):\nManufacturer: m\nHardware: h\nSoftware: s\nSerial Num: 1\nDP Description: d\n$/,
    );
  });

  it('falls back to the flow format that the switch has', async () => {
    const { code, stdout } = await ofctl('dump-flows', 'br0');
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^OFPST_FLOW reply \(xid=0x\w+\):\n cookie=0x0, duration=1s, table=3, n_packets=2, n_bytes=120, priority=7,in_port=1 actions=output:2\n$/,
    );
    assert.deepEqual(
      received.map((m) => m.type),
      ['set_flow_format', 'flow_stats_request'],
    );
  });

  it('adds the flows of a file until one is refused', async () => {
    const file = join(folder, 'flows');
    writeFileSync(file, '# a comment\nin_port=1,actions=2\n\npriority=666,actions=drop\nin_port=3,actions=drop\n');
    const { code, stderr } = await ofctl('--no-names', 'add-flows', 'br0', file);
    assert.equal(code, 1);
    assert.match(stderr, /^OFPT_ERROR \(xid=0x\w+\): OFPFMFC_TABLE_FULL\nOFPT_FLOW_MOD \(xid=0x\w+\):.* priority=666 /);
    const flows = received.filter((m): m is FlowMod => m.type === 'flow_mod');
    assert.deepEqual(
      flows.map((f) => f.priority),
      [32768, 666],
    );
  });

  it('says where a file is wrong, and sends nothing of it', async () => {
    const file = join(folder, 'wrong');
    writeFileSync(file, 'in_port=1,actions=2\nin_port=1,colour=red,actions=2\n');
    const { code, stderr } = await ofctl('--no-names', 'add-flows', 'br0', file);
    assert.equal(code, 1);
    assert.equal(stderr, `ovs-ofctl: ${file}:2: unknown keyword colour\n`);
    assert.equal(received.length, 0);
  });

  it('ends with the words of ovs-ofctl', async () => {
    const cases: readonly (readonly [args: string[], stderr: string])[] = [
      [[], 'missing command name; use --help for help'],
      [['frobnicate'], "unknown command 'frobnicate'; use --help for help"],
      [['show'], "'show' command requires at least 1 arguments"],
      [['show', 'a', 'b'], "'show' command takes at most 1 arguments"],
      [['show', 'nobody'], 'nobody is not a bridge or a socket'],
      [['--read-only', 'del-flows', 'br0'], "'del-flows' command does not work in read only mode"],
      [['-F', 'foo', 'show', 'br0'], 'foo: unknown flow protocol'],
      [
        ['-O', 'OpenFlow10', '-F', 'OXM', 'show', 'br0'],
        'None of the enabled OpenFlow versions (OpenFlow10) supports any of the enabled flow formats (OXM).  (Use -O to enable additional OpenFlow versions or -F to enable additional flow formats.)',
      ],
      [['--bogus'], "unrecognized option '--bogus'"],
    ];
    for (const [args, stderr] of cases) {
      const run = await ofctl(...args);
      assert.deepEqual(run, { code: 1, stdout: '', stderr: `ovs-ofctl: ${stderr}\n` });
    }
  });

  it('speaks no version that is not allowed', async () => {
    const { code, stderr } = await ofctl('-O', 'OpenFlow13', 'dump-desc', 'br0');
    assert.equal(code, 1);
    assert.match(stderr, /version negotiation failed \(we support version 0x04, peer supports version 0x01\)\n/);
    assert.match(stderr, /ovs-ofctl: br0: failed to connect to socket \(Protocol error\)\n$/);
  });
});
