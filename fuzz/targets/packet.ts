/** Packets: whatever the bytes are, they have headers, and the text of these parses to what prints the same. */
import assert from 'node:assert/strict';
import { isVlanType } from '../../src/dpif/odp-keys.ts';
import { parseOdpFlow } from '../../src/dpif/odp-parse.ts';
import { formatOdpFlow } from '../../src/dpif/odp-text.ts';
import { flowFromPacket } from '../../src/flow/packet-flow.ts';
import { FRAMES } from '../../src/flow/test-frames.ts';
import type { Target } from '../engine.ts';

const TCP_FLAGS = 0x1ff;

export const target: Target = {
  name: 'packet',
  seeds: Object.values(FRAMES).map((hex) => Buffer.from(hex, 'hex')),
  maxLength: 512,
  run(input) {
    const flow = flowFromPacket(input, 1, 2);
    formatOdpFlow(flow);
    // More tags than are parsed: the text says no more than that there are some.
    if (isVlanType(flow.dlType)) return;
    // Reserved bits of TCP are printed as a number that Open vSwitch does not read back either.
    flow.tcpFlags &= TCP_FLAGS;
    const text = formatOdpFlow(flow);
    assert.equal(formatOdpFlow(parseOdpFlow(text).flow), text);
  },
};
