import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDumpFlows, parseDumpPorts, parseStatistics } from './openflow-text.ts';

test('dump-ports', () => {
  const text = `OFPST_PORT reply (xid=0x2): 2 ports
  port LOCAL: rx pkts=0, bytes=0, drop=1, errs=0, frame=0, over=0, crc=0
           tx pkts=2, bytes=140, drop=3, errs=0, coll=0
  port  "vhost-user1": rx pkts=5, bytes=300, drop=0, errs=0, frame=?, over=?, crc=?
           tx pkts=6, bytes=360, drop=7, errs=?, coll=?
`;
  const ports = parseDumpPorts(text);
  assert.deepEqual([...ports.keys()], ['LOCAL', 'vhost-user1']);
  assert.deepEqual(ports.get('vhost-user1'), {
    rxPackets: 5,
    rxBytes: 300,
    rxDropped: 0,
    txPackets: 6,
    txBytes: 360,
    txDropped: 7,
  });
});

test('dump-flows', () => {
  const text = ` cookie=0x0, duration=1.5s, table=0, n_packets=7, n_bytes=420, in_port="vhost-user1" actions=output:"vhost-user4"
 cookie=0x1, duration=9s, table=0, n_packets=0, n_bytes=0, idle_timeout=5, priority=0 actions=NORMAL`;
  assert.deepEqual(parseDumpFlows(text), [
    { nPackets: 7, nBytes: 420, rule: 'in_port="vhost-user1" actions=output:"vhost-user4"' },
    { nPackets: 0, nBytes: 0, rule: 'priority=0 actions=NORMAL' },
  ]);
});

test('a statistics column', () => {
  assert.deepEqual(parseStatistics('{rx_packets=3, "rx_1_to_64_packets"=2}'), { rx_packets: 3, rx_1_to_64_packets: 2 });
  assert.deepEqual(parseStatistics('{}'), {});
});
