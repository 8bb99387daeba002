import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatMapped, parseMapped } from '../base/address.ts';
import { WarpClock } from '../base/clock.ts';
import { OvsRouter, parseNetwork } from './ovs-router.ts';
import { TnlNeighCache } from './tnl-neigh-cache.ts';

const net = (text: string) => parseNetwork(text)!;
const ip = (text: string) => parseMapped(text)!;

describe('routes of tunnels', () => {
  const router = () =>
    new OvsRouter((device) => (device === 'br0' ? [{ address: Uint8Array.of(10, 0, 0, 1), prefix: 24 }] : []));

  it('go by the longest prefix, for each mark apart', () => {
    const r = router();
    assert.ok(r.add(net('0.0.0.0/0'), 'br0', 0, ip('10.0.0.254')));
    assert.ok(r.add(net('192.168.0.77/16'), 'br0', 0, ip('10.0.0.2')));
    assert.ok(r.add(net('192.168.0.0/16'), 'br0', 7, ip('10.0.0.3')));
    const via = (to: string, mark = 0) => r.lookup(ip(to), mark)?.gateway;
    assert.equal(formatMapped(via('192.168.1.1')!), '10.0.0.2');
    assert.equal(formatMapped(via('8.8.8.8')!), '10.0.0.254');
    assert.equal(formatMapped(via('192.168.1.1', 7)!), '10.0.0.3');
    assert.equal(r.lookup(ip('8.8.8.8'), 7), undefined);
    assert.ok(r.delete(net('192.168.0.0/16'), 0));
    assert.equal(formatMapped(via('192.168.1.1')!), '10.0.0.254');
    assert.equal(r.delete(net('192.168.0.0/16'), 0), false);
  });

  it('need an address to send from', () => {
    const r = router();
    assert.equal(r.add(net('1.1.1.0/24'), 'br0', 0), false);
    assert.equal(r.add(net('1.1.1.0/24'), 'br1', 0, ip('10.0.0.2')), false);
    assert.ok(r.add(net('10.0.0.0/24'), 'br0', 0));
    assert.equal(formatMapped(r.lookup(ip('10.0.0.9'), 0)!.source), '10.0.0.1');
  });

  it("of the host come and go with it, after those put in by hand, before which come the host's own addresses", () => {
    const r = router();
    let changes = 0;
    r.onChange(() => changes++);
    const route = (to: string, local = false) => {
      const { address, prefix } = net(to);
      return { network: address, prefix, mark: 0, device: 'br0', gateway: undefined, local };
    };
    const host = [route('10.0.0.0/24'), route('10.0.0.1/32', true), route('172.16.0.0/16')];
    r.setSystem(host);
    r.setSystem(host);
    assert.equal(changes, 1);
    const origin = (to: string) => r.lookup(ip(to), 0)?.origin;
    assert.deepEqual([origin('10.0.0.9'), origin('10.0.0.1'), origin('172.16.0.1')], ['host', 'local', undefined]);
    assert.ok(r.add(net('10.0.0.0/24'), 'br0', 0));
    assert.deepEqual([origin('10.0.0.9'), origin('10.0.0.1')], ['user', 'local']);
    r.setSystem([]);
    assert.deepEqual(
      r.routes().map((one) => one.origin),
      ['user'],
    );
    assert.ok(r.delete(net('10.0.0.0/24'), 0));
  });

  it('are refused where the text is no network', () => {
    for (const text of ['', '1.2.3', '1.2.3.4/33', '::1/129', 'x/8', '1.2.3.4/-1'])
      assert.equal(parseNetwork(text), undefined, text);
  });
});

it('neighbours are known until they are too old', () => {
  const clock = new WarpClock();
  clock.stop();
  const cache = new TnlNeighCache(clock);
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 9);
  cache.set('br0', ip('10.0.0.2'), mac);
  assert.deepEqual(cache.lookup('br0', ip('10.0.0.2')), mac);
  assert.equal(cache.lookup('br1', ip('10.0.0.2')), undefined);
  let changes = 0;
  cache.onChange(() => changes++);
  cache.setAging(10);
  clock.warp(10_000);
  assert.equal(cache.lookup('br0', ip('10.0.0.2')), undefined);
  assert.equal(changes, 1, 'who has sent to it must ask again');
  assert.equal(cache.show().split('\n').length, 3);
});
