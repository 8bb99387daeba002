import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import type { Bridge } from '../../src/ofproto/bridge.ts';
import { decode, encode } from '../../src/openflow/codec.ts';
import type { Message, MessageOf, MessageType } from '../../src/openflow/messages.ts';
import { OfprotoRig } from '../support/ofproto-rig.ts';
import { requirePeer } from '../support/require.ts';

/** A bridge's OpenFlow connections: the real ovs-ofctl on `.mgmt` and `.snoop`, and controllers that this test plays. */

const run = promisify(execFile);
const UDP =
  'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64,frag=no),udp(src=1,dst=2)';

/** A peer of one version that keeps what it hears. */
class Peer {
  readonly socket: Socket;
  readonly heard: Message[] = [];
  readonly version: number;
  #rest = Buffer.alloc(0);
  #wake: (() => void) | undefined;

  constructor(socket: Socket, version: number) {
    this.socket = socket;
    this.version = version;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', () => undefined);
    this.send({ type: 'hello', versions: 1 << version });
  }

  send(message: Message, xid = 7): void {
    for (const m of encode(message, this.version, xid)) this.socket.write(m);
  }

  #data(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 8 && this.#rest.length >= this.#rest.readUInt16BE(2)) {
      const size = this.#rest.readUInt16BE(2);
      const result = decode(this.#rest.subarray(0, size));
      if (result.ok) this.heard.push(result.value.message);
      this.#rest = this.#rest.subarray(size);
    }
    this.#wake?.();
  }

  /** The next message of a type; takes it. */
  async next<T extends MessageType>(type: T): Promise<MessageOf<T>> {
    for (;;) {
      const i = this.heard.findIndex((m) => m.type === type);
      if (i >= 0) return this.heard.splice(i, 1)[0] as MessageOf<T>;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Everything sent so far has been dealt with. */
  async barrier(): Promise<void> {
    this.send({ type: 'barrier_request' });
    await this.next('barrier_reply');
  }
}

describe('OpenFlow connections', { timeout: 60_000 }, () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  let mgmt: string;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2', 'p3'], true);
    await br0.listenServices();
    mgmt = join(rig.rundir, 'br0.mgmt');
  });
  afterEach(() => rig.close());

  const ofctl = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await run('ovs-ofctl', args).catch((e) => e as { stdout: string; stderr: string });
    return stdout + stderr;
  };
  const needOfctl = (t: TestContext) => requirePeer(t, 'ovs-ofctl');
  const peer = async (version: number): Promise<Peer> => {
    const socket = connect(mgmt);
    await once(socket, 'connect');
    const p = new Peer(socket, version);
    await p.next('hello');
    return p;
  };
  /** A controller at a TCP port, and the connection that the bridge makes to it. */
  const controller = async (t: TestContext, version: number, more: object = {}): Promise<Peer> => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const target = `tcp:127.0.0.1:${port}`;
    const config = { target, type: 'primary', maxBackoffMs: 8000, inactivityProbeMs: 5000, ...more } as const;
    const accepted = once(server, 'connection');
    br0.setControllers([config]);
    const [socket] = (await accepted) as [Socket];
    t.after(() => socket.destroy());
    const p = new Peer(socket, version);
    await p.next('hello');
    await p.barrier();
    return p;
  };

  /** A key and a certificate that vouches for itself. */
  const selfSigned = async (name: string): Promise<{ key: string; cert: string }> => {
    const [key, cert] = [join(rig.rundir, `${name}.key`), join(rig.rundir, `${name}.pem`)];
    const subject = ['-subj', `/CN=${name}`, '-days', '2'];
    await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject]);
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  };

  for (const version of ['OpenFlow10', 'OpenFlow11', 'OpenFlow12', 'OpenFlow13', 'OpenFlow14', 'OpenFlow15']) {
    it(`ovs-ofctl manages flows and reads statistics with ${version}`, async (t) => {
      if (!needOfctl(t)) return;
      const ask = (...args: string[]) => ofctl('-O', version, ...args);
      assert.equal(await ask('add-flow', mgmt, 'in_port=1,idle_timeout=0,action=output:2'), '');
      rig.receive('p1', UDP);
      rig.receive('p1', UDP);
      const flows = await ask('dump-flows', mgmt);
      assert.match(flows, /n_packets=2, n_bytes=212,.*in_port=1 actions=output:2/);
      assert.match(flows, /priority=0 actions=NORMAL/);
      assert.match(await ask('dump-aggregate', mgmt), /packet_count=2 byte_count=212 flow_count=2/);
      const ports = await ask('dump-ports', mgmt);
      assert.match(ports, /port {2}1: rx pkts=2, bytes=212/);
      assert.match(ports, /port {2}2: rx pkts=0.*\n {11}tx pkts=2, bytes=212/);
      assert.match(await ask('show', mgmt), /1\(p1\): addr:/);
      assert.match(await ask('dump-desc', mgmt), /Hardware: Open vSwitch/);
      assert.match(await ask('dump-tables', mgmt), /active=2, lookup=\d+, matched=\d+/);
      assert.match(await ask('queue-stats', mgmt, '1'), /1 queues\n {2}port 1 queue 0: bytes=\?/);
      assert.equal(await ask('mod-port', mgmt, '2', 'no-forward'), '');
      assert.match(await ask('dump-ports-desc', mgmt), /2\(p2\)(.|\n)*config: +NO_FWD/);
      rig.backend.udpif.revalidateAll();
      rig.takeSent();
      rig.receive('p1', UDP);
      assert.deepEqual(rig.takeSent(), {});
      assert.equal(await ask('del-flows', mgmt), '');
      assert.doesNotMatch(await ask('dump-flows', mgmt), /actions/);
    });
  }

  it('commits a bundle as a whole or not at all', async (t) => {
    if (!needOfctl(t)) return;
    const file = join(rig.rundir, 'flows');
    writeFileSync(
      file,
      Array.from({ length: 500 }, (_, i) => `priority=${i + 1},in_port=1 actions=output:2\n`).join(''),
    );
    assert.equal(await ofctl('-O', 'OpenFlow14', '--bundle', 'add-flows', mgmt, file), '');
    assert.equal(br0.flowTables.flowCount, 501);
    writeFileSync(file, 'delete\nadd table=1,in_port=1 actions=output:2\nadd in_port=2 actions=group:7\n');
    assert.match(await ofctl('-O', 'OpenFlow14', '--bundle', 'add-flows', mgmt, file), /BAD_OUT_GROUP|MSG_FAILED/);
    assert.equal(br0.flowTables.flowCount, 501);
  });

  it('sends packets out through actions', async (t) => {
    if (!needOfctl(t)) return;
    const hex = '000000000002000000000001080045000014000000004011000000000000000000000000';
    await ofctl('packet-out', mgmt, 'controller', 'mod_vlan_vid:9,output:1,strip_vlan,output:2', hex);
    assert.equal(rig.sent.get('p1')![0].slice(24, 32), '81000009');
    assert.equal(rig.sent.get('p2')![0], hex);
    await ofctl('add-flow', mgmt, 'in_port=3 actions=output:1');
    await ofctl('packet-out', mgmt, '3', 'resubmit(,0)', hex);
    assert.equal(rig.sent.get('p1')![1], hex);
  });

  it('shows packet-ins to ovs-ofctl monitor', async (t) => {
    if (!needOfctl(t)) return;
    await ofctl(
      'add-flow',
      mgmt,
      'cookie=0x77,table=0,in_port=1 actions=load:5->NXM_NX_REG1[],controller(max_len=60,userdata=01.02)',
    );
    const monitor = spawn('ovs-ofctl', ['-P', 'nxt_packet_in2', 'monitor', mgmt, '65534'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, OVS_RUNDIR: rig.rundir },
    });
    let text = '';
    for (const s of [monitor.stdout, monitor.stderr]) s.on('data', (d: Buffer) => (text += d.toString()));
    const until = async (re: RegExp) => {
      while (!re.test(text)) {
        rig.receive('p1', UDP);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await until(/NXT_PACKET_IN2.*cookie=0x77.*total_len=106 reg1=0x5,in_port=1 \(via action\) data_len=106/);
    assert.match(text, /userdata=01\.02/);
    monitor.kill();
    await once(monitor, 'exit');
  });

  it('answers what it cannot do with the right error, and goes on', async () => {
    const p = await peer(4);
    const errorOf = async (bytes: Uint8Array) => {
      p.socket.write(bytes);
      return (await p.next('error')).error.name;
    };
    assert.equal(await errorOf(Uint8Array.of(4, 200, 0, 8, 0, 0, 0, 1)), 'OFPBRC_BAD_TYPE');
    assert.equal(await errorOf(Uint8Array.of(1, 5, 0, 8, 0, 0, 0, 1)), 'OFPBRC_BAD_VERSION');
    assert.equal(await errorOf(Uint8Array.of(4, 14, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0)), 'OFPBRC_BAD_LEN');
    assert.equal(await errorOf(Uint8Array.of(4, 18, 0, 16, 0, 0, 0, 1, 0, 99, 0, 0, 0, 0, 0, 0)), 'OFPBRC_BAD_STAT');
    p.send({ type: 'queue_stats_request', portNo: 99 as never, queueId: 0xffffffff });
    assert.equal((await p.next('error')).error.name, 'OFPQOFC_BAD_PORT');
    p.send({ type: 'echo_request', data: Uint8Array.of(1, 2, 3) });
    assert.deepEqual([...(await p.next('echo_reply')).data], [1, 2, 3]);
    p.socket.destroy();
  });

  it('refuses a peer that speaks no common version', async () => {
    br0.setProtocols([4]);
    const socket = connect(mgmt);
    await once(socket, 'connect');
    const p = new Peer(socket, 1);
    assert.equal((await p.next('error')).error.name, 'OFPHFC_INCOMPATIBLE');
    await once(socket, 'close');
  });

  it('arbitrates controllers by role and generation', async () => {
    const [a, b] = [await peer(4), await peer(4)];
    a.send({ type: 'role_request', role: 'primary', generationId: 5n });
    assert.equal((await a.next('role_reply')).role, 'primary');
    b.send({ type: 'role_request', role: 'primary', generationId: 4n });
    assert.equal((await b.next('error')).error.name, 'OFPRRFC_STALE');
    b.send({ type: 'role_request', role: 'primary', generationId: 6n });
    assert.equal((await b.next('role_reply')).role, 'primary');
    a.send({ type: 'table_mod', tableId: 0, miss: 'drop' });
    assert.equal((await a.next('error')).error.name, 'OFPBRC_IS_SECONDARY');
    for (const p of [a, b]) p.socket.destroy();
  });

  it('asks a controller about table misses, tells it of ports and removed flows', async (t) => {
    br0.setFailMode('secure');
    const c = await controller(t, 1);
    assert.equal(br0.flowTables.flowCount, 0);
    rig.receive('p1', UDP);
    const pin = await c.next('packet_in');
    assert.deepEqual([pin.metadata.flow.inPort, pin.totalLen, pin.packet.length], [1, 106, 106]);
    await rig.port(br0, 'p9');
    assert.equal((await c.next('port_status')).port.name, 'p9');
    rig.flow(br0, 'send_flow_rem,idle_timeout=3,in_port=2 actions=output:1');
    rig.receive('p2', UDP);
    rig.clock.warp(4_000);
    const removed = await c.next('flow_removed');
    assert.deepEqual([removed.reason, removed.packetCount], ['idle_timeout', 1n]);
    assert.equal(br0.controllerStatus()[0].isConnected, true);
  });

  it('speaks TLS to a controller, and to no other than the one it trusts', async (t) => {
    if (!requirePeer(t, 'openssl')) return;
    const [own, other] = [await selfSigned('own'), await selfSigned('other')];
    const server = createTlsServer({ ...own, requestCert: true, ca: own.cert, rejectUnauthorized: true });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const target = `ssl:127.0.0.1:${port}`;
    const config = { target, type: 'primary', maxBackoffMs: 1000, inactivityProbeMs: 0 } as const;
    const status = () => br0.controllerStatus()[0].status;

    rig.backend.setTls({ privateKey: own.key, certificate: own.cert, caCert: other.cert });
    br0.setControllers([config]);
    while (!status().has('last_error')) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(status().get('state'), 'BACKOFF');

    rig.backend.setTls({ privateKey: own.key, certificate: own.cert, caCert: own.cert });
    const accepted = once(server, 'secureConnection');
    rig.clock.warp(10_000);
    const [socket] = (await accepted) as [Socket];
    t.after(() => socket.destroy());
    const p = new Peer(socket, 4);
    await p.next('hello');
    await p.barrier();
    assert.equal(br0.controllerStatus()[0].isConnected, true);
  });

  it('probes a silent controller and comes back to it after a lost connection', async (t) => {
    const c = await controller(t, 4);
    rig.clock.warp(6_000);
    await c.next('echo_request');
    rig.clock.warp(11_000);
    await once(c.socket, 'close');
    assert.equal(br0.controllerStatus()[0].isConnected, false);
    assert.equal(br0.controllerStatus()[0].status.get('state'), 'BACKOFF');
  });

  it('lets ovs-ofctl snoop on a controller', async (t) => {
    if (!needOfctl(t)) return;
    const c = await controller(t, 1);
    const snoop = spawn('ovs-ofctl', ['snoop', join(rig.rundir, 'br0.snoop')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, OVS_RUNDIR: rig.rundir },
    });
    let text = '';
    for (const s of [snoop.stdout, snoop.stderr]) s.on('data', (d: Buffer) => (text += d.toString()));
    while (!/OFPT_BARRIER_REQUEST/.test(text)) {
      await c.barrier();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    snoop.kill();
    await once(snoop, 'exit');
  });

  it('drops packet-ins for a controller that does not read, and counts them', async (t) => {
    br0.setFailMode('secure');
    const c = await controller(t, 1);
    c.socket.pause();
    const big = UDP.replace('udp(', 'udp(');
    for (let i = 0; i < 20_000 && br0.connmgr.droppedPacketIns === 0; i++) {
      for (let k = 0; k < 50; k++) rig.receive('p1', big);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(br0.connmgr.droppedPacketIns > 0);
    c.socket.resume();
    c.heard.length = 0;
    await c.barrier();
  });

  it('switches by itself when a standalone bridge has lost its controller for long', async (t) => {
    const c = await controller(t, 4);
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), {});
    br0.setControllers([{ target: 'tcp:127.0.0.1:1', type: 'primary', maxBackoffMs: 1000, inactivityProbeMs: 5000 }]);
    c.socket.destroy();
    rig.clock.warp(30_000);
    rig.backend.udpif.revalidateAll();
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { br0: 1, p2: 1, p3: 1 });
    assert.equal(br0.flowTables.flowCount, 0);
  });
});
