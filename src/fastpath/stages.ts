/** The fast path with its stages as exports of their own, for `bench/micro/lookup.ts`. Each takes the batch as the stage before left it. */
import { flushOutputs } from './output';
import { runGroups } from './datapath';
import { dpclsPass, emcPass, groupByFlow, parseBatch, smcPass, startBatch } from './lookup';

export {
  countSpare,
  executeSpare,
  flowActions,
  flowHash,
  goOffline,
  goOnline,
  initThread,
  lookupSpare,
  prepareSpare,
  process,
  resetBatch,
  run,
} from './datapath';

export function stageExtract(count: u32, inPort: u32): void {
  startBatch(count);
  parseBatch(count, inPort);
}

/** This and the two that follow return how many packets they found a flow for. */
export function stageEmc(count: u32): u32 {
  return emcPass(count);
}

export function stageSmc(count: u32): u32 {
  return smcPass(count);
}

export function stageDpcls(count: u32): u32 {
  return dpclsPass(count);
}

/** Returns the number of groups. */
export function stageGroup(count: u32): u32 {
  return groupByFlow(count);
}

export function stageActions(nGroups: u32): void {
  runGroups(nGroups);
}

export function stageOutput(): void {
  flushOutputs();
}
