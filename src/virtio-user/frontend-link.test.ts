import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { VHOST_USER_HDR_SIZE, VHOST_USER_NEED_REPLY, VIRTIO_F } from '../../protocols/vhost-user.ts';
import { eventfd } from '../sys/eventfd.ts';
import { close } from '../sys/fd.ts';
import { fstat } from '../sys/memory.ts';
import { accept4, recvmsg, sendmsg, unixConnect, unixListen } from '../sys/socket.ts';
import { encodeReply, fdsError, headerError, readHeader, readPayload, requestName } from '../wire/vhost-user.ts';
import { Driver } from './driver.ts';
import { FrontendLink, type LinkHooks } from './frontend-link.ts';

const bit = (n: number) => 1n << BigInt(n);

/** The switch's side of one connection: checks what it reads with the switch's own rules, and answers. */
class FakeSwitch {
  fd: number;
  readonly requests: string[] = [];
  features = bit(VIRTIO_F.VERSION_1) | bit(VIRTIO_F.NET_MRG_RXBUF) | bit(VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES);
  protocolFeatures = bit(0) | bit(3);
  /** Requests that get the verdict 1. */
  refuse = new Set<string>();
  /** Requests after which it says nothing any more. */
  silentAfter = '';
  memorySize = 0n;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Handles all that has come. */
  pump(): void {
    for (;;) {
      const header = new Uint8Array(VHOST_USER_HDR_SIZE);
      const { size, fds } = recvmsg(this.fd, header);
      if (size <= 0) return;
      this.#handle(new DataView(header.buffer), fds);
      for (const fd of fds) close(fd);
    }
  }

  #handle(header: DataView, fds: number[]): void {
    const head = readHeader(header);
    assert.equal(headerError(head), undefined);
    const payload = new Uint8Array(head.size);
    if (head.size > 0) assert.equal(recvmsg(this.fd, payload).size, head.size);
    const name = requestName(head.request)!;
    const view = new DataView(payload.buffer);
    assert.equal(fdsError(name, view, fds.length), undefined);
    if (name === 'SET_MEM_TABLE') this.memorySize = fstat(fds[0]!).size;
    this.requests.push(
      name.startsWith('SET_VRING') ? `${name} ${Number(readPayload(view, 'vringState').index) & 0xff}` : name,
    );
    if (this.silentAfter !== name) this.#answer(name, head.request, (head.flags & VHOST_USER_NEED_REPLY) !== 0);
    else this.answering = false;
  }

  answering = true;

  #answer(name: string, id: number, needReply: boolean): void {
    const values: Record<string, bigint> = {
      GET_FEATURES: this.features,
      GET_PROTOCOL_FEATURES: this.protocolFeatures,
      GET_QUEUE_NUM: 1n,
    };
    const value = values[name] ?? (needReply ? (this.refuse.has(name) ? 1n : 0n) : undefined);
    if (value !== undefined && this.answering) sendmsg(this.fd, [encodeReply(id, 'u64', { value })]);
  }
}

/** A link over a driver of one port; `events` is what its hooks saw. */
function makeLink(t: TestContext, server: boolean) {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-link-'));
  const path = join(dir, 's');
  const driver = new Driver({ ports: [{ rxd: 64, txd: 64 }] });
  const fds = Array.from({ length: 4 }, () => eventfd());
  const place = driver.mem.layout.ports[0]!;
  const events: string[] = [];
  const hooks: LinkHooks = {
    prepare: () => driver.kernel.portStart(0),
    up: () => events.push('up'),
    down: (reason) => {
      driver.kernel.portStop(0);
      events.push(`down: ${reason}`);
    },
  };
  const setup = {
    layout: driver.mem.layout,
    memoryFd: driver.mem.fd,
    rings: [
      { place: place.rx, kickFd: fds[0]!, callFd: fds[1]! },
      { place: place.tx, kickFd: fds[2]!, callFd: fds[3]! },
    ] as const,
  };
  const link = new FrontendLink({ name: 'net_virtio_user0', path, server }, setup, hooks);
  t.after(() => {
    link.close();
    for (const fd of fds) close(fd);
    driver.close();
    rmSync(dir, { recursive: true });
  });
  return { link, path, events, driver };
}

/** Lets both sides speak until they have nothing more to say. */
function converse(link: FrontendLink, sw: FakeSwitch, nowMs = 0): void {
  for (let i = 0; i < 40; i++) {
    sw.pump();
    link.run(nowMs, true);
  }
}

function connected(t: TestContext, adjust: (sw: FakeSwitch) => void = () => {}) {
  const made = makeLink(t, false);
  const listener = unixListen(made.path);
  made.link.run(0, false);
  const sw = new FakeSwitch(accept4(listener));
  t.after(() => {
    close(listener);
    if (sw.fd >= 0) close(sw.fd);
  });
  adjust(sw);
  converse(made.link, sw);
  return { ...made, sw, listener };
}

