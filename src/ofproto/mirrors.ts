import type { Logger, MirrorConfig } from './config.ts';
import type { Bundle } from './port-bundle.ts';
import type { XMirror } from './xlate/types.ts';

/** The mirrors of one bridge. Each has an index, and Ports say by bits of these what is mirrored. */

export const MAX_MIRRORS = 32;

class Mirror implements XMirror {
  readonly config: MirrorConfig;
  readonly name: string;
  readonly srcs: ReadonlySet<Bundle>;
  readonly dsts: ReadonlySet<Bundle>;
  readonly vlans: ReadonlySet<number> | undefined;
  readonly out: Bundle | undefined;
  readonly outVlan: number | undefined;
  readonly snaplen: number;
  dups = 0;
  packets = 0;
  bytes = 0;

  constructor(config: MirrorConfig, bundle: (name: string) => Bundle | undefined) {
    const bundles = (names: readonly string[]) => new Set(names.flatMap((n) => bundle(n) ?? []));
    this.config = config;
    this.name = config.name;
    this.srcs = bundles(config.srcs);
    this.dsts = bundles(config.dsts);
    this.vlans = config.vlans?.length ? new Set(config.vlans) : undefined;
    this.out = config.outPort === undefined ? undefined : bundle(config.outPort);
    this.outVlan = this.out ? undefined : config.outVlan;
    this.snaplen = config.snaplen;
  }
}

export class Mirrors {
  #list: (Mirror | undefined)[] = [];
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** By index; empty when there is none. */
  get list(): readonly (XMirror | undefined)[] {
    return this.#list;
  }

  /** Makes these the mirrors of the bridge. Counters of those that stay go on. True when anything is another. */
  configure(configs: readonly MirrorConfig[], bundles: ReadonlyMap<string, Bundle>): boolean {
    const before = this.#key();
    const wanted = new Map(configs.map((c) => [c.id, c]));
    const next = this.#list.map(
      (m) => m && wanted.get(m.config.id) && this.#make(wanted.get(m.config.id)!, bundles, m),
    );
    for (const config of configs) {
      if (this.#list.some((m) => m?.config.id === config.id)) continue;
      const free = next.indexOf(undefined);
      const index = free < 0 ? next.length : free;
      if (index >= MAX_MIRRORS) {
        this.#log.warn(`maximum of ${MAX_MIRRORS} port mirrors reached, cannot create ${config.name}`);
        continue;
      }
      next[index] = this.#make(config, bundles);
    }
    this.#list = next.every((m) => m === undefined) ? [] : next;
    this.#mark(bundles.values());
    return this.#key() !== before;
  }

  /** Undefined when its output is no Port of the bridge. */
  #make(config: MirrorConfig, bundles: ReadonlyMap<string, Bundle>, old?: Mirror): Mirror | undefined {
    const mirror = new Mirror(config, (name) => bundles.get(name));
    if (!mirror.out && mirror.outVlan === undefined) return undefined;
    if (old) [mirror.packets, mirror.bytes] = [old.packets, old.bytes];
    return mirror;
  }

  #key(): string {
    const names = (set: ReadonlySet<Bundle>) => [...set].map((b) => b.name);
    return JSON.stringify(
      this.#list.map(
        (m) =>
          m && [m.config.id, names(m.srcs), names(m.dsts), [...(m.vlans ?? [])], m.out?.name, m.outVlan, m.snaplen],
      ),
    );
  }

  /** Tells the Ports, and finds the mirrors that share an output. */
  #mark(bundles: Iterable<Bundle>): void {
    const bits = (is: (m: Mirror) => boolean) =>
      this.#list.reduce((mask, m, i) => (m && is(m) ? mask | (1 << i) : mask), 0);
    for (const b of bundles) {
      b.mirrorSrc = bits((m) => m.srcs.has(b));
      b.mirrorDst = bits((m) => m.dsts.has(b));
      b.mirrorOut = bits((m) => m.out === b);
    }
    for (const mirror of this.#list)
      if (mirror) mirror.dups = bits((m) => m.out === mirror.out && m.outVlan === mirror.outVlan);
  }

  /** Counts packets that went to the mirrors `mask` (bits). */
  credit(mask: number, packets: number, bytes: number): void {
    this.#list.forEach((m, i) => {
      if (!m || !(mask & (1 << i))) return;
      m.packets += packets;
      m.bytes += bytes;
    });
  }

  /** Undefined when there is no such mirror. */
  stats(id: string): { packets: number; bytes: number } | undefined {
    return this.#list.find((m) => m?.config.id === id);
  }
}
