/** Plan, then act: what attaching does is a list of steps; when one fails, those before it are undone, the last first. */

export interface Step {
  /** For messages: what it does. */
  readonly what: string;
  apply(): Promise<void>;
  /** Takes back what `apply` did. Not called for the step that failed, which must leave nothing behind by itself. */
  undo?(): Promise<void>;
}

/** An `undo` failed too: something was left behind, and the message says what. */
export class UndoFailed extends Error {
  override name = 'UndoFailed';
}

export class Interrupted extends Error {
  override name = 'Interrupted';

  constructor(signal: string) {
    super(`interrupted by ${signal}`);
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Carries out the steps. Rejects with the error of the one that failed when all before it are undone; a signal counts as a failure of
 *  the step after it. */
export async function applySteps(steps: readonly Step[]): Promise<void> {
  let signalled: string | undefined;
  const onSignal = (signal: string) => {
    signalled = signal;
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const done: Step[] = [];
  try {
    for (const step of steps) {
      if (signalled !== undefined) throw new Interrupted(signalled);
      await step.apply();
      done.push(step);
    }
    if (signalled !== undefined) throw new Interrupted(signalled);
  } catch (error) {
    await undoAll(done, error);
    throw error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

async function undoAll(done: readonly Step[], cause: unknown): Promise<void> {
  const left: string[] = [];
  for (const step of done.toReversed()) {
    try {
      await step.undo?.();
    } catch (error) {
      left.push(`${step.what} (${(error as Error).message})`);
    }
  }
  if (left.length === 0) return;
  const text = cause instanceof Error ? cause.message : String(cause);
  throw new UndoFailed(`${text}; and this could not be undone: ${left.join(', ')}`, { cause });
}
