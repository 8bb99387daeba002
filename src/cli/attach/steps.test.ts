import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applySteps, type Step } from './steps.ts';

/** Steps that write down what is done; `fails` names those whose `apply` or `undo` throws. */
function recording(names: readonly string[], fails: readonly string[] = []) {
  const done: string[] = [];
  const act = (text: string) => async () => {
    done.push(text);
    if (fails.includes(text)) throw new Error(`${text} failed`);
  };
  const steps = names.map((name): Step => ({ what: name, apply: act(name), undo: act(`undo ${name}`) }));
  return { steps, done };
}

test('steps are carried out in order', async () => {
  const { steps, done } = recording(['a', 'b', 'c']);
  await applySteps(steps);
  assert.deepEqual(done, ['a', 'b', 'c']);
});

test('what was done before a failure is undone, the last first', async () => {
  const { steps, done } = recording(['a', 'b', 'c', 'd'], ['c']);
  await assert.rejects(applySteps(steps), /^Error: c failed$/);
  assert.deepEqual(done, ['a', 'b', 'c', 'undo b', 'undo a']);
});

test('what cannot be undone is named, and does not stop the rest', async () => {
  const { steps, done } = recording(['a', 'b', 'c'], ['c', 'undo b']);
  await assert.rejects(applySteps(steps), {
    name: 'UndoFailed',
    message: 'c failed; and this could not be undone: b (undo b failed)',
  });
  assert.deepEqual(done, ['a', 'b', 'c', 'undo b', 'undo a']);
});

test('a signal is a failure of the step that follows', async () => {
  const { steps, done } = recording(['a', 'c']);
  const kill: Step = {
    what: 'kill',
    apply: async () => {
      process.emit('SIGTERM', 'SIGTERM');
    },
  };
  await assert.rejects(applySteps([steps[0]!, kill, steps[1]!]), /interrupted by SIGTERM/);
  assert.deepEqual(done, ['a', 'undo a']);
  assert.equal(process.listenerCount('SIGTERM'), 0);
});
