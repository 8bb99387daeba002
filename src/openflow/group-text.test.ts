import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyCtMatch, parseCtTuple } from './ct-text.ts';
import { parseFlowMonitor } from './flow-monitor-text.ts';
import { parseGroupMod } from './group-text.ts';
import { parseMeterMod } from './meter-text.ts';
import { parsePacketOut } from './packet-out-text.ts';
import { formatGroup } from './print/groups.ts';
import { formatMeterConfig } from './print/meters.ts';
import { P_OF10_ANY, P_OF15_UP, protocolsToString } from './protocol.ts';
import { parseTableMod } from './table-text.ts';
import { parseTlvMaps } from './tlv-text.ts';

/** Text of what ovs-ofctl takes beside flows. */

test('a group is printed as it was read', () => {
  const text = 'group_id=5,type=select,bucket=weight:7,actions=output:1,bucket=watch_port:3,actions=output:3,output:4';
  const { group, protocols } = parseGroupMod(text, 'add');
  assert.equal(protocolsToString(protocols), 'any');
  assert.equal(formatGroup(group, 4, undefined), text);
});

test('selection methods and their fields', () => {
  const { group } = parseGroupMod(
    'group_id=5,type=select,selection_method=hash,fields(ip_src,eth_dst=ff:ff:00:00:00:00),bucket=bucket_id:9,1',
    'add',
  );
  assert.equal(
    formatGroup(group, 6, undefined),
    'group_id=5,type=select,selection_method=hash,fields(eth_dst=ff:ff:00:00:00:00,ip_src),bucket=bucket_id:9,actions=output:1',
  );
});

test('commands about buckets need OpenFlow 1.5 or the extension of 1.0', () => {
  const { protocols } = parseGroupMod('group_id=5,command_bucket_id=all', 'remove_bucket');
  assert.equal(protocols, P_OF10_ANY | P_OF15_UP);
});

test("a file's line may begin with its command", () => {
  assert.equal(parseGroupMod('delete group_id=3', undefined).group.command, 'delete');
  assert.equal(parseGroupMod(' add_or_mod group_id=3,type=all', undefined).group.command, 'add_or_mod');
  assert.equal(parseGroupMod('group_id=3,type=all', undefined).group.command, 'add');
});

const GROUP_ERRORS: readonly (readonly [text: string, message: string])[] = [
  ['type=all', 'must specify a group_id'],
  ['group_id=1', 'must specify a type'],
  ['group_id=0xffffff01,type=all', 'invalid group id 4294967041'],
  ['group_id=1,type=some', 'invalid group type some'],
  ['group_id=1,type=all,colour=red', 'unknown keyword colour'],
  ['group_id=1,type=all,bucket=', 'bucket must specify actions'],
  ['group_id=1,type=all,bucket=weight:2,1', 'Only select groups can have bucket weights.'],
  ['group_id=1,type=ff,bucket=1', 'fast failover bucket requires watch_port or watch_group'],
  ['group_id=1,type=indirect,bucket=1,bucket=2', 'Indirect groups can have at most one bucket.'],
  ['group_id=1,type=all,command_bucket_id=1', 'command bucket id is not needed'],
  ['group_id=1,type=select,fields(eth_src),bucket=1', 'fields may only be specified with "selection_method=hash"'],
];

for (const [text, message] of GROUP_ERRORS) {
  test(`group: ${message}`, () => assert.throws(() => parseGroupMod(text, 'add'), { message }));
}

test('a meter is printed as it was read', () => {
  const meter = parseMeterMod('meter=2 kbps stats burst bands=type=drop rate=10 burst_size=5', 'add');
  assert.equal(formatMeterConfig(meter), 'meter=2 kbps burst stats bands=\ntype=drop rate=10 burst_size=5\n');
  assert.equal(parseMeterMod('meter=all', undefined).meterId, 0xffffffff);
});

