import { Classifier } from '../flow/classifier.ts';
import type { TableMiss } from '../openflow/messages.ts';
import type { Rule } from './rule.ts';

/** Tables 0 to 253 are OpenFlow's; the last one holds the switch's own rules. */
export const N_TABLES = 255;
export const TBL_INTERNAL = 254;

/** One flow table of a bridge. */
export class OfTable {
  readonly id: number;
  readonly cls = new Classifier<Rule>();
  missConfig: TableMiss = 'default';
  matched = 0;
  missed = 0;
  /** Flows in it that the switch itself put there. */
  hidden = 0;

  constructor(id: number) {
    this.id = id;
  }

  /** Flows that a controller sees. */
  get activeCount(): number {
    return this.cls.size - this.hidden;
  }

  get name(): string {
    return `table${this.id}`;
  }
}
