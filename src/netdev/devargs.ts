/** DPDK's device arguments (`options:dpdk-devargs`): `net_tap01,iface=tap01`. */

export interface Devargs {
  /** `net_tap01`: the driver and what tells its devices apart. */
  device: string;
  args: ReadonlyMap<string, string>;
}

/** Pure; what has no `=` is an argument without a value. */
export function parseDevargs(text: string): Devargs {
  const [device = '', ...rest] = text.split(',').map((part) => part.trim());
  const args = rest
    .filter((part) => part !== '')
    .map((part): [string, string] => {
      const at = part.indexOf('=');
      return at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
    });
  return { device: device.replace(/^vdev:/, ''), args: new Map(args) };
}

/** 1 for `1`, `on` and the like, as DPDK reads its switches. */
export function isOn(value: string | undefined): boolean {
  return value !== undefined && !/^(0|no|off|false)?$/i.test(value);
}

/** In Interface.status. */
export function dpdkStatus(driver: string): ReadonlyMap<string, string> {
  return new Map([
    ['driver_name', driver],
    ['numa_id', '0'],
    ['if_type', '6'],
    ['if_descr', `Turnout ${driver}`],
    ['max_rx_queues', '1'],
    ['max_tx_queues', '1'],
  ]);
}
