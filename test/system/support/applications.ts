/** The two testpmds of the first experiment. */
import type { TestContext } from 'node:test';
import { Testpmd, type TestpmdOptions } from '../../../bench/peers/testpmd.ts';
import { defer } from './cleanup.ts';
import { makeNetns } from './netns.ts';
import type { Switch } from './switch.ts';
import { type Applications, macOf, type Port, socketOf } from './vhost-bridge.ts';

export type Role = 'generator' | 'forwarder';

const PORTS_OF: Record<Role, readonly Port[]> = { generator: [1, 2], forwarder: [3, 4] };

/** testpmd on its two ports; the generator sends a thousand flows of 64-byte packets. */
export function roleOptions(sw: Switch, role: Role, server: boolean): TestpmdOptions {
  return {
    ports: PORTS_OF[role].map((port) => ({ path: socketOf(sw, port), mac: macOf(port), server })),
    core: 1,
    forwardMode: role === 'generator' ? 'flowgen' : 'io',
    args: role === 'generator' ? ['--flowgen-flows=1000'] : [],
  };
}

/** Starts one application in a network namespace of its own, to be ended with the test. */
export async function startApplication(
  t: TestContext,
  sw: Switch,
  role: Role,
  options: { server?: boolean } = {},
): Promise<Testpmd> {
  const netns = await makeNetns(t, role);
  const app = await Testpmd.start(role, { ...roleOptions(sw, role, options.server ?? false), prefix: netns.prefix });
  defer(t, () => app.kill());
  return app;
}

/** Both, side by side: where the switch connects to them, neither gets its prompt before the switch came. */
export async function startApplications(
  t: TestContext,
  sw: Switch,
  options: { server?: boolean } = {},
): Promise<Applications> {
  const [generator, forwarder] = await Promise.all([
    startApplication(t, sw, 'generator', options),
    startApplication(t, sw, 'forwarder', options),
  ]);
  return { generator, forwarder };
}
