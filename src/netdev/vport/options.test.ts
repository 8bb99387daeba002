import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { TunnelType } from '../tunnel-config.ts';
import { parseTunnelOptions } from './options.ts';
import { showTunnelConfig } from './show.ts';

const read = (type: TunnelType, options: Record<string, string>) =>
  parseTunnelOptions('t1', type, new Map(Object.entries(options)));

for (const [type, options, complaint] of [
  ['gre', {}, "t1: gre type requires valid 'remote_ip' argument"],
  ['gre', { remote_ip: '224.0.0.1' }, 't1: multicast remote_ip=224.0.0.1 not allowed'],
  [
    'gre',
    { remote_ip: '1.1.1.1', local_ip: '::1' },
    "t1: 'remote_ip' and 'local_ip' has to be of the same address family",
  ],
  [
    'vxlan',
    { remote_ip: '1.1.1.1', packet_type: 'legacy_l3' },
    't1: legacy_l3 configured on VXLAN (without GPE) tunnel that cannot carry L3 traffic',
  ],
  [
    'gtpu',
    { remote_ip: '1.1.1.1', packet_type: 'legacy_l2' },
    't1: legacy_l2 configured on gtpu tunnel that cannot carry L2 traffic',
  ],
  ['erspan', { remote_ip: '1.1.1.1', erspan_ver: '3' }, 't1: invalid erspan version: 3'],
  ['erspan', { remote_ip: '1.1.1.1', erspan_idx: '100000' }, 't1: invalid erspan index: 100000'],
] as [TunnelType, Record<string, string>, string][]) {
  it(`a tunnel is refused: ${complaint}`, () => {
    const { config, complaints } = read(type, options);
    assert.equal(config, undefined);
    assert.equal(complaints.at(-1), complaint);
  });
}

it('what is not known, or makes no sense, is told, and the rest is in force', () => {
  const { config, complaints } = read('vxlan', { remote_ip: '1.1.1.1', nonsense: '1', tos: '3', exts: 'gpe,xyz' });
  assert.deepEqual(complaints, [
    "t1: unknown vxlan argument 'nonsense'",
    't1: invalid TOS 3',
    "t1: unknown extension 'xyz'",
  ]);
  assert.equal(config?.gpe, true);
});

it('a configuration is shown as it was given', () => {
  const given = { remote_ip: 'flow', in_key: '5', out_key: 'flow', ttl: 'inherit', df_default: 'false', csum: 'true' };
  const { config } = read('geneve', given);
  assert.ok(config);
  assert.deepEqual(Object.fromEntries(showTunnelConfig(config)), given);
});
