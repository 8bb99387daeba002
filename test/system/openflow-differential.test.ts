import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { it, type TestContext } from 'node:test';
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
  ['del-flows', 'BR', 'table=254'],
  ['dump-flows', 'BR', 'table=254'],
  ['dump-aggregate', 'BR', 'table=254'],
  [...V13, 'dump-flows', 'BR', 'table=254,recirc_id=0'],
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

const V15 = ['-O', 'OpenFlow15'];

const GROUP =
  'group_id=1,type=select,selection_method=hash,fields(ip_dst,tcp_dst),bucket=bucket_id:1,weight:2,output:1';

/** Groups and meters, and flows that name them. */
const GROUPS_AND_METERS: readonly (readonly string[])[] = [
  ['del-flows', 'BR'],
  [...V13, 'add-flow', 'BR', 'priority=1 actions=group:1'],
  [...V15, 'add-group', 'BR', `${GROUP},bucket=bucket_id:7,weight:1,mod_nw_tos:40,output:2`],
  [...V15, 'add-group', 'BR', 'group_id=1,type=all'],
  [...V15, 'insert-buckets', 'BR', 'group_id=1,command_bucket_id=1,bucket=bucket_id:5,weight:3,output:3'],
  [...V15, 'insert-buckets', 'BR', 'group_id=1,command_bucket_id=first,bucket=bucket_id:5,weight:3,output:3'],
  [...V15, 'insert-buckets', 'BR', 'group_id=1,command_bucket_id=55,bucket=bucket_id:6,weight:3,output:3'],
  [...V15, 'remove-buckets', 'BR', 'group_id=1,command_bucket_id=last'],
  [...V15, 'remove-buckets', 'BR', 'group_id=1,command_bucket_id=66'],
  [...V15, 'dump-groups', 'BR'],
  [...V15, 'add-group', 'BR', 'group_id=2,type=ff,bucket=watch_port:1,output:1,bucket=watch_group:1,output:2'],
  [...V15, 'add-group', 'BR', 'group_id=3,type=indirect,bucket=output:1'],
  [...V15, 'add-group', 'BR', 'group_id=4,type=indirect,bucket=output:1,bucket=output:2'],
  [...V13, '--may-create', 'mod-group', 'BR', 'group_id=5,type=all,bucket=group:1'],
  [...V13, 'mod-group', 'BR', 'group_id=6,type=all'],
  [...V13, 'add-flow', 'BR', 'priority=1 actions=group:1'],
  [...V13, 'add-flow', 'BR', 'priority=2 actions=write_actions(group:3)'],
  [...V13, 'dump-flows', 'BR', 'out_group=3'],
  [...V13, 'dump-groups', 'BR'],
  [...V13, 'dump-group-stats', 'BR'],
  [...V15, 'dump-group-stats', 'BR', 'group_id=3'],
  [...V13, 'dump-group-features', 'BR'],
  [...V13, 'del-groups', 'BR', 'group_id=3'],
  [...V13, 'dump-flows', 'BR'],
  [...V13, 'add-flow', 'BR', 'priority=3 actions=meter:1,output:1'],
  [...V13, 'add-meter', 'BR', 'meter=1 kbps burst stats bands=type=drop rate=1000 burst_size=200'],
  [...V13, 'add-meter', 'BR', 'meter=1 pktps bands=type=drop rate=5'],
  [...V13, 'add-meter', 'BR', 'meter=2 pktps bands=type=dscp_remark rate=5 prec_level=1'],
  [...V13, 'add-meter', 'BR', 'meter=controller pktps bands=type=drop rate=5'],
  [...V13, 'add-meter', 'BR', 'meter=slowpath pktps bands=type=drop rate=6'],
  [...V13, 'mod-meter', 'BR', 'meter=3 pktps bands=type=drop rate=5'],
  [...V13, 'add-flow', 'BR', 'priority=3 actions=meter:1,output:1'],
  [...V13, 'dump-meters', 'BR'],
  [...V13, 'meter-stats', 'BR', 'meter=1'],
  [...V13, 'meter-stats', 'BR', 'meter=9'],
  [...V13, 'del-meters', 'BR', 'meter=1'],
  [...V13, 'dump-flows', 'BR'],
  [...V13, 'del-meters', 'BR'],
  [...V13, 'del-groups', 'BR'],
  [...V13, 'dump-flows', 'BR'],
];

/** Tables and what is known of them. */
const TABLES: readonly (readonly string[])[] = [
  [...V14, 'mod-table', 'BR', '3', 'evict'],
  [...V14, 'mod-table', 'BR', '3', 'vacancy:20,80'],
  [...V14, 'dump-table-desc', 'BR', '3'],
  [...V13, 'mod-table', 'BR', '4', 'name:four'],
  [...V15, 'mod-table', 'BR', '5', 'name:five'],
  [...V13, 'dump-table-features', 'BR', '4'],
  ['-O', 'OpenFlow11', 'dump-tables', 'BR'],
  [...V15, 'dump-tables', 'BR'],
  ['queue-get-config', 'BR', '1'],
  ['queue-get-config', 'BR', '77'],
  [...V14, 'queue-get-config', 'BR', '1', '3'],
  [...V15, 'dump-ports-desc', 'BR', '77'],
  ['add-tlv-map', 'BR', '{class=0xffff,type=0,len=4}->tun_metadata0'],
  ['add-tlv-map', 'BR', '{class=0xffff,type=0,len=4}->tun_metadata1'],
  ['add-tlv-map', 'BR', '{class=0xffff,type=1,len=124}->tun_metadata1,{class=0xffff,type=2,len=124}->tun_metadata2'],
  ['add-tlv-map', 'BR', '{class=0xffff,type=3,len=8}->tun_metadata3'],
  ['dump-tlv-map', 'BR'],
  ['add-flow', 'BR', 'tun_metadata0=0x12345678 actions=output:1'],
  ['dump-flows', 'BR'],
  ['del-tlv-map', 'BR', '{class=0xffff,type=0,len=4}->tun_metadata0'],
  ['del-flows', 'BR'],
  ['del-tlv-map', 'BR'],
  ['dump-tlv-map', 'BR'],
];

