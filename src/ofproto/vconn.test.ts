import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import type { ControllerConfig } from './config.ts';
import { OfStream } from './of-stream.ts';
import { connectTarget, listenTarget, parseTarget } from './vconn.ts';

describe('targets of connections', () => {
  const cases: [string, object | undefined][] = [
    ['tcp:10.0.0.1', { passive: false, kind: 'tcp', host: '10.0.0.1', port: 6653, path: '' }],
    ['tcp:10.0.0.1:6633', { passive: false, kind: 'tcp', host: '10.0.0.1', port: 6633, path: '' }],
    ['ssl:[::1]:7', { passive: false, kind: 'ssl', host: '::1', port: 7, path: '' }],
    ['unix:/a/b:c', { passive: false, kind: 'unix', host: '', port: 0, path: '/a/b:c' }],
    ['ptcp:', { passive: true, kind: 'tcp', host: '', port: 6653, path: '' }],
    ['ptcp:6633:127.0.0.1', { passive: true, kind: 'tcp', host: '127.0.0.1', port: 6633, path: '' }],
    ['punix:br0.mgmt', { passive: true, kind: 'unix', host: '', port: 0, path: 'br0.mgmt' }],
    ['tcp:', undefined],
    ['tcp:host:70000', undefined],
    ['udp:1.2.3.4', undefined],
    ['unix:', undefined],
  ];
  for (const [text, target] of cases) it(text, () => assert.deepEqual(parseTarget(text), target));

  it('does not listen in the clear where TLS was asked for', async () => {
    await assert.rejects(listenTarget(parseTarget('pssl:0:127.0.0.1')!, undefined, () => undefined));
  });
});

describe('connections that can not even be tried', () => {
  const failure = (target: string) =>
    new Promise<string>((resolve) => {
      const junk = { privateKey: 'junk', certificate: 'junk', caCert: 'junk' };
      connectTarget(parseTarget(target)!, junk, (_socket, error) => resolve(error));
    });
  it('fail like others when the key is none', async () => assert.equal(await failure('ssl:127.0.0.1:1'), 'EINVAL'));
  it('fail like others when the host is no name', async () => assert.equal(await failure('tcp:a\0b:1'), 'EINVAL'));
});

/** As much of a socket as a stream uses. */
class FakeSocket extends EventEmitter {
  writableLength = 0;
  readonly written: Uint8Array[] = [];
  paused = false;
  write(m: Uint8Array): void {
    this.written.push(m);
    this.writableLength += m.length;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {}
  destroySoon(): void {}
}

describe('listening for a controller', () => {
  it('ends with the controller, also when it was taken away before it began', async (t) => {
    const rig = new OfprotoRig();
    t.after(() => rig.close());
    const { connmgr } = await rig.bridge('br0');
    const path = `${rig.rundir}/controller`;
    const config = { target: `punix:${path}`, type: 'service', inactivityProbeMs: 0, maxBackoffMs: 0, inBand: false };
    connmgr.setControllers([config as unknown as ControllerConfig]);
    connmgr.setControllers([]);
    await setTimeout(50);
    assert.equal(existsSync(path), false);
  });
});

describe('OfStream', () => {
  const make = () => {
    const socket = new FakeSocket();
    const heard: string[] = [];
    const closed: string[] = [];
    const stream = new OfStream(socket as unknown as Socket, {
      message: (m) => heard.push(Buffer.from(m).toString('hex')),
      closed: (reason) => closed.push(reason),
    });
    return { socket, heard, closed, stream };
  };

  it('frames messages however they are cut', () => {
    const message = fc.nat(40).map((n) => Uint8Array.from([4, 0, 0, 8 + n, ...new Array<number>(4 + n).fill(n)]));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 30 })), (messages, cuts) => {
        const { socket, heard } = make();
        let rest = Buffer.concat(messages);
        for (const n of cuts) {
          if (rest.length) socket.emit('data', rest.subarray(0, n));
          rest = rest.subarray(n);
        }
        if (rest.length) socket.emit('data', rest);
        assert.deepEqual(
          heard,
          messages.map((m) => Buffer.from(m).toString('hex')),
        );
      }),
    );
  });

  it('closes on a length that can not be', () => {
    const { socket, heard, closed } = make();
    socket.emit('data', Uint8Array.of(4, 0, 0, 8, 0, 0, 0, 1, 4, 0, 0, 7, 0, 0, 0, 2));
    assert.equal(heard.length, 1);
    assert.deepEqual(closed, ['EPROTO']);
  });

  it('lets a peer that does not read wait, and drops what it did not ask for', () => {
    const { socket, stream } = make();
    assert.equal(stream.sendAsync([new Uint8Array(300_000)]), true);
    assert.equal(stream.sendAsync([new Uint8Array(8)]), false);
    assert.equal(stream.dropped, 1);
    assert.equal(socket.paused, false);
    stream.send([new Uint8Array(2_000_000)]);
    assert.equal(socket.paused, true);
    socket.writableLength = 0;
    socket.emit('drain');
    assert.equal(socket.paused, false);
    assert.equal(stream.sendAsync([new Uint8Array(8)]), true);
  });

  it('tells once that it is closed', () => {
    const { socket, closed } = make();
    socket.emit('error', Object.assign(new Error('x'), { code: 'ECONNRESET' }));
    socket.emit('close');
    assert.deepEqual(closed, ['ECONNRESET']);
  });
});
