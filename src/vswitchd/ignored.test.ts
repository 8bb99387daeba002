import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vlog } from '../base/vlog.ts';
import { fakeSnapshot, oneBridge } from './fake-config.ts';
import { IgnoredSettings } from './ignored.ts';

vlog.setLevels('console:off');

test('what is asked for in vain is told once, and nothing else', () => {
  const tables = oneBridge(
    { p1: { bfd: new Map([['enable', 'true']]) }, p2: { cfm_mpid: null } },
    { stp_enable: true },
  );
  tables.Interface!['if-p2']!.lldp = new Map([['enable', 'false']]);
  const told: string[] = [];
  const ignored = new IgnoredSettings((text) => told.push(text));
  ignored.tell(fakeSnapshot(tables));
  ignored.tell(fakeSnapshot(tables));
  assert.deepEqual(told, [
    'bridge br0: stp_enable has no effect, this switch does not do the spanning tree protocol yet',
    'interface p1: bfd has no effect, this switch does not do BFD yet',
  ]);
  tables.Interface!['if-p2']!.cfm_mpid = 5;
  ignored.tell(fakeSnapshot(tables));
  assert.equal(told.at(-1), 'interface p2: cfm_mpid has no effect, this switch does not do CFM yet');
});
