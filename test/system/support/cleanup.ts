/** Clean-up in the reverse order of set-up; `TestContext.after()` by itself runs its hooks in the order in which they came. */
import type { TestContext } from 'node:test';

type Cleanup = () => unknown;

const stacks = new WeakMap<TestContext, Cleanup[]>();

/** Has `cleanup` run when the test ends, before everything that was deferred earlier. A failing one does not stop the others. */
export function defer(t: TestContext, cleanup: Cleanup): void {
  const stack = stacks.get(t);
  if (stack !== undefined) {
    stack.push(cleanup);
    return;
  }
  const fresh = [cleanup];
  stacks.set(t, fresh);
  t.after(() => runAll(fresh));
}

async function runAll(stack: Cleanup[]): Promise<void> {
  const errors: unknown[] = [];
  for (const cleanup of stack.toReversed()) {
    try {
      await cleanup();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, `clean-up failed: ${errors.map(String).join('; ')}`);
}
