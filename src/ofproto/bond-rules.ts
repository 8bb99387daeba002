import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';
import { BOND_BUCKETS, type BondPort } from './bond.ts';
import type { FlowTables } from './flow-tables.ts';
import { TBL_INTERNAL } from './oftable.ts';
import { OFPP_NONE } from './ports.ts';
import type { FrozenState } from './recirc.ts';
import { Rule } from './rule.ts';
import type { XBridge } from './xlate/types.ts';

/**
 * How packets of a balanced bond find their member after recirculation: rules of the internal table, one for each value of the low 8 bits
 * of the datapath's hash. Their counters are the load of the buckets.
 */

const RECIRC_RULE_PRIORITY = 20;

/** Where recirculated packets of a bond go on: with a lookup in the internal table. */
export function bondFrozenState(bridge: XBridge): FrozenState {
  const metadata = new Flow();
  metadata.inPort = OFPP_NONE;
  return {
    tableId: TBL_INTERNAL,
    bridge,
    metadata,
    stack: [],
    mirrors: 0,
    conntracked: false,
    wasMpls: false,
    xport: undefined,
    actions: [],
    actionSet: [],
    userdata: undefined,
  };
}

function bucketMatch(recircId: number, bucket: number): Match {
  const flow = new Flow();
  const wc = new FlowWildcards();
  [flow.recircId, wc.recircId] = [recircId, 0xffffffff];
  [flow.dpHash, wc.dpHash] = [bucket, BOND_BUCKETS - 1];
  return { flow, wc };
}

export class BondRules {
  readonly #tables: FlowTables;
  readonly #nowMs: () => number;
  readonly #rules = new Map<number, (Rule | undefined)[]>();

  constructor(tables: FlowTables, nowMs: () => number) {
    this.#tables = tables;
    this.#nowMs = nowMs;
  }

  /** Bucket `i` leaves by `ports[i]`; undefined: all rules go. Rules that stay keep their counters. */
  set(recircId: number, ports: readonly (BondPort | undefined)[] | undefined): void {
    const rules = this.#rules.get(recircId) ?? [];
    for (let i = 0; i < BOND_BUCKETS; i++) {
      const port = ports?.[i]?.ofpPort;
      const old = rules[i];
      const action = old?.actions[0];
      if (port !== undefined && action?.type === 'output' && action.port === port) continue;
      if (old) this.#tables.removeHidden(old);
      rules[i] = port === undefined ? undefined : this.#add(recircId, i, port, old);
    }
    if (ports) this.#rules.set(recircId, rules);
    else this.#rules.delete(recircId);
  }

  #add(recircId: number, bucket: number, port: BondPort['ofpPort'], old: Rule | undefined): Rule {
    const actions = [{ type: 'output' as const, port, maxLen: 0 }];
    const spec = {
      tableId: TBL_INTERNAL,
      cookie: 0n,
      idleTimeout: 0,
      hardTimeout: 0,
      importance: 0,
      flags: 0,
      actions,
    };
    const rule = new Rule(RECIRC_RULE_PRIORITY, spec, this.#nowMs(), true);
    if (old) {
      [rule.packets, rule.bytes, rule.usedMs] = [old.packets, old.bytes, old.usedMs];
      old.successor = rule;
    }
    this.#tables.addHidden(rule, bucketMatch(recircId, bucket));
    return rule;
  }

  /** Bytes that each bucket has sent. */
  bytes(recircId: number): number[] {
    return (this.#rules.get(recircId) ?? []).map((rule) => rule?.bytes ?? 0);
  }
}
