import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { MessageStream } from '../../../src/openflow/stream.ts';

/**
 * Records what the real ovs-ofctl and ovs-vswitchd say to each other: a proxy stands before a bridge's management socket.
 * Usage: capture.ts <bridge.mgmt> <proxy socket> <output.md> < commands, one command line each: ovs-ofctl's arguments, or another
 * program (ovs-vsctl, ovs-appctl) with its own, or `raw` with messages in hexadecimal (a hello first). SOCK stands for the proxy's socket,
 * BR for the bridge's, HERE for this folder, DB for the database (from OVS_DB) and CTL for the daemon's control socket (from OVS_CTL). With `first && second && …` the first goes on while the others run, and is ended then. Lines with # are notes.
 */
const [bridge, proxy, output] = process.argv.slice(2);
const run = promisify(execFile);
let log: string[] = [];

const seen = new Set<string>();
const MOST_DIGITS = 12000;
const MOST_LINES = 60;

/** Bytes of a table's statistics, by wire version. */
const TABLE_STATS = [0, 64, 88, 128, 24, 24, 24];
const OFPMP = { TABLE: 3, TABLE_FEATURES: 12, TABLE_DESC: 14 };

/** Replies about all tables are cut to the first one or two: the others are like them. */
function short(m: Buffer): Buffer {
  const head = m[0] === 1 ? 12 : 16;
  const reply = m[1] === (m[0] === 1 ? 17 : 19);
  if (!reply || m.length < head + 4) return m;
  const type = m.readUInt16BE(8);
  const sizes = { [OFPMP.TABLE]: 2 * TABLE_STATS[m[0]], [OFPMP.TABLE_FEATURES]: m.readUInt16BE(head) };
  const size = type === OFPMP.TABLE_DESC ? m.readUInt16BE(head) : sizes[type];
  if (size === undefined) return m;
  const cut = Buffer.from(m.subarray(0, head + size));
  cut.writeUInt16BE(cut.length, 2);
  cut.writeUInt16BE(0, 10);
  return cut;
}

/** Notes a message, unless one that differs in its xid only is there, or it is long. Of table features one a version will do. */
function record(arrow: string, m: Buffer): void {
  const line = `${arrow} ${short(m).toString('hex')}`;
  const features = m.length > 16 && m[1] === 19 && m.readUInt16BE(8) === OFPMP.TABLE_FEATURES;
  const body = features ? `table features of ${m[0]}` : line.slice(0, 10) + line.slice(18);
  if (line.length > MOST_DIGITS || seen.has(body)) return;
  seen.add(body);
  log.push(line);
}

function relay(from: Socket, to: Socket, arrow: string): void {
  const stream = new MessageStream();
  from.on('data', (chunk) => {
    for (const m of stream.push(Buffer.from(chunk))) record(arrow, Buffer.from(m));
    to.write(chunk);
  });
  from.on('close', () => to.destroy());
  from.on('error', () => to.destroy());
}

const server = createServer((client) => {
  const peer = createConnection(bridge);
  relay(client, peer, '>');
  relay(peer, client, '<');
});
rmSync(proxy, { force: true });
await new Promise<void>((resolve) => server.listen(proxy, resolve));
await capture();

/** The program and its arguments. */
function parse(line: string): { program: string; args: string[] } {
  const args = (line.match(/(?:'[^']*'|\S)+/g) ?? []).map((a) =>
    a
      .replaceAll("'", '')
      .replace('SOCK', `unix:${proxy}`)
      .replace('BR', `unix:${bridge}`)
      .replace('DB', process.env.OVS_DB ?? '')
      .replace('CTL', process.env.OVS_CTL ?? '')
      .replace('HERE', import.meta.dirname),
  );
  const program = /^(ovs-[a-z]+|raw)$/.test(args[0]) ? args.shift() : 'ovs-ofctl';
  return { program: program ?? '', args };
}

/** Sends messages by itself, and waits a moment for the answers. */
async function raw(messages: string[]): Promise<string> {
  const socket = createConnection(proxy);
  socket.on('data', () => undefined);
  for (const m of messages) {
    socket.write(Buffer.from(m, 'hex'));
    await sleep(100);
  }
  await sleep(300);
  socket.destroy();
  return '';
}

async function once(line: string): Promise<string> {
  const { program, args } = parse(line);
  if (program === 'raw') return raw(args);
  const { stdout, stderr } = await run(program, args, { encoding: 'utf8' }).catch(
    (e: { stdout: string; stderr: string }) => e,
  );
  return stdout + stderr;
}

function background(line: string): { child: ChildProcess; text: () => string } {
  const { program, args } = parse(line);
  const child = spawn(program, args);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (d) => {
      text += d;
    });
  }
  return { child, text: () => text };
}

async function command(line: string): Promise<string> {
  const [first, ...others] = line.split(' && ');
  if (others.length === 0) return once(first);
  if (parse(first).program === 'raw') {
    const waiting = once(first);
    await sleep(400);
    for (const other of others) await once(other);
    return waiting;
  }
  const { child, text } = background(first);
  await sleep(400);
  for (const other of others) await once(other);
  await sleep(400);
  child.kill();
  return text();
}

async function capture(): Promise<void> {
  const input = await new Promise<string>((resolve) => {
    let all = '';
    process.stdin.on('data', (d) => {
      all += d;
    });
    process.stdin.on('end', () => resolve(all));
  });
  let md = '';
  for (const line of input.split('\n').filter((l) => l.trim() && !l.startsWith('#'))) {
    log = [];
    const text = (await command(line))
      .trimEnd()
      .replaceAll(proxy, 'SOCK')
      .replaceAll(import.meta.dirname, 'HERE');
    if (log.length === 0) continue;
    const title = /^(ovs-|raw)/.test(line) ? line : `ovs-ofctl ${line}`;
    md += `### ${title}\n\`\`\`wire\n${log.join('\n')}\n\`\`\`\n`;
    if (text && text.split('\n').length <= MOST_LINES) md += `\`\`\`expect\n${text}\n\`\`\`\n`;
    md += '\n';
  }
  writeFileSync(output, md);
  server.close();
}
