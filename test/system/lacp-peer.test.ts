import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BundleConfig } from '../../src/ofproto/config.ts';
import { OfprotoRig } from '../support/ofproto-rig.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { RealOvs } from './support/ovs-dummy.ts';

/** A bond of two links between Turnout and the real Open vSwitch: LACP finds the partner, and packets cross once, whichever link they take. */

const TCP = (dst: number) =>
  'eth(src=50:54:00:00:00:05,dst=50:54:00:00:01:00),eth_type(0x0800),' +
  `ipv4(src=10.0.0.2,dst=10.0.0.1,proto=6,tos=0,ttl=64,frag=no),tcp(src=8,dst=${dst})`;
const N_FLOWS = 40;

test('LACP with the real switch, balance-tcp on both ends', async (t) => {
  if (!requirePeer(t, 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-appctl')) return;
  const real = new RealOvs();
  defer(t, () => real.stop());
  await real.start();
  const link = (name: string) => join(real.rundir, `${name}.sock`);
  real.vsctl(
    ...['add-br', 'br0', '--', 'add-port', 'br0', 'h', '--', 'add-bond', 'br0', 'bond0', 'p1', 'p2'],
    ...['bond_mode=balance-tcp', 'lacp=active', 'other-config:lacp-time=fast'],
    ...['p1', 'p2'].flatMap((p) => ['--', 'set', 'interface', p, `options:pstream=punix:${link(p)}`]),
  );
  real.appctl('netdev-dummy/set-admin-state', 'up');

  const rig = new OfprotoRig();
  defer(t, () => rig.close());
  const bridge = await rig.bridge('ours', ['p3', 'p4', 'k']);
  const ports = ['p3', 'p4'].map((name) => bridge.portByName(name)!);
  ports.forEach((port, i) => {
    port.netdev.setOptions(new Map([['stream', `unix:${link(`p${i + 1}`)}`]]));
  });
  const config = (hashBasis: number): BundleConfig => ({
    ports: ports.map((p) => p.ofpPort),
    vlanMode: 'trunk',
    bond: {
      mode: 'balance-tcp',
      updelayMs: 0,
      downdelayMs: 0,
      rebalanceIntervalMs: 0,
      hashBasis,
      primary: undefined,
      lacpFallbackAb: false,
      allMembersActive: false,
      lbOutput: false,
    },
    lacp: {
      sysId: Uint8Array.of(2, 0, 0, 0, 0, 1),
      sysPriority: 65534,
      active: false,
      fast: true,
      fallbackAb: false,
      members: ports.map(() => ({ portId: 0, priority: 65535, key: 0 })),
    },
  });
  bridge.bundleSet('bond1', config(0));
  /** Time goes on here as it does for the real switch. */
  const until = async (what: string, done: () => boolean) => {
    for (let i = 0; i < 300 && !done(); i++) {
      await sleep(100);
      rig.clock.warp(100);
    }
    assert.ok(done(), what);
  };
  const enabled = (show: string) => (show.match(/may_enable: true/g) ?? []).length;
  await until('both ends have both links', () => {
    return enabled(real.appctl('lacp/show', 'bond0')) === 2 && enabled(rig.appctl('lacp/show', 'bond1')) === 2;
  });
  assert.match(real.appctl('lacp/show', 'bond0'), /partner sys_id: 02:00:00:00:00:01/);
  const inUse = (show: string) => (show.match(/: enabled$/gm) ?? []).length;
  await until('both bonds use them', () => {
    return inUse(real.appctl('bond/show', 'bond0')) === 2 && inUse(rig.appctl('bond/show', 'bond1')) === 2;
  });

  // The link that came up first has all buckets, and keeps them while they carry next to nothing, as in Open vSwitch (bond.c, bond_entry):
  // with another basis they are given out anew.
  bridge.bundleSet('bond1', config(1));
  for (let i = 0; i < N_FLOWS; i++) rig.receive('k', TCP(i));
  const tx = () => Number(/tx pkts=(\d+)/.exec(real.ofctl('dump-ports', 'br0', 'h'))?.[1]);
  await until('every packet comes out at the other end', () => tx() >= N_FLOWS);
  assert.equal(tx(), N_FLOWS, 'none of them twice');
  const by = (name: string) => rig.sent.get(name)!.filter((hex) => !hex.includes('8809')).length;
  assert.equal(by('p3') + by('p4'), N_FLOWS);
  assert.ok(by('p3') > 0 && by('p4') > 0, 'both links carry some');
});