/** Flow-mods that a monitor is told of. */
const WATCHED: readonly (readonly string[])[] = [
  ['add-flow', 'BR', 'priority=1,in_port=1 actions=output:2'],
  ['add-flow', 'BR', 'priority=1,in_port=1 actions=output:3'],
  ['mod-flows', 'BR', 'cookie=7,in_port=1 actions=output:4'],
  ['mod-flows', 'BR', 'in_port=1 actions=output:4'],
  ['add-flow', 'BR', 'table=2,priority=9,tcp,tp_dst=80,idle_timeout=90 actions=drop'],
  ['del-flows', '--strict', 'BR', 'table=2,priority=9,tcp,tp_dst=80'],
  [...V14, '--bundle', 'add-flow', 'BR', 'priority=5,udp actions=resubmit(,2),output:1'],
  ['del-flows', 'BR'],
];

/** Times, transaction ids and paths differ; flows come in any order. */
function normalize(text: string, bridge: string): string {
  return text
    .replaceAll(bridge, 'BR')
    .replace(/duration([:=])[0-9.]+s/g, 'duration$1T')
    .replace(/xid=0x[0-9a-f]+/g, 'xid=X')
    .replace(/, (idle|hard)_age=\d+/g, '')
    .replace(/^\d{4}-\d\d-\d\dT[^|]*\|/gm, '')
    .split('\n')
    .sort()
    .join('\n');
}

interface Pair {
  real: RealOvs;
  rig: OfprotoRig;
}

/** The two switches, each with a bridge of four ports. */
async function startPair(t: TestContext): Promise<Pair | undefined> {
  if (!requirePeer(t, 'root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovsdb-tool')) return undefined;
  const real = new RealOvs();
  defer(t, () => real.stop());
  await real.start();
  const port = (i: number) => ['--', 'add-port', 'br0', `p${i}`, '--', 'set', 'interface', `p${i}`];
  const add = [1, 2, 3, 4].flatMap((i) => [...port(i), 'type=dummy', `ofport_request=${i}`]);
  real.vsctl('add-br', 'br0', ...['--', 'set', 'bridge', 'br0', 'datapath_type=dummy'], ...add);
  const rig = new OfprotoRig();
  defer(t, () => rig.close());
  const br0 = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4'], true);
  await br0.listenServices();
  return { real, rig };
}

async function ask(bridge: string, command: readonly string[]): Promise<string> {
  const args = command.map((word) => (word === 'BR' ? bridge : word));
  const child = run('ovs-ofctl', args);
  child.child.stdin?.end();
  const { stdout, stderr } = await child.catch((e) => e as { stdout: string; stderr: string });
  return normalize(stdout + stderr, bridge);
}

const mgmt = (x: { rundir: string }): string => join(x.rundir, 'br0.mgmt');

async function compare(t: TestContext, commands: readonly (readonly string[])[]): Promise<void> {
  const pair = await startPair(t);
  if (!pair) return;
  for (const command of commands) {
    const theirs = await ask(mgmt(pair.real), command);
    const ours = await ask(mgmt(pair.rig), command);
    assert.equal(ours, theirs, command.join(' '));
  }
}

it('ovs-ofctl hears the same from both switches', { timeout: 120_000 }, (t) => compare(t, COMMANDS));
it('of groups and meters too', { timeout: 120_000 }, (t) => compare(t, GROUPS_AND_METERS));
it('of tables, queues and tunnel options too', { timeout: 120_000 }, (t) => compare(t, TABLES));

/** What `ovs-ofctl monitor` prints while flow-mods are made: in their order, each time the same. */
async function watch(t: TestContext, bridge: string, version: string): Promise<string> {
  await ask(bridge, ['del-flows', 'BR']);
  await ask(bridge, ['add-flow', 'BR', 'in_port=3 actions=drop']);
  const monitor = spawn('ovs-ofctl', ['-O', version, 'monitor', bridge, 'watch:'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OVS_RUNDIR: dirname(bridge) },
  });
  defer(t, () => void monitor.kill());
  let text = '';
  for (const out of [monitor.stdout, monitor.stderr]) out.on('data', (chunk) => (text += String(chunk)));
  const until = async (said: RegExp) => {
    while (!said.test(text)) await new Promise((r) => setTimeout(r, 10));
  };
  await until(/event=(INITIAL|ADDED)/);
  for (const command of WATCHED) await ask(bridge, command);
  await until(/event=(DELETED|REMOVED).* in_port=3/);
  monitor.kill();
  // Flows of one update come in any order.
  const updates = text.split(/^(?=NXST|ONFST|OFPST)/m).map((u) => normalize(u, bridge).trim());
  return updates.join('\n');
}

for (const version of ['OpenFlow10', 'OpenFlow13', 'OpenFlow14', 'OpenFlow15']) {
  it(`monitors of ${version} are told the same`, { timeout: 30_000 }, async (t) => {
    const pair = await startPair(t);
    if (!pair) return;
    const theirs = await watch(t, mgmt(pair.real), version);
    assert.equal(await watch(t, mgmt(pair.rig), version), theirs);
  });
}
