/** `ovs-docker` with a real Docker engine: containers with an ordinary kernel stack on a bridge in user space. */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { check, command, eventually, Running } from '../../bench/peers/process.ts';
import { requirePeer } from '../support/require.ts';
import { Docker } from './support/docker.ts';
import { PLUG_PEERS } from './support/plug.ts';
import { Switch } from './support/switch.ts';

const OVS_DOCKER = join(dirname(fileURLToPath(import.meta.url)), '../../compat/bin/ovs-docker');

interface Stage {
  sw: Switch;
  docker: Docker;
  /** Runs ovs-docker as the switch's user. */
  ovsDocker(...args: string[]): ReturnType<typeof command>;
}

async function setUp(t: TestContext): Promise<Stage> {
  const sw = await Switch.start(t);
  const docker = await Docker.start(t, ['shell']);
  const env = { ...sw.env, DOCKER_HOST: docker.host };
  return { sw, docker, ovsDocker: (...args) => command([...sw.netns.prefix, OVS_DOCKER, ...args], { env }) };
}

const DONE = { status: 0, stdout: '', stderr: '' };
const refused = (...lines: string[]) => ({ status: 1, stdout: '', stderr: lines.map((line) => `${line}\n`).join('') });

/** Names of the links of the switch's namespace that ovs-docker makes. */
async function pairs({ sw }: Stage): Promise<string[]> {
  const links = JSON.parse(await check([...sw.netns.prefix, 'ip', '-json', 'link'])) as { ifname: string }[];
  return links.map(({ ifname }) => ifname).filter((name) => /_[lc]$/.test(name));
}

async function ping({ docker }: Stage, from: string, to: string): Promise<void> {
  await eventually(`${from} pings ${to}`, async () => {
    const { status } = await docker.exec(from, 'ping', '-c', '1', '-W', '2', to);
    return status === 0 || undefined;
  });
}

