import { vlogModule } from '../base/vlog.ts';
import { NetdevError, type NetdevProvider } from './netdev.ts';

const log = vlogModule('netdev_dpdk');

/** Physical devices by DPDK are not driven: what `type=dpdk` names is answered as Open vSwitch answers for a device that is not there. */
export const dpdkProvider: NetdevProvider = {
  type: 'dpdk',
  open: (name, options) => {
    const devargs = options.get('dpdk-devargs');
    const error =
      devargs === undefined || devargs === ''
        ? `'${name}' is missing 'options:dpdk-devargs'. The old 'dpdk<port_id>' names are not supported`
        : `Error attaching device '${devargs}' to DPDK`;
    log.warn(error);
    throw new NetdevError(error);
  },
};
