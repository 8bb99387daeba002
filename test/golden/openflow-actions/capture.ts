import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MessageStream } from '../../../src/openflow/stream.ts';

/**
 * Records what the real ovs-ofctl makes of each line of flows.txt, in every flow format that can carry it: the bytes of its flow-mod, as a
 * switch gets them, and how ovs-ofctl prints them. Usage: capture.ts, beside flows.txt; ovs-ofctl on the PATH.
 */

const run = promisify(execFile);
const here = (name: string) => new URL(name, import.meta.url);

/** File, and the options of ovs-ofctl. */
const FORMATS: readonly (readonly [string, readonly string[]])[] = [
  ['openflow10', ['-O', 'OpenFlow10', '-F', 'OpenFlow10+table_id']],
  ['nxm', ['-O', 'OpenFlow10', '-F', 'NXM+table_id']],
  ['openflow11', ['-O', 'OpenFlow11']],
  ['openflow12', ['-O', 'OpenFlow12']],
  ['openflow13', ['-O', 'OpenFlow13']],
  ['openflow14', ['-O', 'OpenFlow14']],
  ['openflow15', ['-O', 'OpenFlow15']],
];

const OFPT = { hello: 0, echoRequest: 2, vendor: 4, featuresRequest: 5, flowMod: 14 };
const NXT_FLOW_MOD = 13;

let flowMods: Buffer[] = [];

/** Answers as much as ovs-ofctl wants to hear from a switch. */
function serve(socket: Socket): void {
  const stream = new MessageStream();
  const send = (to: Uint8Array, type: number, body = Buffer.alloc(0)) => {
    const head = Buffer.from([to[0], type, 0, 8 + body.length, ...to.subarray(4, 8)]);
    socket.write(Buffer.concat([head, body]));
  };
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    for (const m of stream.push(Buffer.from(chunk))) {
      const [version, type] = m;
      const vendorType = type === OFPT.vendor ? Buffer.from(m).readUInt32BE(12) : 0;
      if (type === OFPT.hello) send(m, OFPT.hello);
      else if (type === OFPT.echoRequest) send(m, type + 1, Buffer.from(m.subarray(8)));
      else if (type === OFPT.featuresRequest) send(m, type + 1, Buffer.alloc(24));
      else if (type === (version === 1 ? 18 : 20)) send(m, type + 1);
      else if (type === OFPT.flowMod || vendorType === NXT_FLOW_MOD) flowMods.push(Buffer.from(m));
    }
  });
}

async function printed(m: Buffer): Promise<string> {
  const { stdout } = await run('ovs-ofctl', ['ofp-print', m.toString('hex')]);
  return stdout.trim();
}

/** The flow-mod without its transaction. */
function withoutXid(m: Buffer): Buffer {
  const copy = Buffer.from(m);
  copy.fill(0, 4, 8);
  return copy;
}

async function capture(options: readonly string[], path: string, flow: string): Promise<string | undefined> {
  flowMods = [];
  try {
    await run('ovs-ofctl', ['-vANY:ANY:OFF', '--no-names', ...options, 'add-flow', `unix:${path}`, flow], {
      timeout: 5000,
    });
  } catch {
    return undefined;
  }
  if (flowMods.length !== 1) throw new Error(`${flow}: ${flowMods.length} flow-mods`);
  const m = withoutXid(flowMods[0]);
  const text = await printed(m);
  // Of what it does not understand itself (decap in OpenFlow 1.0) it prints a dump.
  return text.includes('\n') ? undefined : `${flow}\n  ${m.toString('hex')}\n  ${text}\n`;
}

const path = join(tmpdir(), `capture.${process.pid}.sock`);
const server = createServer(serve);
await new Promise<void>((resolve) => server.listen(path, resolve));
const flows = readFileSync(here('flows.txt'), 'utf8')
  .split('\n')
  .filter((l) => l && !l.startsWith('#'));
for (const [name, options] of FORMATS) {
  let out = '';
  for (const flow of flows) out += (await capture(options, path, flow)) ?? '';
  writeFileSync(here(`${name}.txt`), out);
}
server.close();
rmSync(path, { force: true });
