import { vlogModule } from '../../base/vlog.ts';
import { parseGroupId } from '../../openflow/flow-text.ts';
import { type ParsedGroupMod, parseGroupMod } from '../../openflow/group-text.ts';
import { type GroupCommand, OFPG_ALL } from '../../openflow/messages-group.ts';
import { type MeterCommand, OFPM_ALL } from '../../openflow/messages-meter.ts';
import { METER_PROTOCOLS, parseMeterMod } from '../../openflow/meter-text.ts';
import {
  dumpTransaction,
  dumpTrivial,
  encodeRequest,
  openForMod,
  openSwitch,
  parsing,
  transactNoreply,
} from './client.ts';
import type { OfctlCommand, OfctlContext } from './context.ts';
import { commonProtocols, parseLines, sendBundle } from './flow-commands.ts';
import { namesToAccept } from './names.ts';

/** Commands about groups and meters. */

async function sendGroupMods(c: OfctlContext, target: string, groups: readonly ParsedGroupMod[]): Promise<void> {
  const usable = commonProtocols(groups);
  if (c.options.bundle) {
    await sendBundle(
      c,
      target,
      groups.map((g) => g.group),
      usable,
    );
    return;
  }
  const { vconn, protocol } = await openForMod(c, target, usable);
  for (const { group } of groups) await transactNoreply(c, vconn, encodeRequest(vconn, group, protocol));
  vconn.close();
}

async function groupModFile(c: OfctlContext, command: GroupCommand | undefined): Promise<void> {
  const [target, file] = c.args;
  const names = await namesToAccept(c, target);
  const groups = parseLines(file, (line) => parseGroupMod(line, command, names));
  await sendGroupMods(c, target, groups);
}

const groupMod =
  (commandOf: (c: OfctlContext) => GroupCommand): OfctlCommand =>
  async (c) => {
    const [target, text = ''] = c.args;
    const command = commandOf(c);
    if (text === '-') return groupModFile(c, command === 'add' ? undefined : command);
    const names = await namesToAccept(c, target);
    await sendGroupMods(c, target, [parsing(() => parseGroupMod(text, command, names))]);
  };

const dumpGroupStats: OfctlCommand = async (c) => {
  const [target, text = ''] = c.args;
  const names = await namesToAccept(c, target);
  const { groupId } = parsing(() => parseGroupMod(text, 'delete', names)).group;
  const vconn = await openSwitch(c, target);
  await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'group_stats_request', groupId }));
  vconn.close();
};

const dumpGroups: OfctlCommand = async (c) => {
  const [target, text] = c.args;
  const vconn = await openSwitch(c, target);
  const parsed = text === undefined ? OFPG_ALL : parseGroupId(text);
  if (parsed === undefined) {
    vlogModule('ofp_group').warn(
      `${text} is not a valid group ID.  (Valid group IDs are 32-bit nonnegative integers or the keywords ANY or ALL.)`,
    );
  }
  const groupId = parsed ?? OFPG_ALL;
  await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'group_desc_stats_request', groupId }));
  vconn.close();
};

const meterMod =
  (command: MeterCommand): OfctlCommand =>
  async (c) => {
    const [target, text] = c.args;
    const mod =
      text === undefined
        ? { type: 'meter_mod' as const, command, meterId: OFPM_ALL, flags: 0, bands: [] }
        : parsing(() => parseMeterMod(text, command));
    const { vconn, protocol } = await openForMod(c, target, METER_PROTOCOLS);
    await transactNoreply(c, vconn, encodeRequest(vconn, mod, protocol));
    vconn.close();
  };

const meterRequest =
  (type: 'meter_stats_request' | 'meter_config_stats_request' | 'meter_features_stats_request'): OfctlCommand =>
  async (c) => {
    const [target, text] = c.args;
    const meterId = text === undefined ? OFPM_ALL : parsing(() => parseMeterMod(text, undefined)).meterId;
    const { vconn } = await openForMod(c, target, METER_PROTOCOLS);
    const message = type === 'meter_features_stats_request' ? { type } : { type, meterId };
    await dumpTransaction(c, vconn, encodeRequest(vconn, message));
    vconn.close();
  };

export const COMMANDS = {
  'add-group': groupMod(() => 'add'),
  'add-groups': (c: OfctlContext) => groupModFile(c, undefined),
  'mod-group': groupMod((c) => (c.options.mayCreate ? 'add_or_mod' : 'modify')),
  'del-groups': groupMod(() => 'delete'),
  'insert-buckets': groupMod(() => 'insert_bucket'),
  'remove-buckets': groupMod(() => 'remove_bucket'),
  'dump-groups': dumpGroups,
  'dump-group-stats': dumpGroupStats,
  'dump-group-features': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'group_features_stats_request' }),
  'add-meter': meterMod('add'),
  'mod-meter': meterMod('modify'),
  'del-meter': meterMod('delete'),
  'del-meters': meterMod('delete'),
  'dump-meter': meterRequest('meter_config_stats_request'),
  'dump-meters': meterRequest('meter_config_stats_request'),
  'meter-stats': meterRequest('meter_stats_request'),
  'meter-features': meterRequest('meter_features_stats_request'),
};
