import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decode, type EncodeOptions, encode } from './codec.ts';
import { formatActions, formatMatch, parseFlow } from './flow-text.ts';
import type { FlowMod } from './messages.ts';

/** Flows, and what the real ovs-ofctl makes of them: test/golden/openflow-actions/capture.ts. */
const GOLDEN = new URL('../../test/golden/openflow-actions/', import.meta.url);

interface Recorded {
  flow: string;
  wire: Buffer;
  printed: string;
}

function recorded(name: string): Recorded[] {
  const lines = readFileSync(new URL(`${name}.txt`, GOLDEN), 'utf8').split('\n');
  const out: Recorded[] = [];
  for (let i = 0; i + 2 < lines.length; i += 3)
    out.push({ flow: lines[i], wire: Buffer.from(lines[i + 1].trim(), 'hex'), printed: lines[i + 2].trim() });
  return out;
}

const FORMATS: readonly (readonly [name: string, version: number, options: EncodeOptions])[] = [
  ['openflow10', 1, { flowModTableId: true }],
  ['nxm', 1, { nxm: true, flowModTableId: true }],
  ['openflow11', 2, {}],
  ['openflow12', 3, {}],
  ['openflow13', 4, {}],
  ['openflow14', 5, {}],
  ['openflow15', 6, {}],
];

function decoded(wire: Buffer, flowModTableId: boolean): FlowMod {
  const result = decode(wire, { flowModTableId });
  assert.ok(result.ok, wire.toString('hex'));
  const { message } = result.value;
  assert.ok(message.type === 'flow_mod');
  return message;
}

for (const [name, version, options] of FORMATS) {
  test(`flows are the bytes and the text of the real ovs-ofctl: ${name}`, () => {
    const cases = recorded(name);
    assert.ok(cases.length > 50);
    for (const { flow, wire, printed } of cases) {
      const fm = parseFlow(flow).fm;
      const bytes = Buffer.from(encode(fm, version, 0, options)[0]);
      assert.equal(bytes.toString('hex'), wire.toString('hex'), flow);
      const back = decoded(wire, options.flowModTableId === true);
      const again = Buffer.from(encode(back, version, 0, options)[0]);
      assert.equal(again.toString('hex'), wire.toString('hex'), `${flow}, decoded and encoded`);
      assert.ok(
        printed.endsWith(`actions=${formatActions(back.actions)}`),
        `${printed}\n${formatActions(back.actions)}`,
      );
      assert.ok(printed.includes(formatMatch(back.match, back.priority)), `${printed}\n${formatMatch(back.match)}`);
    }
  });
}
