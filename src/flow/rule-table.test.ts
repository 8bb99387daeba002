import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClsRule } from './classifier.ts';
import { RuleTable } from './rule-table.ts';

const rule = (hash: number, ...values: number[]): ClsRule => Object.assign(new ClsRule(0), { hash, values });

test('heads are found by hash and values, through collisions and growth', () => {
  const table = new RuleTable<ClsRule>();
  // Hashes that meet in a bucket, and some that are equal.
  const rules = Array.from({ length: 500 }, (_, i) => rule((i >> 1) * 64, i));
  for (const r of rules) table.addHead(r);
  for (const r of rules) assert.equal(table.find(r.hash, r.values), r);
  assert.equal(table.find(0, [7]), undefined);
  assert.equal(table.find(1, [0]), undefined);
});

test('a head is replaced by another rule, or by nothing', () => {
  const table = new RuleTable<ClsRule>();
  const rules = Array.from({ length: 9 }, (_, i) => rule(4, i));
  for (const r of rules) table.addHead(r);
  const other = rule(4, 3);
  table.replaceHead(rules[3], other);
  table.replaceHead(rules[8], undefined);
  table.replaceHead(rules[0], undefined);
  assert.equal(table.find(4, [3]), other);
  assert.equal(table.find(4, [8]), undefined);
  assert.equal(table.find(4, [0]), undefined);
  for (const i of [1, 2, 4, 5, 6, 7]) assert.equal(table.find(4, [i]), rules[i]);
});

test('the list is in the order in which rules came', () => {
  const table = new RuleTable<ClsRule>();
  const rules = Array.from({ length: 5 }, (_, i) => rule(i, i));
  for (const r of rules) table.append(r);
  const before = table.list();
  for (const i of [0, 2, 4]) table.takeOff(rules[i]);
  assert.deepEqual(table.list(), [rules[1], rules[3]]);
  assert.equal(table.size, 2);
  table.append(rules[0]);
  assert.deepEqual(table.list(), [rules[1], rules[3], rules[0]]);
  assert.deepEqual([...table.rules()], table.list());
  assert.deepEqual(before, rules);
});

test('the list keeps its order through holes and their closing', () => {
  const table = new RuleTable<ClsRule>();
  const rules = Array.from({ length: 300 }, (_, i) => rule(i, i));
  for (const r of rules) table.append(r);
  const left = new Set(rules);
  // In no order, down to nothing, with one put back now and then.
  for (let i = 0; i < 300; i++) {
    const r = rules[(i * 7) % 300];
    table.takeOff(r);
    left.delete(r);
    if (i % 50 === 49) {
      table.append(r);
      left.add(r);
    }
    assert.equal(table.size, left.size);
    assert.deepEqual(table.list(), [...left]);
    assert.deepEqual([...table.rules()], [...left]);
  }
});
