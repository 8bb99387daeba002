import { Classifier, ClsView } from '../flow/classifier.ts';
import type { FlowMemberName } from '../gen/flow.ts';
import type { Subfield } from '../openflow/actions.ts';
import type { TableMiss } from '../openflow/messages.ts';
import {
  type TableDesc,
  type TableMod,
  type TableStatusReason,
  TMPEF_IMPORTANCE,
  TMPEF_LIFETIME,
  TMPEF_OTHER,
} from '../openflow/messages-table.ts';
import { EvictionGroups } from './eviction.ts';
import type { Rule } from './rule.ts';

/** Tables 0 to 253 are OpenFlow's; the last one holds the switch's own rules. */
export const N_TABLES = 255;
export const TBL_INTERNAL = 254;

/** The only value of OpenFlow's eviction flags here (`OFPTMPEF14_*`). */
export const EVICTION_FLAGS = TMPEF_OTHER | TMPEF_IMPORTANCE | TMPEF_LIFETIME;
/** Longest name of a table. */
const MAX_NAME = 32;

/** Settings of a row of Flow_Table. */
export interface TableSettings {
  name?: string | undefined;
  /** Undefined: no limit. */
  maxFlows?: number | undefined;
  /** `prefixes`; undefined: the default. */
  prefixes?: readonly FlowMemberName[] | undefined;
  /** overflow_policy is "evict". */
  evict?: boolean;
  /** `groups`. */
  evictionFields?: readonly Subfield[];
}

const DEFAULT_PREFIXES: readonly FlowMemberName[] = ['nw_dst', 'nw_src'];
const UINT32_MAX = 0xffffffff;

/** Who asked for eviction. */
const BY_DATABASE = 1;
const BY_OPENFLOW = 2;

/** One flow table of a bridge. */
export class OfTable {
  readonly id: number;
  readonly cls: Classifier<Rule>;
  missConfig: TableMiss = 'default';
  matched = 0;
  missed = 0;
  /** Flows in it that the switch itself put there. */
  hidden = 0;
  /** Flows after the change under way, the hidden ones among them. */
  nFlows = 0;
  maxFlows = UINT32_MAX;
  #name = '';
  /** 0: none, 1: given by OpenFlow, 2: by the database. */
  #nameLevel = 0;
  #evictBy = 0;
  eviction: EvictionGroups | undefined;
  /** Thresholds in percent of free space; an event is told when that leaves the range in this direction. */
  vacancyDown = 0;
  vacancyUp = 0;
  vacancyEvent: TableStatusReason | undefined;
  #prefixes = DEFAULT_PREFIXES;

  constructor(id: number, view = new ClsView()) {
    this.id = id;
    this.cls = new Classifier<Rule>(DEFAULT_PREFIXES, view);
  }

  /** Flows that a controller sees. */
  get activeCount(): number {
    return this.nFlows - this.hidden;
  }

  /** As OpenFlow shows it. */
  get name(): string {
    return this.#name || `table${this.id}`;
  }

  /** Empty when it has none. */
  get givenName(): string {
    return this.#name;
  }

  get evictsByOpenflow(): boolean {
    return (this.#evictBy & BY_OPENFLOW) !== 0;
  }

  /** Of two givers the higher level wins; undefined takes back what that level has given. */
  setName(name: string | undefined, level: 1 | 2): void {
    if (level < this.#nameLevel) return;
    if (name !== undefined) {
      this.#name = name.slice(0, MAX_NAME);
      this.#nameLevel = level;
    } else if (this.#nameLevel === level) {
      this.#name = '';
      this.#nameLevel = 0;
    }
  }

  mayName(name: string, level: 1 | 2): boolean {
    return level >= this.#nameLevel || !this.#name || this.#name === name.slice(0, MAX_NAME);
  }

  /** Settings of the database. The caller evicts what is too much afterwards. True when lookups may look at other bits. */
  configure(s: TableSettings): boolean {
    this.setName(s.name, 2);
    this.#setEviction(s.evict ? this.#evictBy | BY_DATABASE : this.#evictBy & ~BY_DATABASE, s.evictionFields ?? []);
    this.maxFlows = s.maxFlows ?? UINT32_MAX;
    const prefixes = s.prefixes ?? DEFAULT_PREFIXES;
    if (prefixes.join() === this.#prefixes.join()) return false;
    this.#prefixes = prefixes;
    this.cls.setPrefixes(prefixes);
    return true;
  }

  #setEviction(by: number, fields: readonly Subfield[]): void {
    const same = (this.#evictBy !== 0) === (by !== 0) && sameFields(fields, this.eviction?.fields ?? []);
    this.#evictBy = by;
    if (same) return;
    if (this.eviction) for (const rule of this.cls.rules()) this.eviction.remove(rule);
    this.eviction = by ? new EvictionGroups(fields) : undefined;
    if (this.eviction) for (const rule of this.cls.rules()) if (!rule.hidden && !rule.removed) this.eviction.add(rule);
  }

  /** What a table-mod says of it. */
  modify(m: TableMod): void {
    if (m.miss !== 'default') this.missConfig = m.miss;
    if (m.eviction !== undefined)
      this.#setEviction(
        m.eviction ? this.#evictBy | BY_OPENFLOW : this.#evictBy & ~BY_OPENFLOW,
        this.eviction?.fields ?? [],
      );
    if (m.vacancy === undefined) return;
    this.vacancyDown = m.tableVacancy?.vacancyDown ?? 0;
    this.vacancyUp = m.tableVacancy?.vacancyUp ?? 0;
    if (!m.vacancy) this.vacancyEvent = undefined;
    else this.vacancyEvent ??= this.vacancy < this.vacancyUp ? 'vacancy_up' : 'vacancy_down';
  }

  /** Free space in percent. */
  get vacancy(): number {
    if (this.maxFlows === 0) return 100;
    return Math.max(0, Math.floor(((this.maxFlows - this.nFlows) * 100) / this.maxFlows));
  }

  /** The event that has come about since the last one, if any. */
  takeVacancyEvent(): TableStatusReason | undefined {
    if (!this.vacancyEvent) return undefined;
    const { vacancy } = this;
    const event = vacancy < this.vacancyDown ? 'vacancy_down' : vacancy > this.vacancyUp ? 'vacancy_up' : undefined;
    if (event !== this.vacancyEvent) return undefined;
    this.vacancyEvent = event === 'vacancy_down' ? 'vacancy_up' : 'vacancy_down';
    return event;
  }

  desc(): TableDesc {
    const vacancy = this.vacancyEvent !== undefined;
    return {
      tableId: this.id,
      eviction: this.evictsByOpenflow,
      evictionFlags: EVICTION_FLAGS,
      vacancy,
      tableVacancy: { vacancyDown: this.vacancyDown, vacancyUp: this.vacancyUp, vacancy: this.vacancy },
    };
  }
}

function sameFields(a: readonly Subfield[], b: readonly Subfield[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((sf, i) => sf.field === b[i].field && sf.ofs === b[i].ofs && sf.nBits === b[i].nBits);
}
