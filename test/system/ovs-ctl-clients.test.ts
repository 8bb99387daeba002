/** Debian's ovs-ctl with Turnout's daemons and Turnout's clients before the real ones on the PATH. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OVS_CTL, requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';

const COMPAT = fileURLToPath(new URL('../../compat', import.meta.url));

/** In a network of its own, for the bridge's device. */
const SCRIPT = `
set -e
trap 'ovs_ctl stop >/dev/null 2>&1' EXIT
ovs_ctl() { ${OVS_CTL} --no-mlockall --no-monitor --system-id=random "$@"; }
ovs_ctl start
ovs-vsctl -t 20 add-br br0 -- set Bridge br0 datapath_type=netdev other_config:datapath-id=0000000000000abc
ovs-ofctl add-flow br0 cookie=0x77,priority=5,ip,actions=drop
ovs_ctl status
ovs_ctl restart
echo '--- after the restart'
ovs-vsctl show
ovs-ofctl --no-stats dump-flows br0
ovs-appctl version
ovs-dpctl dump-dps
trap - EXIT
ovs_ctl stop
ovs_ctl status || echo "status $?"
`;

test('ovs-ctl starts, restarts with the flows that were there, and stops', (t) => {
  if (!requirePeer(t, 'netns', 'ovs-ctl')) return;
  const folder = mkdtempSync(join(tmpdir(), 'turnout-ctl-'));
  defer(t, () => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'openvswitch'));
  const env = {
    ...process.env,
    PATH: `${COMPAT}/sbin:${COMPAT}/bin:${process.env.PATH}`,
    OVS_RUNDIR: folder,
    OVS_LOGDIR: folder,
    OVS_DBDIR: folder,
    OVS_SYSCONFDIR: folder,
  };
  const { status, stdout, stderr } = spawnSync('unshare', ['-n', '-m', 'sh', '-c', SCRIPT], {
    cwd: folder,
    env,
    encoding: 'utf8',
    timeout: 180_000,
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /ovsdb-server is running with pid \d+\novs-vswitchd is running with pid \d+/);
  assert.match(stdout, /Saving flows[\s\S]*Restoring saved flows/);
  const after = stdout.slice(stdout.indexOf('--- after the restart'));
  assert.match(after, /Bridge br0\n {8}datapath_type: netdev\n {8}Port br0\n {12}Interface br0\n {16}type: internal/);
  assert.match(after, /cookie=0x77, priority=5,ip actions=drop/);
  assert.match(after, /ovs-vswitchd \(Open vSwitch\) 3\.1\.\d/);
  assert.match(after, /netdev@ovs-netdev/);
  assert.match(after, /ovsdb-server is not running\novs-vswitchd is not running\nstatus 1/);
});
