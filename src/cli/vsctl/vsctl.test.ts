import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { schemaFromJson } from '../../ovsdb/schema.ts';
import { VSWITCH_SCHEMA } from '../../ovsdb/vswitch-schema.ts';
import { BridgeCache } from './cache.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { parseCommands } from './command.ts';
import { DB_COMMANDS } from './db-commands.ts';
import { escapeArguments } from './escape.ts';
import { composeTransaction, interpretReply, Model } from './model.ts';
import { PORT_COMMANDS } from './port-commands.ts';
import { findColumn, findTable, mustFindRow, parseColumnArgument } from './record.ts';
import { Symbols } from './symbols.ts';
import { commandsText } from './usage.ts';

const BR = '10000000-0000-4000-8000-000000000001';
const PORT = '20000000-0000-4000-8000-000000000001';
const OVS = '30000000-0000-4000-8000-000000000001';

const COMMANDS: ReadonlyMap<string, CtlCommand> = new Map(
  [...DB_COMMANDS, ...PORT_COMMANDS].map((command) => [command.name, command]),
);

/** A database with a bridge br0 that has a port p0. */
function fill(): Model {
  const db = new Model(schemaFromJson(VSWITCH_SCHEMA));
  for (const table of db.tables) for (const column of table.schema.columns) table.columns.add(column);
  db.update({
    Open_vSwitch: { [OVS]: { initial: { bridges: ['uuid', BR] } } },
    Bridge: { [BR]: { initial: { name: 'br0', ports: ['uuid', PORT] } } },
    Port: { [PORT]: { initial: { name: 'p0', tag: 5, other_config: ['map', [['a', 'b']]] } } },
  });
  return db;
}

/** Runs a command line without the program's name; returns the outputs. */
function run(db: Model, line: string): unknown[] {
  const calls = parseCommands(line.split(' '), new Map(), COMMANDS);
  const ovs = db.table('Open_vSwitch').rows()[0]!;
  const cache = new BridgeCache(db, ovs, { warn: () => {}, err: () => {} });
  const symbols = new Symbols();
  return calls.map(({ command, argv, options }, i) => {
    const isLast = i === calls.length - 1;
    const ctx: CtlContext = {
      argv,
      options,
      db,
      symbols,
      isLast,
      ovs,
      cache,
      warn: () => {},
      expectInterface: () => {},
    };
    return command.run?.(ctx);
  });
}

describe('names of tables, columns and records', () => {
  const db = fill();

  it('a beginning is enough, case and dashes do not count', () => {
    assert.equal(findTable(db, 'open-v').name, 'Open_vSwitch');
    assert.equal(findColumn(db.table('Port'), 'other-CONFIG').name, 'other_config');
    assert.throws(() => findTable(db, 's'), /"s" matches multiple table names: SSL, sFlow/);
    assert.throws(() => findColumn(db.table('Port'), 'bond'), /more than one column whose name matches "bond": bond_/);
  });

  it('a record is found by its name, its uuid or the beginning of it', () => {
    const table = db.table('Port');
    for (const word of ['p0', PORT, PORT.slice(0, 4)]) assert.equal(mustFindRow({ db }, table, word).uuid, PORT);
    assert.equal(mustFindRow({ db }, db.table('Open_vSwitch'), '.').uuid, OVS);
    assert.throws(() => mustFindRow({ db }, table, PORT.slice(0, 3)), /no row "200" in table Port/);
  });

  it('an argument is taken apart at the longest operator', () => {
    const { column, key, operator, value } = parseColumnArgument(db.table('Port'), 'ext:"a:b"{<=}c', [
      '{<}',
      '{<=}',
      '=',
    ]);
    assert.deepEqual([column.name, key, operator, value], ['external_ids', '"a:b"', '{<=}', 'c']);
    assert.throws(
      () => parseColumnArgument(db.table('Port'), 'tag', ['=']),
      /tag: argument does not end in "=" followed by a value/,
    );
  });
});

