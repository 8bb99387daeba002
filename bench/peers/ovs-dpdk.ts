/** The real Open vSwitch with DPDK, and the settings that are tried to give it its best. */
import { BenchSwitch, type OtherConfig, type SwitchPrograms } from './bench-switch.ts';

export const OVS_DPDK: SwitchPrograms = {
  name: 'ovs-dpdk',
  vswitchd: '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk',
  ovsdbServer: '/usr/sbin/ovsdb-server',
  vsctl: '/usr/bin/ovs-vsctl',
};

/** Keys that the settings below set; those that one does not name are taken away before it is tried. */
const CACHE_KEYS = ['emc-insert-inv-prob', 'smc-enable'] as const;

/** Each is tried once a row, on one start, under the row's traffic; the fastest stands for Open vSwitch in that row. */
export const OVS_VARIANTS: Record<string, OtherConfig> = {
  /** As shipped: EMC with one insertion in 100. */
  emc: {},
  /** Every miss goes into the EMC. */
  'emc-always': { 'emc-insert-inv-prob': '1' },
  smc: { 'emc-insert-inv-prob': '0', 'smc-enable': 'true' },
  'emc+smc': { 'smc-enable': 'true' },
  /** dpcls alone: caches that never hit only cost. */
  none: { 'emc-insert-inv-prob': '0' },
};

/** What to give `setConfig()` to go from any of the settings to this one. */
export function variantConfig(name: string): Record<string, string | undefined> {
  return Object.fromEntries(CACHE_KEYS.map((key) => [key, OVS_VARIANTS[name]?.[key]]));
}

/** For the idle row: a PMD that may sleep. Not used under load, where it costs. */
export const OVS_IDLE: OtherConfig = { 'pmd-maxsleep': '500' };

export function startOvsDpdk(otherConfig: OtherConfig, rulesetFile?: string, lockMemory = true): Promise<BenchSwitch> {
  return BenchSwitch.start(OVS_DPDK, otherConfig, rulesetFile, lockMemory);
}