describe('vhost-user front end', () => {
  it('brings both rings up, in an order that the protocol allows', (t) => {
    const { link, sw, events, driver } = connected(t);
    assert.equal(link.state, 'up');
    assert.deepEqual(events, ['up']);
    assert.deepEqual(sw.requests, [
      'SET_OWNER',
      'GET_FEATURES',
      'GET_PROTOCOL_FEATURES',
      'SET_PROTOCOL_FEATURES',
      'GET_QUEUE_NUM',
      'SET_VRING_CALL 0',
      'SET_VRING_CALL 1',
      'SET_FEATURES',
      'SET_MEM_TABLE',
      ...[0, 1].flatMap((i) => ['NUM', 'BASE', 'ADDR', 'KICK'].map((r) => `SET_VRING_${r} ${i}`)),
      'SET_VRING_ENABLE 0',
      'SET_VRING_ENABLE 1',
    ]);
    assert.equal(sw.memorySize, BigInt(driver.mem.layout.sharedSize));
  });

  it('does without protocol features: rings start enabled', (t) => {
    const { link, sw } = connected(t, (s) => {
      s.features &= ~bit(VIRTIO_F.VHOST_USER_PROTOCOL_FEATURES);
    });
    assert.equal(link.state, 'up');
    assert.ok(!sw.requests.some((r) => r.startsWith('SET_VRING_ENABLE') || r.includes('PROTOCOL')));
  });

  it('a switch without VERSION_1 is hung up on, with the reason', (t) => {
    const { events } = connected(t, (s) => {
      s.features = bit(VIRTIO_F.NET_MRG_RXBUF);
    });
    assert.deepEqual(events, ['down: the switch does not offer VIRTIO_F_VERSION_1']);
  });

  it('a refusal of the memory table is the reason', (t) => {
    const { events } = connected(t, (s) => s.refuse.add('SET_MEM_TABLE'));
    assert.deepEqual(events, ['down: the switch refused SET_MEM_TABLE (1)']);
  });

  it('a message that was not asked for ends the connection', (t) => {
    const { link, sw, events } = connected(t);
    sendmsg(sw.fd, [encodeReply(1, 'u64', { value: 0n })]);
    link.run(1, true);
    assert.deepEqual(events, ['up', 'down: unexpected message 1 of 8 bytes from the switch']);
  });

  it('a switch that falls silent is given up after its time', (t) => {
    const { link, events } = connected(t, (s) => {
      s.silentAfter = 'GET_FEATURES';
    });
    link.run(4000, false);
    assert.deepEqual(events, []);
    link.run(5001, false);
    assert.deepEqual(events, ['down: the switch is silent']);
  });

  it('connects again, with fresh rings, when the switch has gone', (t) => {
    const { link, sw, events, listener, driver } = connected(t);
    close(sw.fd);
    link.run(1, true);
    assert.deepEqual(events, ['up', 'down: the switch closed the connection']);
    link.run(100, false);
    assert.equal(link.state, 'waiting', 'not at once');
    link.run(300, false);
    sw.fd = accept4(listener);
    converse(link, sw, 300);
    assert.equal(link.state, 'up');
    const { view, layout } = driver.mem;
    assert.equal(view.getUint16(layout.ports[0]!.rx.avail + 2, true), 64, 'the rx ring is filled anew');
  });

  it('waits for a socket that is not there', (t) => {
    const { link, path } = makeLink(t, false);
    link.run(0, false);
    assert.equal(link.state, 'waiting');
    const listener = unixListen(path);
    t.after(() => close(listener));
    link.run(200, false);
    assert.equal(link.state, 'negotiating');
  });

  it('as a server takes one switch after the other, and removes its socket', (t) => {
    const { link, path, events } = makeLink(t, true);
    close(unixListen(path)); // a socket that nobody listens on any more
    link.run(0, false);
    assert.equal(link.state, 'listening');
    for (const _ of [1, 2]) {
      const sw = new FakeSwitch(unixConnect(path));
      link.run(1, true);
      converse(link, sw);
      assert.equal(link.state, 'up');
      close(sw.fd);
      link.run(2, true);
      link.run(3, false);
    }
    assert.deepEqual(events.filter((e) => e === 'up').length, 2);
    link.close();
    assert.ok(!existsSync(path));
  });

  it('does not take a socket away from one who listens', (t) => {
    const { link, path } = makeLink(t, true);
    const listener = unixListen(path);
    t.after(() => close(listener));
    assert.throws(() => link.run(0, false), /EADDRINUSE/);
  });
});
