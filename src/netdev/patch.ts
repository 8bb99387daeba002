import { vlogModule } from '../base/vlog.ts';
import { BasicNetdev } from './basic.ts';
import { NetdevError, type NetdevIo, type NetdevProvider } from './netdev.ts';

const log = vlogModule('netdev_vport');

/** One end of a pair of ports that join two bridges of one datapath. Frames cross it in translation; the datapath never sees it. */
export class PatchNetdev extends BasicNetdev {
  readonly io: NetdevIo = { kind: 'none' };
  #peer = '';

  constructor(name: string, options: ReadonlyMap<string, string>) {
    super(name, 'patch', { adminUp: true });
    const error = this.setOptions(options);
    if (error !== undefined) throw new NetdevError(error);
  }

  /** Name of the Interface at the other end. */
  get peer(): string {
    return this.#peer;
  }

  /** Open vSwitch's words (netdev-vport). */
  override setOptions(options: ReadonlyMap<string, string>): string | undefined {
    const error = this.#complain(options);
    if (error !== undefined) {
      log.err(`${this.name}: ${error}`);
      return `${this.name}: ${error}`;
    }
    if (options.get('peer') !== this.#peer) {
      this.#peer = options.get('peer')!;
      this.changed();
    }
    return undefined;
  }

  #complain(options: ReadonlyMap<string, string>): string | undefined {
    const peer = options.get('peer');
    if (!peer) return "patch type requires valid 'peer' argument";
    if (options.size > 1) return "patch type takes only a 'peer' argument";
    if (peer === this.name) return 'patch peer must not be self';
    return undefined;
  }
}

export const patchProvider: NetdevProvider = {
  type: 'patch',
  open: (name, options) => new PatchNetdev(name, options),
};
