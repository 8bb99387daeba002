/** Packets: whatever the bytes are, they have headers, and the text of these parses to what prints the same. */
import assert from 'node:assert/strict';
import { parseOdpFlow } from '../../src/dpif/odp-parse.ts';
import { formatOdpFlow } from '../../src/dpif/odp-text.ts';
import { flowFromPacket } from '../../src/flow/packet-flow.ts';
import { FRAMES } from '../../src/flow/test-frames.ts';
import type { Target } from '../engine.ts';

export const target: Target = {
  name: 'packet',
  seeds: Object.values(FRAMES).map((hex) => Buffer.from(hex, 'hex')),
  maxLength: 512,
  run(input) {
    const flow = flowFromPacket(input, 1, 1 + (input.length % 2));
    const text = formatOdpFlow(flow);
    assert.equal(formatOdpFlow(parseOdpFlow(text).flow), text);
  },
};
