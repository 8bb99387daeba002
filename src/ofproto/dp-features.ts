import { dpSupport } from './xlate/support.ts';
import type { DpSupport } from './xlate/types.ts';

/** What translation may use of a datapath: all that it can do, but for what somebody has turned off (`dpif/set-dp-features`). */

type Value = boolean | number;

/** Names on the command line, and in `dpif/show-dp-features`. */
const FIELDS: readonly (readonly [name: string, title: string])[] = [
  ['masked_set_action', 'Masked set action'],
  ['tnl_push_pop', 'Tunnel push pop'],
  ['ufid', 'Ufid'],
  ['trunc', 'Truncate action'],
  ['clone', 'Clone action'],
  ['sample_nesting', 'Sample nesting'],
  ['ct_eventmask', 'Conntrack eventmask'],
  ['ct_clear', 'Conntrack clear'],
  ['max_hash_alg', 'Max dp_hash algorithm'],
  ['check_pkt_len', 'Check pkt length action'],
  ['ct_timeout', 'Conntrack timeout policy'],
  ['explicit_drop_action', 'Explicit Drop action'],
  ['lb_output_action', 'Optimized Balance TCP mode'],
  ['ct_zero_snat', 'Conntrack all-zero IP SNAT'],
  ['add_mpls', 'MPLS Label add'],
  ['max_vlan_headers', 'Max VLAN headers'],
  ['max_mpls_depth', 'Max MPLS depth'],
  ['recirc', 'Recirc'],
  ['ct_state', 'CT state'],
  ['ct_zone', 'CT zone'],
  ['ct_mark', 'CT mark'],
  ['ct_label', 'CT label'],
  ['ct_state_nat', 'CT state NAT'],
  ['ct_orig_tuple', 'CT orig tuple'],
  ['ct_orig_tuple6', 'CT orig tuple for IPv6'],
  ['nd_ext', 'IPv6 ND Extension'],
];

export class DpFeatures {
  readonly #boot: () => ReadonlyMap<string, Value>;
  /** By title. */
  readonly #run = new Map<string, Value>();
  #support: DpSupport | undefined;

  /** `boot`: what the datapath can do. */
  constructor(boot: () => ReadonlyMap<string, Value>) {
    this.#boot = boot;
  }

  /** What translation may use. */
  get support(): DpSupport {
    this.#support ??= dpSupport(new Map([...this.#boot(), ...this.#run]));
    return this.#support;
  }

  /** What is so now; without a name, of all. */
  show(name?: string): string {
    const fields = name === undefined ? FIELDS : FIELDS.filter(([n]) => n === name);
    if (fields.length === 0) return 'Unexpected support field';
    return fields
      .map(([n, title]) => {
        const boot = this.#boot().get(title) ?? false;
        return `${n} (${title}) : [run time]:${this.#run.get(title) ?? boot}, [boot time]:${boot}\n`;
      })
      .join('');
  }

  /** Why `value` can't be set, or '' when it is. */
  set(name: string, value: string): string {
    const title = FIELDS.find(([n]) => n === name)?.[1];
    if (!title) return 'Unexpected support field';
    const boot = this.#boot().get(title) ?? false;
    const wanted = typeof boot === 'number' ? numberOf(value, boot) : booleanOf(value, boot);
    if (typeof wanted === 'string') return wanted;
    this.#run.set(title, wanted);
    this.#support = undefined;
    return '';
  }
}

function numberOf(value: string, most: number): number | string {
  if (!/^\s*[+-]?\d+$/.test(value)) return 'Integer number expected';
  const n = Number(value);
  if (n < 0) return 'Negative number not expected';
  return n <= most ? n : 'Can not set value beyond the datapath capability';
}

function booleanOf(value: string, can: boolean): boolean | string {
  const word = value.toLowerCase();
  if (word === 'false') return false;
  if (word !== 'true') return 'Boolean value expected';
  return can ? true : 'Can not enable features not supported by the datapth';
}
