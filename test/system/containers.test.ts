/** The first experiment with both testpmds in Docker containers that mount the sockets and the huge pages. */
import { test } from 'node:test';
import { requirePeer } from '../support/require.ts';
import { roleOptions } from './support/applications.ts';
import { Docker } from './support/docker.ts';
import { SWITCH_PEERS, Switch } from './support/switch.ts';
import {
  addPairFlows,
  assertCountersAgree,
  drain,
  letTrafficRun,
  makeServerBridge,
  PORTS,
  portName,
} from './support/vhost-bridge.ts';

test('two containers run testpmd on the switch, and every counter agrees', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'dpdk-testpmd', 'docker')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeServerBridge(sw);
  await addPairFlows(sw);
  const docker = await Docker.start(t);
  const [generator, forwarder] = await Promise.all([
    docker.startTestpmd(t, 'generator', sw.rundir, roleOptions(sw, 'generator', false)),
    docker.startTestpmd(t, 'forwarder', sw.rundir, roleOptions(sw, 'forwarder', false)),
  ]);
  for (const port of PORTS) await sw.waitForLink(portName(port), 'up');
  await letTrafficRun({ generator, forwarder }, 100_000);
  await drain(sw, { generator, forwarder });
  await assertCountersAgree(sw, { generator, forwarder });
});
