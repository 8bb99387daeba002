import type { Step } from '../attach/steps.ts';
import type { Delegate } from './delegate.ts';
import type { CniResult } from './result.ts';

/** Has the plugin `portmap` map the host's ports to the pod that `result` tells of. What an ADD that fails has mapped already is taken back, too. */
export function portMapStep(portmap: Pick<Delegate, 'call'>, result: () => CniResult): Step {
  const undo = async (): Promise<void> => {
    await portmap.call('DEL', { prevResult: result() });
  };
  return {
    what: 'map ports',
    apply: async () => {
      try {
        await portmap.call('ADD', { prevResult: result() });
      } catch (error) {
        // The failure that counts is the first one.
        await undo().catch(() => {});
        throw error;
      }
    },
    undo,
  };
}
