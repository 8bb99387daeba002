import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fields } from './json.ts';
import { type CniResult, formatResult, parseResult } from './result.ts';
import { CNI_VERSIONS, commonVersion } from './versions.ts';

const RESULT: CniResult = {
  interfaces: [
    { name: 'v_l', mac: '02:00:00:00:00:01', mtu: 1400, sandbox: undefined, socketPath: undefined, pciID: undefined },
    { name: 'eth0', mac: undefined, mtu: 1400, sandbox: '/run/netns/a', socketPath: '/run/s', pciID: undefined },
  ],
  ips: [
    { address: '10.0.0.1/24', gateway: '10.0.0.254', interface: 1 },
    { address: 'fd00::1/64', gateway: undefined, interface: undefined },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: undefined, mtu: 1300, advmss: 1, priority: 2, table: 3, scope: 253 }],
  dns: { nameservers: ['10.0.0.53'] },
};

const throughJson = (json: object) => parseResult(new Fields(JSON.parse(JSON.stringify(json))));

test('a result of 1.1.0 comes back as it was', () => {
  assert.deepEqual(throughJson(formatResult(RESULT, '1.1.0')), RESULT);
});

test('older versions have what they know', () => {
  const old = JSON.parse(JSON.stringify(formatResult(RESULT, '0.4.0')));
  assert.deepEqual(old, {
    cniVersion: '0.4.0',
    interfaces: [
      { name: 'v_l', mac: '02:00:00:00:00:01' },
      { name: 'eth0', sandbox: '/run/netns/a' },
    ],
    ips: [
      { version: '4', address: '10.0.0.1/24', gateway: '10.0.0.254', interface: 1 },
      { version: '6', address: 'fd00::1/64' },
    ],
    routes: [{ dst: '0.0.0.0/0' }],
    dns: { nameservers: ['10.0.0.53'] },
  });
  const v1 = JSON.parse(JSON.stringify(formatResult(RESULT, '1.0.0')));
  assert.deepEqual(v1.ips[1], { address: 'fd00::1/64' });
  assert.deepEqual(v1.routes, [{ dst: '0.0.0.0/0' }]);
});

test('property: what a version keeps survives a round trip through it', () => {
  const result = fc.record({
    interfaces: fc.constant(RESULT.interfaces),
    ips: fc.array(fc.constantFrom(...RESULT.ips)),
    routes: fc.array(fc.constantFrom(...RESULT.routes)),
    dns: fc.constant(RESULT.dns),
  });
  fc.assert(
    fc.property(result, fc.constantFrom(...CNI_VERSIONS), (one, version) => {
      const once = throughJson(formatResult(one, version));
      assert.deepEqual(throughJson(formatResult(once, version)), once);
      assert.deepEqual(once.ips, one.ips);
    }),
  );
});

test('the newest version that both speak', () => {
  assert.equal(commonVersion('1.1.0', ['0.1.0', '0.4.0', '1.0.0']), '1.0.0');
  assert.equal(commonVersion('0.3.1', ['0.4.0', '1.0.0']), undefined);
  assert.equal(commonVersion('1.1.0', ['9.0.0', 7]), undefined);
});
