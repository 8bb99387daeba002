import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import type { Dpif } from '../dpif/dpif.ts';
import {
  type MeterMod,
  MF_KBPS,
  MF_PKTPS,
  OFPM_ALL,
  OFPM_CONTROLLER,
  OFPM_SLOWPATH,
} from '../openflow/messages-meter.ts';
import type { Bridge } from './bridge.ts';
import { MeterIds } from './meters.ts';
import { Policing } from './policing.ts';

describe('meters', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2']);
    br0.setFailMode('secure');
  });
  afterEach(() => rig.close());

  const mod = (bridge: Bridge, command: MeterMod['command'], meterId: number, more: Partial<MeterMod> = {}) =>
    bridge.openflow.meters.mod(
      {
        type: 'meter_mod',
        command,
        meterId,
        flags: MF_KBPS,
        bands: [{ type: 'drop', rate: 10, burstSize: 0, precLevel: 0 }],
        ...more,
      },
      bridge.flowTables,
    );

  it('are added once, changed when they are there, and deleted without complaint', () => {
    assert.equal(mod(br0, 'modify', 1), 'OFPMMFC_UNKNOWN_METER');
    assert.equal(mod(br0, 'add', 1), undefined);
    assert.equal(mod(br0, 'add', 1), 'OFPMMFC_METER_EXISTS');
    assert.equal(mod(br0, 'modify', 1, { flags: MF_PKTPS }), undefined);
    assert.equal(br0.openflow.meters.get(1)?.config.flags, MF_PKTPS);
    assert.deepEqual([mod(br0, 'delete', 1), mod(br0, 'delete', 1)], [undefined, undefined]);
    assert.equal(br0.openflow.meters.get(1), undefined);
  });

  it('have numbers from 1 on, and the names of what the switch itself meters', () => {
    assert.equal(mod(br0, 'add', 0), 'OFPMMFC_INVALID_METER');
    assert.equal(mod(br0, 'add', OFPM_ALL), 'OFPMMFC_INVALID_METER');
    assert.equal(mod(br0, 'add', OFPM_SLOWPATH), undefined);
    assert.equal(mod(br0, 'add', OFPM_CONTROLLER), undefined);
    assert.notEqual(br0.slowpathMeter, br0.controllerMeter);
    mod(br0, 'delete', OFPM_SLOWPATH);
    assert.equal(br0.slowpathMeter, undefined);
  });

  it('refuse what the datapath can not do, and lose no number by it', () => {
    const remark = { bands: [{ type: 'dscp_remark' as const, rate: 1, burstSize: 0, precLevel: 1 }] };
    assert.equal(mod(br0, 'add', 1, remark), 'OFPMMFC_BAD_BAND');
    const rate = (n: number) => ({ bands: [{ type: 'drop' as const, rate: n, burstSize: 0, precLevel: 0 }] });
    assert.equal(mod(br0, 'add', 1, rate(0)), 'OFPMMFC_BAD_RATE');
    assert.equal(mod(br0, 'add', 1, { flags: 0 }), 'OFPMMFC_BAD_FLAGS');
    assert.equal(mod(br0, 'add', 1, { flags: MF_KBPS | 0x100 }), 'OFPMMFC_BAD_FLAGS');
    assert.equal(mod(br0, 'add', 1, { bands: [] }), 'OFPMMFC_OUT_OF_BANDS');
    const many = Array.from({ length: 1000 }, () => ({ type: 'drop' as const, rate: 1, burstSize: 0, precLevel: 0 }));
    assert.equal(mod(br0, 'add', 1, { bands: many }), 'OFPMMFC_OUT_OF_BANDS');
    mod(br0, 'add', 1);
    assert.equal(br0.meterProviderId(1), 0);
  });

  it('of different bridges have different numbers in the datapath', async () => {
    const br1 = await rig.bridge('br1');
    mod(br0, 'add', 1);
    mod(br1, 'add', 1);
    assert.deepEqual([br0.meterProviderId(1), br1.meterProviderId(1)], [0, 1]);
    mod(br0, 'delete', 1);
    mod(br1, 'add', 2);
    assert.equal(br1.meterProviderId(2), 0);
  });

  it('must be there before a flow names them, and take their flows along', () => {
    assert.equal(rig.flow(br0, 'actions=meter:1,output:1'), 'OFPMMFC_INVALID_METER');
    mod(br0, 'add', 1);
    assert.equal(rig.flow(br0, 'priority=1 actions=meter:1,output:1'), undefined);
    rig.flow(br0, 'priority=2 actions=output:1');
    const meter = br0.openflow.meters.get(1)!;
    assert.equal(br0.openflow.meters.stats(meter).flowCount, 1);
    mod(br0, 'delete', OFPM_ALL);
    assert.equal(br0.flowTables.flowCount, 1);
  });
});

describe('ingress policing', () => {
  it('holds no meter where there are too few for all its limits', () => {
    const held = new Set<number>();
    const dpif = {
      meterFeatures: () => ({ maxMeters: 3, maxBands: 1 }),
      meterSet: (id: number) => !!held.add(id),
      meterDel: (id: number) => void held.delete(id),
    } as unknown as Dpif;
    const ids = new MeterIds(dpif);
    const policing = new Policing(dpif, ids);
    const [a, b] = [{}, {}];
    const both = { kbps: 1, kbits: 1, kpps: 1, kpkts: 1 };
    assert.equal(policing.set(a, both), true);
    assert.equal(policing.set(b, both), 'full');
    assert.deepEqual([...held], [0, 1]);
    assert.equal(ids.allocate(), 2);
    assert.equal(ids.allocate(), undefined);
    ids.free(0);
    assert.equal(ids.allocate(), 0);
  });
});
