import type { FrozenState, RecircStates } from './xlate/types.ts';

export type { FrozenState };

/**
 * Recirculation identifiers: a name for the state of a translation that stopped on the way, to go on when the packet comes back from the
 * datapath or from a controller. Equal states share a number. A number lives while somebody holds a reference (the translation that made
 * it, then the megaflow that names it), and can be found for a moment longer, because packets that name it may be on their way.
 */

/** How long a number without references is kept. */
const LINGER_MS = 1000;
/** Numbers are 32 bits wide; after the last one, these first ones are left out, which long-term users may have. */
const N_STATIC = 1024;

interface Node {
  readonly id: number;
  readonly key: string;
  readonly state: FrozenState;
  refs: number;
  expireMs: number;
}

const identities = new WeakMap<object, number>();
let nextIdentity = 1;

/** A number for an object that stays with it. */
function identity(o: object | undefined): number {
  if (!o) return 0;
  let n = identities.get(o);
  if (n === undefined) {
    n = nextIdentity++;
    identities.set(o, n);
  }
  return n;
}

/** Values of actions as JSON: bytes, big numbers and match fields are no plain data. */
function plain(_key: string, v: unknown): unknown {
  if (v instanceof Uint8Array) return `x${Buffer.from(v).toString('hex')}`;
  if (typeof v === 'bigint') return `n${v}`;
  if (v && typeof v === 'object' && 'nBytes' in v && 'name' in v) return v.name;
  return v;
}

/** Equal for equal states. */
function stateKey(s: FrozenState): string {
  const { bridge, xport, metadata, ...rest } = s;
  const flow = Buffer.from(metadata.u8).toString('latin1');
  return `${identity(bridge)}/${identity(xport)}/${flow}/${JSON.stringify(rest, plain)}`;
}

export class RecircIds implements RecircStates {
  readonly #byId = new Map<number, Node>();
  readonly #byKey = new Map<string, Node>();
  /** Nodes without references, by rising `expireMs`. */
  readonly #expiring = new Set<Node>();
  readonly #nowMs: () => number;
  #nextId = 1;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The number of a state, with a reference for the caller. */
  alloc(state: FrozenState): number {
    this.#purge();
    const key = stateKey(state);
    let node = this.#byKey.get(key);
    if (!node) {
      node = { id: this.#claim(), key, state, refs: 0, expireMs: 0 };
      this.#byId.set(node.id, node);
      this.#byKey.set(key, node);
    }
    node.refs++;
    return node.id;
  }

  /** A number of its own that no state belongs to but where the packet goes on: a bond's rules in the internal table. */
  allocUnique(state: FrozenState): number {
    this.#purge();
    const id = this.#claim();
    this.#byId.set(id, { id, key: `unique/${id}`, state, refs: 1, expireMs: 0 });
    return id;
  }

  find(id: number): FrozenState | undefined {
    return this.#byId.get(id)?.state;
  }

  /** Adds a reference; false when there is no such number, or nobody holds it any more. */
  ref(id: number): boolean {
    const node = this.#byId.get(id);
    if (!node || node.refs === 0) return false;
    node.refs++;
    return true;
  }

  unref(id: number): void {
    const node = this.#byId.get(id);
    if (!node || node.refs === 0) return;
    if (--node.refs > 0) return;
    if (this.#byKey.get(node.key) === node) this.#byKey.delete(node.key);
    node.expireMs = this.#nowMs() + LINGER_MS;
    this.#expiring.add(node);
  }

  unrefAll(ids: readonly number[]): void {
    for (const id of ids) this.unref(id);
  }

  /** Number of states that are held. */
  get size(): number {
    return this.#byId.size - this.#expiring.size;
  }

  #claim(): number {
    for (;;) {
      if (this.#nextId > 0xffffffff) this.#nextId = N_STATIC + 1;
      const id = this.#nextId++;
      if (!this.#byId.has(id)) return id;
    }
  }

  #purge(): void {
    const nowMs = this.#nowMs();
    for (const node of this.#expiring) {
      if (node.expireMs > nowMs) break;
      this.#expiring.delete(node);
      this.#byId.delete(node.id);
    }
  }
}
