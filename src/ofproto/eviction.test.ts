import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { parseSubfield } from '../openflow/field-text.ts';
import type { Bridge } from './bridge.ts';
import { allRules } from './flow-stats.ts';
import type { TableSettings } from './oftable.ts';

describe('a full flow table', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1']);
    br0.setFailMode('secure');
  });
  afterEach(() => rig.close());

  const configure = (s: TableSettings) => br0.configureTables(new Map([[0, s]]));
  const add = (text: string) => rig.flow(br0, `${text} actions=drop`);
  const priorities = () => [...br0.flowTables.collect(allRules())].map((r) => r.priority).sort((a, b) => a - b);

  it('refuses more flows, but not changes of those that are there', () => {
    configure({ maxFlows: 2 });
    assert.deepEqual(
      [add('priority=1'), add('priority=2'), add('priority=3')],
      [undefined, undefined, 'OFPFMFC_TABLE_FULL'],
    );
    assert.equal(rig.flow(br0, 'priority=2 actions=output:1'), undefined);
    assert.deepEqual(priorities(), [1, 2]);
  });

  it('gives up what expires first, and never what is permanent', () => {
    configure({ maxFlows: 3, evict: true });
    add('priority=1,hard_timeout=50');
    add('priority=2,idle_timeout=20');
    add('priority=3');
    assert.equal(add('priority=4'), undefined);
    assert.deepEqual(priorities(), [1, 3, 4]);
    assert.equal(add('priority=5'), undefined);
    assert.deepEqual(priorities(), [3, 4, 5]);
    assert.equal(add('priority=6'), 'OFPFMFC_TABLE_FULL');
  });

  it('gives up what is unimportant before it looks at the time', () => {
    configure({ maxFlows: 2, evict: true });
    add('priority=1,hard_timeout=10,importance=2');
    add('priority=2,hard_timeout=9000,importance=1');
    add('priority=3,hard_timeout=100,importance=3');
    assert.deepEqual(priorities(), [1, 3]);
  });

  it('takes from the largest group of flows that agree in some fields', () => {
    configure({ maxFlows: 4, evict: true, evictionFields: [parseSubfield('in_port')] });
    add('priority=1,in_port=1,hard_timeout=10');
    for (const p of [2, 3, 4]) add(`priority=${p},in_port=2,hard_timeout=${p}00`);
    add('priority=5,in_port=3,hard_timeout=900');
    assert.deepEqual(priorities(), [1, 3, 4, 5]);
  });

  it('shrinks to a new limit, by what is used least', () => {
    for (const p of [1, 2, 3]) add(`priority=${p},idle_timeout=${10 * p}`);
    configure({ maxFlows: 1, evict: true });
    assert.deepEqual(priorities(), [3]);
    configure({ maxFlows: 1 });
    assert.equal(add('priority=9'), 'OFPFMFC_TABLE_FULL');
  });

  it('tells each crossing of its vacancy thresholds once', () => {
    const [table] = br0.tables;
    configure({ maxFlows: 10 });
    table.modify({
      type: 'table_mod',
      tableId: 0,
      miss: 'default',
      vacancy: true,
      tableVacancy: { vacancyDown: 30, vacancyUp: 60, vacancy: 0 },
    });
    const events: (string | undefined)[] = [];
    for (let i = 1; i <= 9; i++) {
      add(`priority=${i}`);
      events.push(table.takeVacancyEvent());
    }
    rig.flow(br0, '', 'delete');
    // The tables themselves have taken each event when it came.
    assert.deepEqual(new Set(events), new Set([undefined]));
    assert.deepEqual(table.desc().tableVacancy, { vacancyDown: 30, vacancyUp: 60, vacancy: 100 });
    assert.equal(table.vacancyEvent, 'vacancy_down');
  });

  it('is called as the database says, else as a controller says', () => {
    const [table] = br0.tables;
    table.setName('of', 1);
    assert.equal(table.name, 'of');
    configure({ name: 'db' });
    assert.deepEqual([table.name, table.mayName('of', 1), table.mayName('db', 1)], ['db', false, true]);
    table.setName('of', 1);
    assert.equal(table.name, 'db');
    configure({});
    assert.deepEqual([table.name, table.mayName('of', 1)], ['table0', true]);
  });
});
