import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { applySteps } from '../attach/steps.ts';
import { portMapStep } from './port-map.ts';
import type { CniResult } from './result.ts';

const result = { interfaces: [], ips: [], routes: [] } as unknown as CniResult;

/** A plugin that writes down what it is called for. */
function plugin(fails: (command: string) => boolean = () => false) {
  const calls: string[] = [];
  const call = (command: string) => {
    calls.push(command);
    return fails(command) ? Promise.reject(new Error(`no ${command}`)) : Promise.resolve(undefined);
  };
  return { calls, portmap: { call } };
}

describe('port mappings', () => {
  test('are taken back when a later step fails', async () => {
    const { calls, portmap } = plugin();
    const failing = { what: 'fail', apply: () => Promise.reject(new Error('later')) };
    await assert.rejects(applySteps([portMapStep(portmap, () => result), failing]), /later/);
    assert.deepEqual(calls, ['ADD', 'DEL']);
  });

  test('that are made in part are taken back, and the error is that of the ADD', async () => {
    const { calls, portmap } = plugin(() => true);
    await assert.rejects(applySteps([portMapStep(portmap, () => result)]), /no ADD/);
    assert.deepEqual(calls, ['ADD', 'DEL']);
  });

  test('stay when all goes well', async () => {
    const { calls, portmap } = plugin();
    await applySteps([portMapStep(portmap, () => result)]);
    assert.deepEqual(calls, ['ADD']);
  });
});
