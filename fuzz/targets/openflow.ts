/** OpenFlow messages: all are printed; what decodes can be encoded, and from then on the bytes stay the same. */
import assert from 'node:assert/strict';
import { vlog } from '../../src/base/vlog.ts';
import { decode, encode } from '../../src/openflow/codec.ts';
import { FlowTextError, parse } from '../../src/openflow/flow-text.ts';
import type { Envelope } from '../../src/openflow/messages.ts';
import { ofpToString } from '../../src/openflow/print/ofp-print.ts';
import type { Target } from '../engine.ts';

const VERSIONS = 6;

const FLOWS = [
  'priority=5,tcp,nw_dst=10.0.0.0/8,tp_dst=80 actions=mod_vlan_vid:5,output:2',
  'table=3,ipv6,ipv6_dst=fe80::/64 actions=dec_ttl,resubmit(,4)',
  'arp,arp_op=1,reg0=5/7 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],controller(max_len=64,id=3)',
  'idle_timeout=60,cookie=0x5 actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])',
  'mpls,mpls_label=7 actions=pop_mpls:0x0800,conjunction(1,1/2)',
  'ip actions=ct(commit,zone=1,nat(src=10.0.0.1-10.0.0.9:1-2000),exec(load:1->NXM_NX_CT_MARK[]))',
];

/** Flow-mods of every version. */
function seeds(): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (const text of FLOWS) {
    for (let version = 1; version <= VERSIONS; version++) {
      try {
        messages.push(...encode(parse(text), version, 1, { nxm: version === 1 }));
      } catch (e) {
        if (!(e instanceof FlowTextError) && !/version|OpenFlow/.test(String(e))) throw e;
      }
    }
  }
  return messages;
}

/** Heads of messages whose length and version are right, so that the fuzzer gets behind the checks of the header. */
function repaired(input: Uint8Array): Uint8Array {
  const msg = new Uint8Array(Math.min(0xffff, Math.max(8, input.length)));
  msg.set(input.subarray(0, msg.length));
  msg[0] = 1 + (msg[0] % VERSIONS);
  new DataView(msg.buffer).setUint16(2, msg.length);
  return msg;
}

/** The one message that it is encoded as; undefined: several, or the value is none that is sent. */
function again({ message, version, xid }: Envelope): Uint8Array | undefined {
  const parts = encode(message, version, xid);
  return parts.length === 1 ? parts[0] : undefined;
}

vlog.setLevels('off');

export const target: Target = {
  name: 'openflow',
  seeds: seeds(),
  run(input) {
    decode(input);
    ofpToString(input, 2);
    const msg = repaired(input);
    const first = decode(msg);
    ofpToString(msg, 2);
    if (!first.ok) return;
    const once = again(first.value);
    if (!once) return;
    const second = decode(once);
    assert.ok(second.ok, `does not decode again: ${second.ok || second.error.name}`);
    assert.deepEqual(again(second.value), once);
  },
};