test('two containers ping each other over ports 5 and 6, and what is added can be taken away', async (t) => {
  if (!requirePeer(t, ...PLUG_PEERS, 'docker', 'iperf3')) return;
  const stage = await setUp(t);
  const { sw, docker, ovsDocker } = stage;
  const ids = [await docker.startShell(t, 'web'), await docker.startShell(t, 'db')];
  // As in the known experiment the bridge has four ports already, and no flows but these.
  await sw.sh(`ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev
    for i in 1 2 3 4; do ovs-vsctl add-port br0 p$i -- set interface p$i type=internal ofport_request=$i; done
    ovs-ofctl del-flows br0`);
  const v4 = ['--ipaddress=10.0.0.1/24', '--gateway=10.0.0.254', '--macaddress=02:00:00:00:00:01', '--mtu=1400'];
  assert.deepEqual(await ovsDocker('add-port', 'br0', 'eth1', 'web', ...v4, '--ipaddress=fd00::1/64'), DONE);
  const short = ids[1]!.slice(0, 12);
  assert.deepEqual(await ovsDocker('add-port', 'br0', 'eth1', short, '--ipaddress=10.0.0.2/24,fd00::2/64'), DONE);
  await sw.sh('ovs-ofctl add-flow br0 in_port=5,actions=output:6; ovs-ofctl add-flow br0 in_port=6,actions=output:5');

  await t.test('they reach each other by IPv4 and IPv6', async () => {
    await ping(stage, 'web', '10.0.0.2');
    await ping(stage, 'db', 'fd00::1');
    const flows = await sw.sh('ovs-ofctl dump-flows br0');
    assert.match(flows, /n_packets=[1-9]\d*,.* in_port=5 actions=output:6/);
    assert.match(flows, /n_packets=[1-9]\d*,.* in_port=6 actions=output:5/);
  });

  await t.test('iperf3 fills the path between them', async (t) => {
    // The containers leave checksums to the switch, and Open vSwitch 3.1 in user space passes them on as they are.
    if (sw.kind === 'ovs') return t.diagnostic('not on Open vSwitch: it needs ethtool -K eth1 tx off');
    const server = await Running.start(
      'iperf3',
      docker.argv('exec', 'db', '/usr/bin/iperf3', '-s', '-1', '--forceflush'),
    );
    await server.waitFor(/listening/);
    const sent = await docker.exec('web', '/usr/bin/iperf3', '-c', '10.0.0.2', '-n', '2M', '-J');
    assert.equal(sent.status, 0, sent.stdout + sent.stderr);
    assert.equal(await server.exited, 0);
  });

  await t.test('the interface is as it was asked for', async () => {
    const { stdout } = await docker.exec('web', 'ip', 'address', 'show', 'dev', 'eth1');
    for (const part of ['mtu 1400', '02:00:00:00:00:01', '10.0.0.1/24', 'fd00::1/64'])
      assert.ok(stdout.includes(part), stdout);
    assert.match((await docker.exec('web', 'ip', 'route')).stdout, /default via 10\.0\.0\.254 dev eth1/);
  });

  await t.test('scripts find the port by its external ids', async () => {
    const find = 'ovs-vsctl --data=bare --no-heading --columns=name find interface';
    const name = (await sw.sh(`${find} external_ids:container_id=web external_ids:container_iface=eth1`)).trim();
    assert.match(name, /^[0-9a-f]{13}_l$/);
    assert.equal((await sw.sh(`${find} external_ids:container_id=${short}`)).trim().slice(13), '_l');
  });

  await t.test('set-vlan and ls', async () => {
    assert.deepEqual(await ovsDocker('set-vlan', 'br0', 'eth1', ids[0]!, '7'), DONE);
    const listed = JSON.parse((await ovsDocker('ls', '--json')).stdout) as Record<string, unknown>[];
    assert.deepEqual(
      listed.map(({ container, ofport, vlan, state }) => ({ container, ofport, vlan, state })),
      [
        { container: 'db', ofport: 6, vlan: null, state: 'attached' },
        { container: 'web', ofport: 5, vlan: 7, state: 'attached' },
      ],
    );
    assert.match((await ovsDocker('ls')).stdout, /^CONTAINER +INTERFACE .*\ndb +eth1 +br0 .*\nweb +eth1 +br0 /);
  });

  await t.test('what cannot be is refused, and nothing of it stays', async () => {
    const before = await pairs(stage);
    const add = (...args: string[]) => ovsDocker('add-port', 'br0', ...args);
    const attached = 'ovs-docker: Port already attached for CONTAINER=web and INTERFACE=eth1';
    assert.deepEqual(await add('eth1', 'web'), refused(attached));
    assert.deepEqual(await add('eth1', 'web', '--may-exist'), DONE);
    const pid = 'ovs-docker: Failed to get the PID of the container';
    assert.deepEqual(await add('eth1', 'nobody'), refused('ovs-docker: No such container: nobody', pid));
    const lo = 'ovs-docker: container web already has an interface lo';
    assert.deepEqual(await add('lo', 'web'), refused(lo));
    // The gateway is not on the link: the kernel refuses the last command, after the pair was made.
    const unreachable = await add('eth2', 'web', '--ipaddress=10.1.0.1/24', '--gateway=10.9.0.1');
    assert.equal(unreachable.status, 1);
    assert.match(unreachable.stderr, /route add .*: (RTNETLINK answers|Error): .*\n$/);
    const used = await add('eth2', 'web', '--ipaddress=10.0.0.2/24');
    assert.match(used.stderr, /^ovs-docker: address 10\.0\.0\.2 is in use by eth1 of [0-9a-f]{12} \(port /);
    const taken = await ovsDocker('add-port', 'p1', 'eth2', 'web');
    assert.match(taken.stderr, /because a port named p1 already exists\novs-docker: Failed to create bridge p1\n$/);
    assert.deepEqual(await pairs(stage), before);
    assert.match((await docker.exec('web', 'ip', 'link', 'show', 'dev', 'eth2')).stderr, /can't find device/);
  });

  await t.test('del-port, twice, and del-ports', async () => {
    assert.deepEqual(await ovsDocker('del-port', 'br0', 'eth1', 'web'), DONE);
    const gone = 'ovs-docker: Failed to find any attached port for CONTAINER=web and INTERFACE=eth1';
    assert.deepEqual(await ovsDocker('del-port', 'br0', 'eth1', 'web'), refused(gone));
    assert.match((await docker.exec('web', 'ip', 'link', 'show', 'dev', 'eth1')).stderr, /can't find device/);
    assert.deepEqual(await ovsDocker('del-ports', 'br0', 'db'), DONE);
    assert.deepEqual(await ovsDocker('del-ports', 'br0', 'db'), DONE);
    assert.deepEqual(await pairs(stage), []);
    assert.equal((await sw.sh('ovs-vsctl list-ports br0')).trim(), 'p1\np2\np3\np4');
  });

  await t.test('a container that restarts gets its ports back, and one that is removed loses them', async (t) => {
    await sw.sh('ovs-ofctl add-flow br0 actions=normal');
    await ovsDocker('add-port', 'br0', 'eth1', 'web', '--ipaddress=10.0.0.1/24');
    await ovsDocker('add-port', 'br0', 'eth1', 'db', '--ipaddress=10.0.0.2/24');
    await ping(stage, 'web', '10.0.0.2');
    const mac = async () =>
      /link\/ether (\S+)/.exec((await docker.exec('web', 'ip', 'link', 'show', 'eth1')).stdout)?.[1];
    const before = await mac();

    await check(docker.argv('kill', 'web'));
    await eventually('the pair is gone with its container', async () => (await pairs(stage)).length === 1 || undefined);
    assert.match((await ovsDocker('ls')).stdout, /web .* no link\n/);
    assert.deepEqual(await ovsDocker('restore'), DONE); // It does not run: nothing to do.
    await check(docker.argv('start', 'web'));
    assert.deepEqual(await ovsDocker('restore', 'web'), { ...DONE, stdout: 'restored eth1 of web\n' });
    assert.equal(await mac(), before);
    await ping(stage, 'web', '10.0.0.2');

    const watcher = await Running.start('watch', [...sw.netns.prefix, OVS_DOCKER, 'watch'], {
      ...sw.env,
      DOCKER_HOST: docker.host,
    });
    t.after(() => watcher.stop());
    await watcher.waitFor(/watching\n/);
    await check(docker.argv('restart', '--time=0', 'web'));
    await watcher.waitFor(/restored eth1 of web\n/);
    await ping(stage, 'db', '10.0.0.1');
    await check(docker.argv('rm', '--force', 'db'));
    await watcher.waitFor(/removed eth1 of db\n/);
    assert.equal((await pairs(stage)).length, 1);
    assert.equal(await watcher.stop('SIGTERM'), 0);
  });
});
