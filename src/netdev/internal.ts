import { vlogModule } from '../base/vlog.ts';
import { DummyNetdev } from './dummy.ts';
import type { NetdevProvider } from './netdev.ts';
import { TapNetdev } from './tap.ts';

const log = vlogModule('netdev_linux');

/** A bridge's own port: an interface of the host where that may be made, else a device without a wire, so that the bridge works all the same. */
export const internalProvider: NetdevProvider = {
  type: 'internal',
  open: (name) => {
    try {
      return new TapNetdev(name);
    } catch (e) {
      log.info(`${name}: no tap device (${(e as Error).message}): the port is there for the switch only`);
      return new DummyNetdev(name, 'internal');
    }
  },
};
