import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { ClsView } from '../flow/classifier.ts';
import type { FlowMod } from '../openflow/messages.ts';
import type { Ofconn } from './ofconn.ts';

/**
 * Changes of a bridge's tables that come into force at once, however many they are: all are staged, then one flag makes lookups see them,
 * then each is settled. All three steps run in slices, so that upcalls and other connections come through in between; whoever wants to change
 * the same tables meanwhile waits for its turn.
 */

/** Work that pauses now and then. */
export type Steps<T> = Generator<void, T, void>;

/** How many small steps between two pauses. */
export const YIELD_EVERY = 64;

/** Whose request it is. */
export interface Requester {
  conn: Ofconn;
  xid: number;
}

/**
 * One change. `start` stages it, or says why not and leaves nothing staged; then one of the others is called. What is short is done when
 * they return, the rest is the steps that they return.
 */
export interface ModOp {
  /** Flows or groups go: what they counted must be collected first. */
  readonly deletes: boolean;
  /** Of a flow-mod, for the connection's statistics. */
  readonly command?: FlowMod['command'];
  start(): OfErrorName | undefined | Steps<OfErrorName | undefined>;
  revert(): void | Steps<void>;
  finish(by: Requester | undefined): void | Steps<void>;
}

/** What a change is about. */
export interface Tables {
  readonly view: ClsView;
  readonly events: { changed(): void; monitorFlush(): void };
  /** Before flows go. */
  pushStats: (() => void) | undefined;
  removeOrphans(): void;
}

export interface Failure {
  error: OfErrorName;
  /** Which op it was. */
  index: number;
}

/** Stages all, commits and settles; or, when one fails, takes all back. `xidOf`: the xids of the requests, where they are several. */
export function* change(
  tables: Tables,
  ops: readonly ModOp[],
  by?: Requester,
  xidOf?: (index: number) => number,
): Steps<Failure | undefined> {
  tables.view.busy = true;
  for (let i = 0; i < ops.length; i++) {
    const started = ops[i].start();
    const error = typeof started === 'object' ? yield* started : started;
    if (error) {
      for (let j = i - 1; j >= 0; j--) {
        const reverting = ops[j].revert();
        if (reverting) yield* reverting;
        if (j % YIELD_EVERY === 0) yield;
      }
      tables.view.busy = false;
      return { error, index: i };
    }
    if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
  }
  if (ops.some((op) => op.deletes)) tables.pushStats?.();
  tables.view.next = true;
  tables.events.changed();
  for (let i = 0; i < ops.length; i++) {
    const finishing = ops[i].finish(by && xidOf ? { conn: by.conn, xid: xidOf(i) } : by);
    if (finishing) yield* finishing;
    if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
  }
  tables.view.next = false;
  tables.view.busy = false;
  tables.removeOrphans();
  tables.events.monitorFlush();
  return undefined;
}

/** Runs work to its end. */
export function runSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const next = steps.next();
    if (next.done) return next.value;
  }
}

/** One step. */
export function* step<T>(f: () => T): Steps<T> {
  yield;
  return f();
}

/** No step at all. */
export function* noStep(): Steps<void> {
  yield* [];
}

/** Changes at once; nothing else may be staged. */
export function runNow(tables: Tables, ops: readonly ModOp[], by?: Requester): OfErrorName | undefined {
  return runSteps(change(tables, ops, by))?.error;
}

/** Longest time on end that a change holds the thread. */
const SLICE_MS = 4;

/** Runs one piece of work at a time, in slices. What is short is done before `run` returns. */
export class Slicer {
  #current: { steps: Steps<unknown>; done: (value: never) => void } | undefined;
  readonly #waiting: (() => void)[] = [];
  #immediate: NodeJS.Immediate | undefined;

  get busy(): boolean {
    return this.#current !== undefined;
  }

  /** `make` is called when it is its turn. */
  run<T>(make: () => Steps<T>, done: (value: T) => void): void {
    const begin = () => {
      this.#current = { steps: make(), done: done as (value: never) => void };
      this.#slice();
    };
    if (this.#current || this.#waiting.length) this.#waiting.push(begin);
    else begin();
  }

  /** Ends what is under way, now. */
  drain(): void {
    while (this.#current) this.#slice(Number.POSITIVE_INFINITY);
  }

  #slice(ms = SLICE_MS): void {
    if (this.#immediate) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    const endMs = performance.now() + ms;
    const { steps, done } = this.#current!;
    do {
      const next = steps.next();
      if (!next.done) continue;
      this.#current = undefined;
      done(next.value as never);
      this.#next();
      return;
    } while (performance.now() < endMs);
    this.#immediate = setImmediate(() => this.#slice());
  }

  #next(): void {
    if (this.#waiting.length)
      setImmediate(() => {
        if (!this.#current) this.#waiting.shift()?.();
      });
  }
}
