import { UnixctlError, type UnixctlRegistry } from '../base/unixctl.ts';
import type { Bridges } from './bridges.ts';

/** `qos/…` of ovs-appctl, in the words of ovs-vswitchd(8). No kind of device here shapes what it sends. */

export function registerQosCommands(unixctl: UnixctlRegistry, state: Bridges): void {
  const find = (name: string) => {
    for (const [, iface] of state.interfaces()) if (iface.name === name) return iface;
    throw new UnixctlError('no such interface');
  };
  unixctl.register('qos/show-types', 'interface', 1, 1, ([name]) => {
    return `No QoS types supported for interface: ${find(name!).name}\n`;
  });
  unixctl.register('qos/show', 'interface', 1, 1, ([name]) => `QoS not configured on ${find(name!).name}\n`);
}
