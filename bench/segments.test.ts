import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figures } from './figures.ts';
import type { PortStats } from './peers/testpmd.ts';
import { ROWS } from './rows.ts';
import { bigFrame, FRAME_SIZE, relateLooks, type SegmentsResult } from './segments.ts';

test('the frame is the longest of whole segments that an IPv4 length can tell', () => {
  const frame = bigFrame();
  assert.equal(frame.length, FRAME_SIZE);
  assert.equal((frame[16]! << 8) | frame[17]!, FRAME_SIZE - 14);
  assert.ok(FRAME_SIZE - 14 + 1448 > 0xffff);
  assert.equal((FRAME_SIZE - 14 - 20 - (frame[46]! >> 4) * 4) % 1448, 0);
});

test('rates are of what came out between two looks', () => {
  const port = (packets: number): PortStats => ({
    rxPackets: packets,
    rxBytes: packets * FRAME_SIZE,
    rxMissed: 0,
    txPackets: 0,
    txErrors: 0,
    txBytes: 0,
  });
  const look = (at: number, cpu: number, came: number, offered: number) => ({
    at,
    cpu,
    stats: [port(0), port(came), port(offered), port(0)],
  });
  const run = relateLooks(look(1000, 5, 100, 1000), look(3000, 7, 1100, 6000));
  assert.equal(run.frameSize, FRAME_SIZE);
  assert.equal(run.gbps, (1000 * FRAME_SIZE * 8) / 2 / 1e9);
  assert.equal(run.offeredGbps, (5000 * FRAME_SIZE * 8) / 2 / 1e9);
  assert.equal(run.cpuPerGb, 2e9 / (1000 * FRAME_SIZE));
});

test('the figures have the ratio of the pairs', () => {
  const row = ROWS.find(({ kind }) => kind === 'segments') as SegmentsResult['row'];
  const of = (median: number) => ({ median, min: median, max: median });
  const result: SegmentsResult = {
    row,
    traffic: '',
    runs: {},
    gbps: { turnout: of(8), 'ovs-dpdk': of(4) },
    cpuPerGb: { turnout: of(0.2), 'ovs-dpdk': of(0.4) },
    ratio: of(2),
  };
  const [rate, cpu] = figures(result);
  assert.deepEqual([rate?.turnout?.median, rate?.ovs?.median, rate?.value], [8, 4, 2]);
  assert.deepEqual([cpu?.turnout?.median, cpu?.better], [0.2, 'less']);
});
