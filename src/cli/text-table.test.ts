import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ColumnType } from '../ovsdb/type.ts';
import type { TableStyle, TextTable } from './text-table.ts';
import { defaultTableStyle, prettyText, TablePrinter } from './text-table.ts';

const strings: ColumnType = { key: { type: 'string' }, value: null, min: 0, max: Infinity };
const UUID = '12345678-1234-4234-8234-123456789abc';

const TABLE: TextTable = {
  caption: 'T table',
  headings: ['_uuid', 'name', 'set'],
  rows: [
    [UUID, 'a&b', { json: ['set', ['x', 'y z']], type: strings }],
    [UUID, 'a,"b"', ''],
  ],
};

function format(style: Partial<TableStyle>): string {
  return new TablePrinter({ ...defaultTableStyle(), ...style }).format(TABLE);
}

describe('table formats', () => {
  it('table', () => {
    assert.equal(
      format({ format: 'table' }),
      `T table
_uuid                                name  set
------------------------------------ ----- ----------
${UUID} a&b   [x, "y z"]
${UUID} a,"b"
`,
    );
    assert.match(format({ format: 'table', maxColumnWidth: 8, headings: false }), /^12345678 a&b {3}\[x, "y z$/m);
  });

  it('list, bare', () => {
    assert.equal(format({ headings: false, cells: 'bare' }), `T table\n${UUID}\na&b\nx y z\n\n${UUID}\na,"b"\n\n`);
  });

  it('csv', () => {
    assert.equal(format({ format: 'csv' }).split('\n')[2], `${UUID},a&b,"[x, ""y z""]"`);
  });

  it('html: uuids are links', () => {
    const text = format({ format: 'html' });
    assert.ok(text.includes(`    <td><a name="${UUID}">12345678</a></td>\n    <td>a&amp;b</td>\n`));
  });

  it('json', () => {
    const text = format({ format: 'json' });
    assert.equal(
      text,
      `{"caption":"T table","data":[["${UUID}","a&b",["set",["x","y z"]]],["${UUID}","a,\\"b\\"",""]],"headings":["_uuid","name","set"]}\n`,
    );
    assert.equal(prettyText({ b: [], a: [1, {}] }), '{\n  "a": [\n    1,\n    {\n      }],\n  "b": []}');
  });

  it('an empty line stands between two tables', () => {
    const printer = new TablePrinter({ ...defaultTableStyle(), format: 'csv' });
    const table: TextTable = { headings: ['a'], rows: [] };
    assert.equal(printer.format(table) + printer.format(table), 'a\n\na\n');
  });
});
