import type { DpSupport } from './types.ts';

/** What the datapath says of itself (`dpif/show-dp-features`), as translation asks for it. A feature that is not named is there. */
export function dpSupport(features: ReadonlyMap<string, boolean | number>): DpSupport {
  const has = (name: string): boolean => features.get(name) !== false;
  const number = (name: string, otherwise: number): number => {
    const v = features.get(name);
    return typeof v === 'number' ? v : otherwise;
  };
  return {
    clone: has('Clone action'),
    sampleNesting: number('Sample nesting', 10),
    trunc: has('Truncate action'),
    ctClear: has('Conntrack clear'),
    ctEventmask: features.get('Conntrack eventmask') === true,
    ctTimeout: features.get('Conntrack timeout policy') === true,
    checkPktLen: has('Check pkt length action'),
    addMpls: has('MPLS Label add'),
    maxHashAlg: number('Max dp_hash algorithm', 1),
    explicitDrop: has('Explicit Drop action'),
    maskedSet: has('Masked set action'),
    tnlPushPop: features.get('Tunnel push pop') === true,
  };
}
