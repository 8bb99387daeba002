import { vlogModule } from '../base/vlog.ts';
import { IFNAME_MAX } from '../sys/tap.ts';
import { openXdp } from './afxdp.ts';
import { type Netdev, NetdevError, type NetdevProvider } from './netdev.ts';
import { PacketNetdev } from './packet.ts';

/** Interfaces of the host by their name: by packet sockets, or by AF_XDP when `xdp-mode` asks for it. */
export const systemProvider: NetdevProvider = {
  type: 'system',
  open: (name, options) => {
    try {
      if (name.length === 0 || Buffer.byteLength(name) > IFNAME_MAX) throw noSuchDevice(name);
      return options.has('xdp-mode') ? openXdp(name, 'system', options) : openPacket(name);
    } catch (e) {
      if (e instanceof NetdevError) vlogModule('bridge').warn(e.message);
      throw e;
    }
  },
};

/** AF_XDP is had by opening it anew. */
function openPacket(name: string): Netdev {
  const netdev = new PacketNetdev(name);
  netdev.setOptions = (options) => (options.has('xdp-mode') ? 'it is to be opened by AF_XDP' : undefined);
  return netdev;
}

const noSuchDevice = (name: string) => new NetdevError(`could not open network device ${name} (No such device)`);
