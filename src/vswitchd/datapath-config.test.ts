import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { vlog } from '../base/vlog.ts';
import { defaultBridgeMac, formatMac, parseDatapathId, parseMac, pickBridgeMac } from './address.ts';
import { readConfig } from './config.ts';
import { datapathConfig, parseCpuMask, parseRxqAffinity, vhostSockDir } from './datapath-config.ts';
import { fakeSnapshot, oneBridge } from './fake-config.ts';

vlog.setLevels('console:off');

test('core masks are hexadecimal, with or without 0x', () => {
  assert.deepEqual(parseCpuMask('0x6'), [1, 2]);
  assert.deepEqual(parseCpuMask('80000000000000001'), [0, 67]);
  assert.deepEqual(parseCpuMask(undefined), []);
  assert.deepEqual(parseCpuMask('no mask'), []);
});

test('affinity of rx queues', () => {
  assert.deepEqual(
    [...parseRxqAffinity('0:1,1:3')!],
    [
      [0, 1],
      [1, 3],
    ],
  );
  assert.equal(parseRxqAffinity('0-1'), undefined);
});

test('other_config of the switch and of its interfaces', () => {
  const tables = oneBridge({ p1: { type: 'dummy', other_config: new Map([['pmd-rxq-affinity', '0:1']]) } });
  tables.Open_vSwitch!.root!.other_config = new Map([
    ['pmd-cpu-mask', '3'],
    ['emc-insert-inv-prob', '0'],
    ['smc-enable', 'true'],
  ]);
  const { otherConfig, portConfig, ...settings } = datapathConfig(readConfig(fakeSnapshot(tables)));
  assert.equal(otherConfig?.get('smc-enable'), 'true');
  assert.deepEqual([...portConfig!.keys()], ['p1']);
  assert.deepEqual(settings, {
    pmdCpus: [0, 1],
    emcInsertInvProb: 0,
    smcEnable: true,
    rxqAffinity: new Map([['p1', new Map([[0, 1]])]]),
  });
  const defaults = datapathConfig(readConfig(fakeSnapshot(oneBridge({}))));
  assert.deepEqual([defaults.emcInsertInvProb, defaults.smcEnable, defaults.pmdCpus], [100, false, []]);
});

test('vhost-sock-dir stays below the rundir', () => {
  const rundir = mkdtempSync(join(tmpdir(), 'turnout-sock-'));
  mkdirSync(join(rundir, 'sub'));
  const dir = (value: string) => vhostSockDir(new Map([['vhost-sock-dir', value]]), rundir);
  assert.equal(vhostSockDir(new Map(), rundir), rundir);
  assert.equal(dir('sub'), `${rundir}/sub`);
  assert.equal(dir('../..'), rundir);
});

test("a bridge's own address is Open vSwitch's for the same row", () => {
  // Both were read off a real ovs-vswitchd 3.1.
  assert.equal(formatMac(defaultBridgeMac('775f236e-8449-4db5-9790-cdecea11131c')), '6e:23:5f:77:b5:4d');
});

test('the lowest global address of the ports stands for the bridge', () => {
  const own = parseMac('02:00:00:00:00:01')!;
  const pick = (...macs: string[]) =>
    formatMac(
      pickBridgeMac(
        macs.map((m) => parseMac(m)!),
        own,
      ),
    );
  assert.equal(pick(), '02:00:00:00:00:01');
  assert.equal(pick('06:00:00:00:00:02', '01:00:5e:00:00:01', '00:00:00:00:00:00'), '02:00:00:00:00:01');
  assert.equal(pick('00:50:00:00:00:02', '00:40:00:00:00:09'), '00:40:00:00:00:09');
});

test('addresses and datapath IDs that are none', () => {
  assert.equal(parseMac('00:11:22:33:44'), undefined);
  assert.equal(parseMac('00:11:22:33:44:5g'), undefined);
  assert.equal(parseDatapathId('00000000000000ff'), 255n);
  assert.equal(parseDatapathId('0xff'), 255n);
  assert.equal(parseDatapathId('ff'), undefined);
  assert.equal(parseDatapathId('0000000000000000'), undefined);
});
