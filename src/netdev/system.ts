import { vlogModule } from '../base/vlog.ts';
import { IFNAME_MAX } from '../sys/tap.ts';
import { NetdevError, type NetdevProvider } from './netdev.ts';
import { PacketNetdev } from './packet.ts';

/** Interfaces of the host by their name. */
export const systemProvider: NetdevProvider = {
  type: 'system',
  open: (name) => {
    try {
      if (name.length === 0 || Buffer.byteLength(name) > IFNAME_MAX) throw noSuchDevice(name);
      return new PacketNetdev(name);
    } catch (e) {
      if (e instanceof NetdevError) vlogModule('bridge').warn(e.message);
      throw e;
    }
  },
};

const noSuchDevice = (name: string) => new NetdevError(`could not open network device ${name} (No such device)`);
