/** The switch behind containers: `Switch` with the halves that serve kernel devices as ports. */
import type { TestContext } from 'node:test';
import { SWITCH_PEERS, Switch } from './switch.ts';

/** The real switch serves them until Turnout does; the database is that of SWITCH. */
const HALVES = { 'ovs-vswitchd': 'ovs' } as const;

export const PLUG_PEERS = [...SWITCH_PEERS, 'ovs-dpdk', 'nsenter'];

export const startPlugSwitch = (t: TestContext): Promise<Switch> => Switch.start(t, HALVES);
