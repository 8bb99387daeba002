import type { Ofpact } from './actions.ts';
import type { FieldSet } from './field.ts';

/** Flow tables: configuration, description, features, statistics, status. */

/** Miss behaviour of a table, OpenFlow 1.1 and 1.2; `default` is what the version has. */
export type TableMiss = 'default' | 'controller' | 'continue' | 'drop';

/** `OFPTMPEF14_*`. */
export const TMPEF_OTHER = 1 << 0;
export const TMPEF_IMPORTANCE = 1 << 1;
export const TMPEF_LIFETIME = 1 << 2;

/** Thresholds in percent of free space. `vacancy` is the present state; 0 in a table-mod. */
export interface TableVacancy {
  vacancyDown: number;
  vacancyUp: number;
  vacancy: number;
}

export interface TableMod {
  type: 'table_mod';
  /** 255: all. */
  tableId: number;
  /** OpenFlow 1.1 and 1.2; otherwise `default`. */
  miss: TableMiss;
  /** OpenFlow 1.4+; undefined: not said. */
  eviction?: boolean;
  /** `TMPEF_*`. */
  evictionFlags?: number;
  vacancy?: boolean;
  tableVacancy?: TableVacancy;
}

/** OpenFlow 1.4+. */
export interface TableDesc {
  tableId: number;
  eviction: boolean;
  /** `TMPEF_*`. */
  evictionFlags?: number;
  vacancy: boolean;
  tableVacancy?: TableVacancy;
}

export interface TableActionFeatures {
  ofpacts: ReadonlySet<Ofpact['type']>;
  setFields: FieldSet;
}
export interface TableInstructionFeatures {
  /** Bit n: goto_table may go to table n. */
  next: ReadonlySet<number>;
  /** Instruction numbers: goto_table 1, write_metadata 2, write_actions 3, apply_actions 4, clear_actions 5, meter 6. */
  instructions: ReadonlySet<number>;
  write: TableActionFeatures;
  apply: TableActionFeatures;
}
/** `OFPTFC15_*`: what a request wants; before OpenFlow 1.5 it is `replace`. */
export type TableFeaturesCommand = 'replace' | 'modify' | 'enable' | 'disable';
export interface TableFeatures {
  command?: TableFeaturesCommand;
  tableId: number;
  name: string;
  metadataMatch: bigint;
  metadataWrite: bigint;
  maxEntries: number;
  /** Decoding: properties were given; a request without any changes none. */
  anyProperties?: boolean;
  missConfig: TableMiss;
  /** OpenFlow 1.4+; undefined: the version does not say. */
  supportsEviction?: boolean;
  supportsVacancyEvents?: boolean;
  nonmiss: TableInstructionFeatures;
  miss: TableInstructionFeatures;
  match: FieldSet;
  mask: FieldSet;
  wildcard: FieldSet;
}

export interface TableStats {
  tableId: number;
  activeCount: number;
  /** UINT64_MAX: unknown. */
  lookupCount: bigint;
  matchedCount: bigint;
}

export type TableStatusReason = 'vacancy_down' | 'vacancy_up';

export type TableMessage =
  | TableMod
  | { type: 'table_stats_request' }
  /** `features` has the same tables in the same order (OpenFlow 1.0–1.2 show some of it; undefined with 1.3+). */
  | { type: 'table_stats_reply'; tables: TableStats[]; features?: TableFeatures[]; more: boolean }
  /** Without tables it asks for what they are, else it sets them. `more`: the request has other parts. */
  | { type: 'table_features_stats_request'; tables: TableFeatures[]; more?: boolean }
  | { type: 'table_features_stats_reply'; tables: TableFeatures[]; more: boolean }
  | { type: 'table_desc_request' }
  | { type: 'table_desc_reply'; tables: TableDesc[]; more: boolean }
  | { type: 'table_status'; reason: TableStatusReason; desc: TableDesc };