const METER_ERRORS: readonly (readonly [text: string, message: string])[] = [
  ['meter=1 kbps', 'must specify bands'],
  ['kbps band=type=drop rate=1', "must specify 'meter'"],
  ['meter=1 band=type=drop rate=1', "meter must specify either 'kbps' or 'pktps'"],
  ['meter=1 kbps band=rate=1', "band must start with the 'type' keyword"],
  ['meter=1 kbps band=type=drop', "band must have 'rate'"],
  ['meter=1 kbps band=type=drop rate=1 burst_size=2', "band may have 'burst_size' only when 'burst' flag is set"],
  ['meter=1 kbps band=type=dscp_remark rate=1', "'dscp_remark' band must have 'prec_level'"],
];

for (const [text, message] of METER_ERRORS) {
  test(`meter: ${message}`, () => assert.throws(() => parseMeterMod(text, 'add'), { message }));
}

test('settings of tables', () => {
  assert.deepEqual(parseTableMod('3', 'vacancy:20,80').mod.tableVacancy, {
    vacancyDown: 20,
    vacancyUp: 80,
    vacancy: 0,
  });
  assert.equal(parseTableMod('all', 'controller').mod.tableId, 255);
  assert.equal(parseTableMod('1', 'name:acl').name, 'acl');
  assert.throws(() => parseTableMod('254', 'continue'), /last table's flow miss handling can not be continue/);
  assert.throws(() => parseTableMod('1', 'vacancy:90,10'), /Invalid vacancy range/);
  assert.throws(() => parseTableMod('1', 'vacancy:20'), /Vacancy up value missing/);
  assert.throws(() => parseTableMod('1', 'shiny'), /invalid table_mod setting shiny/);
});

test('maps of tunnel options', () => {
  assert.deepEqual(
    parseTlvMaps('{class=0xffff,type=1,len=4}->tun_metadata0,{class=2,type=0x10,len=8}->tun_metadata63'),
    [
      { optionClass: 0xffff, optionType: 1, optionLen: 4, index: 0 },
      { optionClass: 2, optionType: 16, optionLen: 8, index: 63 },
    ],
  );
  assert.throws(() => parseTlvMaps('{class=1}'), /invalid tlv mapping/);
});

test('packet-outs', () => {
  const frame = '505400000001505400000002ffff';
  const { packetOut } = parsePacketOut(`in_port=3,tun_id=7 packet=${frame} actions=output:1,2`);
  assert.equal(packetOut.inPort, 3);
  assert.equal(packetOut.metadata.flow.tunId, 7n);
  assert.equal(Buffer.from(packetOut.packet).toString('hex'), frame);
  assert.equal(packetOut.actions.length, 2);
  assert.throws(() => parsePacketOut('in_port=1 actions=2'), /must specify packet/);
  assert.throws(
    () => parsePacketOut(`nw_src=1.2.3.4 packet=${frame}`),
    /nw_src is not a valid pipeline field for PACKET_OUT/,
  );
  assert.throws(() => parsePacketOut('packet=5054'), /packet: Packet data too short for Ethernet/);
});

test('flow monitors', () => {
  const { monitor } = parseFlowMonitor('!initial,!own,table=3,out_port=2,tcp', 7);
  assert.equal(monitor.monitorId, 7);
  assert.equal(monitor.tableId, 3);
  assert.equal(monitor.outPort, 2);
  assert.equal(monitor.match.flow.nwProto, 6);
  assert.throws(() => parseFlowMonitor('colour=red', 0), /colour=red: unknown keyword colour/);
});

test('tuples of connections', () => {
  const match = emptyCtMatch();
  parseCtTuple(match, 'orig', 'ct_nw_src=10.0.0.1,ct_nw_proto=17,ct_tp_dst=53');
  assert.equal(match.l3Type, 2);
  assert.deepEqual([...match.orig.src.subarray(10)], [0xff, 0xff, 10, 0, 0, 1]);
  assert.equal(match.orig.dstPort, 53);
  assert.throws(() => parseCtTuple(match, 'reply', 'ct_ipv6_src=::1'), /the L3 protocol does not match ::1/);
  assert.throws(() => parseCtTuple(emptyCtMatch(), 'orig', 'ct_tp_src=1'), /port is set without protocol/);
  assert.throws(() => parseCtTuple(emptyCtMatch(), 'orig', 'colour=1'), /invalid conntrack tuple field: colour/);
});
