import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { OfprotoRig } from '../support/ofproto-rig.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { RealOvs } from './support/ovs-dummy.ts';

/** The same ovs-ofctl commands on Turnout and on the real switch: the same answers, errors included. */

const run = promisify(execFile);

const V13 = ['-O', 'OpenFlow13'];
const V14 = ['-O', 'OpenFlow14'];

/** `BR` stands for the bridge. */
const COMMANDS: readonly (readonly string[])[] = [
  ['dump-flows', 'BR'],
  ['add-flow', 'BR', 'cookie=0x1,priority=5,in_port=1,idle_timeout=60 actions=output:2'],
  ['add-flow', 'BR', 'cookie=0x2,table=3,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=mod_nw_tos:40,resubmit(,4),output:3'],
  ['add-flow', 'BR', 'cookie=0x13,table=3,priority=7,dl_vlan=10,dl_vlan_pcp=3 actions=strip_vlan,LOCAL'],
  ['dump-flows', 'BR'],
  ['dump-flows', 'BR', 'table=3'],
  ['dump-flows', 'BR', 'cookie=0x3/0x3'],
  ['dump-flows', 'BR', 'out_port=3'],
  ['dump-aggregate', 'BR', 'table=3'],
  ['mod-flows', 'BR', 'cookie=0x2/-1,actions=drop'],
  ['mod-flows', '--strict', 'BR', 'priority=5,in_port=1 actions=output:4'],
  ['mod-flows', 'BR', 'in_port=9 actions=output:1'],
  ['dump-flows', 'BR'],
  ['del-flows', '--strict', 'BR', 'priority=6,in_port=1'],
  ['del-flows', 'BR', 'in_port=9'],
  ['dump-flows', 'BR'],
  ['add-flow', 'BR', 'check_overlap,priority=5,udp actions=output:1'],
  ['add-flow', 'BR', 'table=254,actions=output:1'],
  ['add-flow', 'BR', 'table=3,actions=goto_table:2'],
  [...V13, 'add-flow', 'BR', 'table=1,ip actions=write_metadata:0x5,goto_table:9'],
  [...V13, 'add-flow', 'BR', 'table=2,actions=write_actions(output:1,push_vlan:0x8100),clear_actions'],
  [...V13, 'dump-flows', 'BR'],
  [...V14, 'add-flow', 'BR', 'importance=7,send_flow_rem,no_packet_counts,in_port=4 actions=output:1'],
  [...V14, 'dump-flows', 'BR', 'in_port=4'],
  [...V13, 'dump-groups', 'BR'],
  [...V13, 'dump-group-stats', 'BR'],
  [...V13, 'dump-meters', 'BR'],
  [...V13, 'meter-stats', 'BR'],
  ['mod-port', 'BR', '2', 'no-flood'],
  ['mod-port', 'BR', '77', 'no-flood'],
  ['mod-port', 'BR', 'p3', 'down'],
  ['dump-ports', 'BR', '77'],
  ['get-frags', 'BR'],
  ['set-frags', 'BR', 'drop'],
  ['get-frags', 'BR'],
  ['set-frags', 'BR', 'normal'],
  ['queue-stats', 'BR', '1', '5'],
  ['queue-stats', 'BR', '77'],
  ['dump-desc', 'BR'],
  ['packet-out', 'BR', '1', 'output:77', '00000000000100000000000208004500'],
  ['replace-flows', 'BR', '-'],
  [...V13, 'dump-flows', 'BR'],
  ['del-flows', 'BR'],
  ['dump-flows', 'BR'],
];

/** Times, transaction ids and paths differ; flows come in any order. */
function normalize(text: string, bridge: string): string {
  return text
    .replaceAll(bridge, 'BR')
    .replace(/duration=[0-9.]+s/g, 'duration=T')
    .replace(/xid=0x[0-9a-f]+/g, 'xid=X')
    .replace(/, (idle|hard)_age=\d+/g, '')
    .replace(/^\d{4}-\d\d-\d\dT[^|]*\|/gm, '')
    .split('\n')
    .sort()
    .join('\n');
}

it('ovs-ofctl hears the same from both switches', { timeout: 120_000 }, async (t) => {
  if (!requirePeer(t, 'root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovsdb-tool')) return;
  const real = new RealOvs();
  defer(t, () => real.stop());
  await real.start();
  const add = [1, 2, 3, 4].flatMap((i) => [
    '--',
    'add-port',
    'br0',
    `p${i}`,
    '--',
    'set',
    'interface',
    `p${i}`,
    'type=dummy',
    `ofport_request=${i}`,
  ]);
  real.vsctl('add-br', 'br0', ...['--', 'set', 'bridge', 'br0', 'datapath_type=dummy'], ...add);
  const rig = new OfprotoRig();
  defer(t, () => rig.close());
  const br0 = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4'], true);
  await br0.listenServices();

  const ask = async (bridge: string, command: readonly string[]): Promise<string> => {
    const args = command.map((word) => (word === 'BR' ? bridge : word));
    const child = run('ovs-ofctl', args);
    child.child.stdin?.end();
    const { stdout, stderr } = await child.catch((e) => e as { stdout: string; stderr: string });
    return normalize(stdout + stderr, bridge);
  };
  for (const command of COMMANDS) {
    const theirs = await ask(join(real.rundir, 'br0.mgmt'), command);
    const ours = await ask(join(rig.rundir, 'br0.mgmt'), command);
    assert.equal(ours, theirs, command.join(' '));
  }
});
