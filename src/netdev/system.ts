import { statSync } from 'node:fs';
import { vlogModule } from '../base/vlog.ts';
import { NetdevError, type NetdevProvider } from './netdev.ts';

const log = vlogModule('netdev_linux');

/** Interfaces of the host by their name. They are not driven yet: a name that is not there gets Open vSwitch's words, one that is, a clear refusal. */
export const systemProvider: NetdevProvider = {
  type: 'system',
  open: (name) => {
    const exists = !name.includes('/') && statSync(`/sys/class/net/${name}`, { throwIfNoEntry: false }) !== undefined;
    if (exists) log.warn(`${name}: interfaces of the host can't be ports yet`);
    const text = `could not open network device ${name} (${exists ? 'Operation not supported' : 'No such device'})`;
    vlogModule('bridge').warn(text);
    throw new NetdevError(text);
  },
};
