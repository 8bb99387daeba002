import type { Clock, ClockTimer } from './clock.ts';

/** Work that is asked for again and again: done at once, and then no more than once in `everyMs`, the last time for all that was asked meanwhile. */
export class Paced {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #work: () => void;
  #timer: ClockTimer | undefined;
  #asked = false;

  constructor(clock: Clock, everyMs: number, work: () => void) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#work = work;
  }

  ask(): void {
    if (this.#timer) {
      this.#asked = true;
      return;
    }
    this.#asked = false;
    this.#timer = this.#clock.after(this.#everyMs, () => {
      this.#timer = undefined;
      if (this.#asked) this.ask();
    });
    this.#work();
  }

  /** What was asked for and not done yet is not done. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#asked = false;
  }
}
