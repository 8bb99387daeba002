import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { formatIpv4 } from '../base/address.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';

/** The cases of test/golden/ofproto. */

const folder = fileURLToPath(new URL('../../test/golden/ofproto/', import.meta.url));

interface Case {
  title: string;
  fences: Map<string, string[]>;
}

/** Cases of a page: a heading of level 3, then fences by name. */
function parseCases(text: string): Case[] {
  return text
    .split(/^### /m)
    .slice(1)
    .map((part) => {
      const fences = new Map<string, string[]>();
      for (const [, name, body] of part.matchAll(/^```(\w+)\n([^`]*)^```/gm)) fences.set(name, body.trim().split('\n'));
      return { title: part.slice(0, part.indexOf('\n')), fences };
    });
}

/** A frame by what the cases show of it. */
function show(hex: string): string {
  const f = flowFromPacket(Uint8Array.from(Buffer.from(hex, 'hex')), 0);
  const vlan = `dl_vlan=${f.vlanTci0 ? f.vlanTci0 & 0xfff : 'none'}`;
  const [src, dst] = [formatIpv4(f.nwSrc), formatIpv4(f.nwDst)];
  if (f.dlType === 0x0806) return `arp,${vlan},arp_spa=${src},arp_tpa=${dst}`;
  const proto = f.nwProto === 6 ? 'tcp' : 'udp';
  return `${proto},${vlan},nw_src=${src},nw_dst=${dst},tp_src=${f.tpSrc},tp_dst=${f.tpDst}`;
}

async function runCase({ fences }: Case): Promise<string[]> {
  const rig = new OfprotoRig();
  const bridge = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4']);
  bridge.setFailMode('secure');
  for (const flow of fences.get('flows')!) assert.equal(rig.flow(bridge, flow), undefined, flow);
  const packet = fences.get('packet')![0];
  rig.receive(`p${/in_port=(\d)/.exec(packet)![1]}`, packet);
  const out = [...rig.sent].flatMap(([port, frames]) => frames.map((hex) => `${port}: ${show(hex)}`));
  const dump = rig.appctl('dpctl/dump-flows', '--names').split('\n').slice(1, -1);
  await rig.close();
  return [...out, ...dump.map((line) => `megaflow: ${line.replace(/packets:.*, actions/, 'actions')}`)];
}

for (const page of readdirSync(folder).filter((name) => name.endsWith('.md'))) {
  describe(`golden: ${page}`, () => {
    for (const c of parseCases(readFileSync(folder + page, 'utf8')))
      it(c.title, async () => assert.deepEqual(await runCase(c), c.fences.get('expect')));
  });
}