describe('transactions', () => {
  it('what is not changed is not sent', () => {
    const db = fill();
    run(db, 'set Port p0 tag=5 -- get Port p0 tag');
    assert.equal(composeTransaction(db).hasUpdates, false);
  });

  it('one key of a map in the last command goes as a mutation, so that others may change the rest', () => {
    const db = fill();
    run(db, 'set Port p0 other_config:a=c');
    assert.deepEqual(composeTransaction(db).operations, [
      {
        op: 'mutate',
        table: 'Port',
        where: [['_uuid', '==', ['uuid', PORT]]],
        mutations: [
          ['other_config', 'delete', ['set', ['a']]],
          ['other_config', 'insert', ['map', [['a', 'c']]]],
        ],
      },
    ]);
  });

  it('what was looked at must still be so', () => {
    const db = fill();
    run(db, 'remove Port p0 other_config a -- add Port p0 trunks 1');
    const [wait] = composeTransaction(db).operations;
    assert.deepEqual(wait, {
      op: 'wait',
      table: 'Port',
      timeout: 0,
      where: [['_uuid', '==', ['uuid', PORT]]],
      until: '==',
      columns: ['other_config'],
      rows: [{ other_config: ['map', [['a', 'b']]] }],
    });
  });

  it('later commands see what earlier ones did; afterwards all is as before', () => {
    const db = fill();
    const outputs = run(
      db,
      'add-port br0 p9 tag=7 -- get Port p9 tag -- list-ports br0 -- del-port p9 -- list-ports br0',
    );
    assert.deepEqual(outputs, [undefined, '7\n', 'p0\np9\n', undefined, 'p0\n']);
    db.rollBack();
    assert.equal(db.table('Port').rows().length, 1);
    assert.equal(composeTransaction(db).operations.length, 0);
  });

  it('a new row is called by a name wherever it is referred to, also in mutations', () => {
    const db = fill();
    run(db, 'add-port br0 p9 -- set Port p9 other_config:k=v');
    const { operations, inserted } = composeTransaction(db);
    const [uuid] = [...inserted.keys()].slice(-1);
    const name = `row${uuid!.replaceAll('-', '_')}`;
    const text = JSON.stringify(operations);
    assert.ok(text.includes(`["_uuid","==",["named-uuid","${name}"]]`));
    assert.ok(
      text.includes(`["uuid","${PORT}"],["named-uuid","${name}"]`) ||
        text.includes(`["named-uuid","${name}"],["uuid","${PORT}"]`),
    );
  });

  it('a row that nobody refers to is warned of, one that nobody made is an error', () => {
    const warnings: string[] = [];
    const symbols = new Symbols();
    symbols.create('@a', false);
    symbols.check((text) => warnings.push(text));
    assert.match(warnings[0]!, /"@a" was created but no reference to it was inserted/);
    symbols.refer('@b', { type: 'uuid', refTable: 'QoS', refType: 'strong' });
    assert.throws(() => symbols.check(() => {}), /"@b" is referenced but never created/);
  });

  it('replies: a wait that failed is tried again, a refusal is not', () => {
    assert.equal(interpretReply([{ error: 'timed out' }, null]).kind, 'try again');
    assert.equal(interpretReply([{}, { error: 'constraint violation', details: 'x' }]).kind, 'error');
    assert.equal(interpretReply([{}, { error: 'aborted' }]).kind, 'success');
  });
});

describe('command lines', () => {
  it('options belong to the command that follows', () => {
    const calls = parseCommands(['--if-exists', 'del-port', 'p', '--', 'list-ports', 'b'], new Map(), COMMANDS);
    assert.deepEqual(
      calls.map(({ argv, options }) => [argv, [...options.keys()]]),
      [
        [['del-port', 'p'], ['--if-exists']],
        [['list-ports', 'b'], []],
      ],
    );
  });

  it('what is wrong with them', () => {
    const parse =
      (...words: string[]) =>
      () =>
        parseCommands(words, new Map(), COMMANDS);
    assert.throws(parse('nonesuch'), /unknown command 'nonesuch'; use --help for help/);
    assert.throws(parse('--bogus', 'get', 'a', 'b'), /'get' command has no '--bogus' option/);
    assert.throws(parse('--id', 'get', 'a', 'b'), /missing argument to '--id' option on 'get' command/);
    assert.throws(
      parse('list-ports', 'b', '--x'),
      /takes at most 1 arguments \(note that options must precede command names/,
    );
    assert.throws(parse('--if-exists'), /missing command name/);
  });

  it('words are quoted for the log where a shell would split them', () => {
    assert.equal(escapeArguments(['set', 'a b', 'c"d']), 'set "a b" "c\\"d"');
  });

  it('the words for completion say how many there may be', () => {
    const lines = commandsText(COMMANDS.values()).split('\n');
    assert.ok(lines.includes('[--may-exist] ,add-port,!BRIDGE !NEW-PORT *COLUMN?:KEY=VALUE'));
  });
});
