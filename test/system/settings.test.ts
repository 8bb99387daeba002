import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FRAMES } from '../../src/flow/test-frames.ts';
import { FaultSwitch } from './support/fault-switch.ts';
import { HostileGuest, testFrame } from './support/hostile-guest.ts';

/** Settings in the database that a running switch obeys, beside ports under traffic. The last test stops the switch's clock. */

let sw: FaultSwitch;

before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());

const rowOf = (table: 'Bridge' | 'Interface', name: string) =>
  [...sw.idl.snapshot().table(table).values()].find((row) => row.name === name)!._uuid;

test('vhost-sock-dir: a new port has its socket there, and a front end that connects to it is served', async () => {
  mkdirSync(join(sw.rundir, 'sockets'));
  await sw.setOtherConfig({ 'vhost-sock-dir': 'sockets' });
  await sw.change((txn) => {
    const iface = txn.insert('Interface', { name: 'moved', type: 'dpdkvhostuser', ofport_request: 9 });
    txn.mutate('Bridge', rowOf('Bridge', 'br0'), 'ports', 'insert', [
      txn.insert('Port', { name: 'moved', interfaces: [iface] }),
    ]);
  });
  assert.deepEqual(
    ['moved', 'sockets/moved'].map((path) => existsSync(join(sw.rundir, path))),
    [false, true],
  );
  await sw.openflow.flows('add', 'in_port=9,actions=output:4');
  const guest = await HostileGuest.up(join(sw.rundir, 'sockets/moved'));
  const sink = await HostileGuest.up(sw.socket('sink1'));
  await guest.transmit([testFrame(1)]);
  assert.deepEqual(await sink.received(1), [Buffer.from(testFrame(1))]);
  guest.close();
  sink.close();
  await sw.setOtherConfig({});
  assert.ok(existsSync(join(sw.rundir, 'sockets/moved')), 'a port that is there stays where it is');
});

/** Core → its queues as pmd-rxq-show prints them, and whether they have it for themselves. */
async function rxqs(): Promise<Map<number, { isolated: boolean; ports: string[] }>> {
  const blocks = (await sw.appctl('dpif-netdev/pmd-rxq-show')).split(/^pmd thread /m).slice(1);
  return new Map(
    blocks.map((block) => {
      const ports = [...block.matchAll(/port: (\S+) +queue-id: +(\d+)/g)].map(([, port, queue]) => `${port} ${queue}`);
      const core = Number(/core_id (\d+)/.exec(block)![1]);
      return [core, { isolated: block.includes('isolated : true'), ports }];
    }),
  );
}

test('pmd-rxq-affinity puts a queue on its core, which others then leave, and packets go on', async () => {
  await sw.setOtherConfig({ 'pmd-cpu-mask': '0x3' });
  const setAffinity = (affinity: Record<string, string>) =>
    sw.change((txn) => txn.update('Interface', rowOf('Interface', 'evil1'), { other_config: affinity }));
  for (const core of [1, 0]) {
    await setAffinity({ 'pmd-rxq-affinity': `0:${core}` });
    const [pinned, other] = [(await rxqs()).get(core)!, (await rxqs()).get(1 - core)!];
    assert.deepEqual([pinned, other.isolated], [{ isolated: true, ports: ['evil1 0'] }, false]);
    assert.ok(
      ['good1 0', 'good2 0', 'sink1 0'].every((port) => other.ports.includes(port)),
      String(other.ports),
    );
    await sw.useEvil();
    await sw.good.flows();
  }
  await setAffinity({});
  assert.ok([...(await rxqs()).values()].every(({ isolated }) => !isolated));
  await sw.setOtherConfig({});
});

/** UDP packets with a source address each. */
const packets = (n: number) =>
  Array.from({ length: n }, (_, i) => {
    const frame = Buffer.from(FRAMES.udp!.replaceAll(' ', ''), 'hex');
    frame.writeUInt8(i, 29);
    return frame;
  });

/** How many megaflows there are: those of evil1 for one source address, and in all. */
async function megaflows(): Promise<{ evil: number; all: number }> {
  const flows = (await sw.appctl('dpctl/dump-flows', '--names'))
    .split('\n')
    .filter((line) => line.includes('in_port('));
  return { evil: flows.filter((flow) => /in_port\(evil1\).*ipv4\(src=[\d.]+,/.test(flow)).length, all: flows.length };
}

const SOURCES = 60;

test('flow-limit bounds the megaflows, and max-idle their age; what has none is forwarded all the same', async () => {
  // A megaflow for each source address.
  await sw.openflow.flows('add', 'priority=40000,in_port=3,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],output:4');
  const evil = await HostileGuest.up(sw.socket('evil1'));
  const sink = await HostileGuest.up(sw.socket('sink1'));
  const sendAll = async () => {
    await evil.transmit(packets(SOURCES));
    assert.deepEqual(await sink.received(SOURCES), packets(SOURCES));
  };
  const HOUR_MS = 3_600_000;
  await sw.setOtherConfig({ 'flow-limit': '20', 'max-idle': String(HOUR_MS) });
  await sendAll();
  const limited = await megaflows();
  assert.ok(limited.all <= 20 && limited.evil < SOURCES, JSON.stringify(limited));
  assert.match(await sw.appctl('upcall/show'), /\(limit 20\)/);
  await sw.setOtherConfig({ 'max-idle': String(HOUR_MS) });
  await sendAll();
  assert.equal((await megaflows()).evil, SOURCES);

  await sw.appctl('time/stop');
  await sw.appctl('time/warp', String(HOUR_MS / 2));
  await sw.appctl('revalidator/wait');
  assert.equal((await megaflows()).evil, SOURCES, 'idle for half an hour of one that is allowed');
  await sw.setOtherConfig({ 'max-idle': String(HOUR_MS / 4) });
  await sw.appctl('revalidator/wait');
  assert.equal((await megaflows()).evil, 0);
  evil.close();
  sink.close();
});
