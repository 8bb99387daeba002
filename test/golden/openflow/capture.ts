import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { MessageStream } from '../../../src/openflow/stream.ts';

/**
 * Records what the real ovs-ofctl and ovs-vswitchd say to each other: a proxy stands before a bridge's management socket.
 * Usage: capture.ts <bridge.mgmt> <proxy socket> <output.md> < commands, one ovs-ofctl command line each, with SOCK for the socket.
 */
const [bridge, proxy, output] = process.argv.slice(2);
const run = promisify(execFile);
let log: string[] = [];

const seen = new Set<string>();
const MOST_DIGITS = 4000;

/** Notes a message, unless one that differs in its xid only is there, or it is long. */
function record(line: string): void {
  const body = line.slice(0, 10) + line.slice(18);
  if (line.length > MOST_DIGITS || seen.has(body)) return;
  seen.add(body);
  log.push(line);
}

function relay(from: Socket, to: Socket, arrow: string): void {
  const stream = new MessageStream();
  from.on('data', (chunk) => {
    for (const m of stream.push(Buffer.from(chunk))) record(`${arrow} ${Buffer.from(m).toString('hex')}`);
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

async function capture(): Promise<void> {
  const input = await new Promise<string>((resolve) => {
    let all = '';
    process.stdin.on('data', (d) => {
      all += d;
    });
    process.stdin.on('end', () => resolve(all));
  });
  let md = '';
  for (const line of input.split('\n').filter((l) => l.trim())) {
    log = [];
    const args = (line.match(/'[^']*'|\S+/g) ?? []).map((a) => a.replaceAll("'", '').replace('SOCK', `unix:${proxy}`));
    const { stdout, stderr } = await run('ovs-ofctl', args, { encoding: 'utf8' }).catch(
      (e: { stdout: string; stderr: string }) => e,
    );
    md += `### ovs-ofctl ${line}\n\`\`\`wire\n${log.join('\n')}\n\`\`\`\n`;
    const text = (stdout + stderr).trimEnd();
    if (text) md += `\`\`\`expect\n${text}\n\`\`\`\n`;
    md += '\n';
  }
  writeFileSync(output, md);
  server.close();
}
