import { datumToString, isDefaultDatum } from '../../ovsdb/datum.ts';
import type { CtlCommand } from './command.ts';
import type { Row } from './model.ts';

/** `show`: the configuration as a tree. For each table the column that names its records and those that are told. */

interface Shown {
  readonly name?: string;
  readonly columns: readonly string[];
}

const SHOWN: Readonly<Record<string, Shown>> = {
  Open_vSwitch: { columns: ['manager_options', 'bridges', 'ovs_version'] },
  Bridge: { name: 'name', columns: ['controller', 'fail_mode', 'datapath_type', 'ports'] },
  Port: { name: 'name', columns: ['tag', 'trunks', 'interfaces'] },
  Interface: { name: 'name', columns: ['type', 'options', 'error', 'bfd_status'] },
  Controller: { name: 'target', columns: ['is_connected'] },
  Manager: { name: 'target', columns: ['is_connected'] },
};

const indent = (level: number) => ' '.repeat(4 * level);

function valueText(row: Row, name: string): string {
  return datumToString(row.read(name), row.column(name).type);
}

/** `above` are the tables of the records around it: none is told within itself. */
function showRow(row: Row, level: number, above: readonly string[]): string {
  const { name: table } = row.table;
  const shown = SHOWN[table]!;
  const title = shown.name === undefined ? row.uuid : `${table} ${valueText(row, shown.name)}`;
  let text = `${indent(level)}${title}\n`;
  if (above.includes(table)) return text;
  for (const name of shown.columns) {
    const { type } = row.column(name);
    if (type.key.refTable !== undefined && SHOWN[type.key.refTable]) {
      for (const target of row.refs(name)) text += showRow(target, level + 1, [...above, table]);
    } else if (!isDefaultDatum(row.read(name), type)) {
      text += `${indent(level + 1)}${name}: ${valueText(row, name)}\n`;
    }
  }
  return text;
}

export const SHOW_COMMAND: CtlCommand = {
  name: 'show',
  minArgs: 0,
  maxArgs: 0,
  args: '',
  options: '',
  writes: false,
  prepare: ({ db }) => {
    for (const [table, { name, columns }] of Object.entries(SHOWN)) {
      db.fetch(table, ...columns, ...(name === undefined ? [] : [name]));
    }
  },
  run: ({ db }) =>
    db
      .table('Open_vSwitch')
      .rows()
      .map((row) => showRow(row, 0, []))
      .join(''),
};
