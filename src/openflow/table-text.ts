import { OFP11_VERSION, OFP12_VERSION, OFP13_VERSION, OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { FlowTextError } from './field-text.ts';
import type { TableMiss, TableMod, TableVacancy } from './messages-table.ts';
import { scanNumber } from './number-text.ts';
import { type PortNames, parseTable } from './port.ts';

/** What `mod-table` takes. Parsers throw FlowTextError. */

export interface ParsedTableMod {
  mod: TableMod;
  /** A new name for the table, which is no table-mod. */
  name: string | undefined;
  /** Bit n: wire version n can say it. */
  versions: number;
}

const bits = (...versions: number[]): number => versions.reduce((all, v) => all | (1 << v), 0);
const MISS_VERSIONS = bits(OFP11_VERSION, OFP12_VERSION);
const CONFIG_VERSIONS = bits(OFP14_VERSION, OFP15_VERSION);
const NAME_VERSIONS = bits(OFP13_VERSION, OFP14_VERSION, OFP15_VERSION);
const MISSES: readonly string[] = ['controller', 'continue', 'drop'] satisfies TableMiss[];
const LAST_TABLE = 0xfe;
const ALL_TABLES = 0xff;

export function parseTableMod(table: string, setting: string, names?: PortNames): ParsedTableMod {
  const tableId = table.toLowerCase() === 'all' ? ALL_TABLES : parseTable(table, names);
  if (tableId === undefined) throw new FlowTextError(`unknown table "${table}"`);
  const mod: TableMod = { type: 'table_mod', tableId, miss: 'default' };
  const config = (change: Partial<TableMod>) => ({
    mod: { ...mod, ...change },
    name: undefined,
    versions: CONFIG_VERSIONS,
  });
  if (MISSES.includes(setting)) {
    const miss = setting as TableMiss;
    if (tableId === LAST_TABLE && miss === 'continue')
      throw new FlowTextError("last table's flow miss handling can not be continue");
    return { mod: { ...mod, miss }, name: undefined, versions: MISS_VERSIONS };
  }
  if (setting === 'evict' || setting === 'noevict') return config({ eviction: setting === 'evict' });
  if ('vacancy'.startsWith(setting.replace(/:.*$/s, '')))
    return config({ vacancy: true, tableVacancy: parseVacancy(setting) });
  if (setting === 'novacancy') return config({ vacancy: false });
  if (tableId !== ALL_TABLES && setting.startsWith('name:'))
    return { mod, name: setting.slice('name:'.length), versions: NAME_VERSIONS };
  throw new FlowTextError(`invalid table_mod setting ${setting}`);
}

/** `vacancy:down,up` in percent. */
function parseVacancy(setting: string): TableVacancy {
  const [, down, up] = /^[^:]*(?::([^,]*)(?:,+([^,]*))?)?/.exec(setting)!;
  const vacancyDown = percent(down, 'down');
  const vacancyUp = percent(up, 'up');
  if (vacancyDown > vacancyUp) {
    throw new FlowTextError('Invalid vacancy range, vacancy up should be greater than vacancy down (OFPBPC_BAD_VALUE)');
  }
  return { vacancyDown, vacancyUp, vacancy: 0 };
}

function percent(s: string | undefined, which: string): number {
  if (!s) throw new FlowTextError(`Vacancy ${which} value missing`);
  const x = scanNumber(s);
  if (!x || x.tail || x.n < 0n || x.n > 100n) throw new FlowTextError(`Invalid vacancy ${which} value "${s}"`);
  return Number(x.n);
}
