import type { AsyncConfigHalf, ControllerRole, FeaturesReply, SwitchConfig } from '../messages.ts';
import { versionsOfBitmap } from '../protocol.ts';
import { ofpactSetText } from './ofpact-names.ts';
import { formatPhyPorts } from './ports.ts';
import type { Printers } from './printer.ts';
import { bitNames, hexDump } from './text.ts';

/** What concerns a connection or a switch as a whole. */

const CAPABILITIES = new Map([
  [1 << 0, 'FLOW_STATS'],
  [1 << 1, 'TABLE_STATS'],
  [1 << 2, 'PORT_STATS'],
  [1 << 3, 'GROUP_STATS'],
  [1 << 5, 'IP_REASM'],
  [1 << 6, 'QUEUE_STATS'],
  [1 << 7, 'ARP_MATCH_IP'],
  [1 << 8, 'PORT_BLOCKED'],
  [1 << 9, 'BUNDLES'],
  [1 << 10, 'FLOW_MONITORING'],
  [1 << 16, 'STP'],
]);

function formatFeatures(m: FeaturesReply): string {
  const auxiliary = m.auxiliaryId ? `, auxiliary_id:${m.auxiliaryId}` : '';
  return [
    ` dpid:${m.datapathId.toString(16).padStart(16, '0')}\n`,
    `n_tables:${m.nTables}, n_buffers:${m.nBuffers}${auxiliary}\n`,
    `capabilities: ${bitNames(m.capabilities, CAPABILITIES, ' ')}\n`,
    m.actions.length ? `actions: ${ofpactSetText(m.actions)}\n` : '',
    formatPhyPorts(m.ports),
  ].join('');
}

export const FRAG_NAMES = { normal: 'normal', drop: 'drop', reasm: 'reassemble', 'nx-match': 'nx-match' } as const;

function formatConfig(c: SwitchConfig): string {
  const ttl = c.invalidTtlToController ? ' invalid_ttl_to_controller' : '';
  return ` frags=${FRAG_NAMES[c.frag]}${ttl} miss_send_len=${c.missSendLen}\n`;
}

function formatRole(role: ControllerRole, generationId: bigint | undefined): string {
  const known = generationId !== undefined && generationId !== 0xffff_ffff_ffff_ffffn;
  return ` role=${role}${known ? ` generation_id=${generationId}` : ''}`;
}

const ROLE_REASONS = ['primary_request', 'configuration_changed', 'experimenter_data_changed'];

/** Reasons by bit; '' is a reason without a word. */
const ASYNC: readonly (readonly [keyof AsyncConfigHalf, string, readonly string[]])[] = [
  ['packetIn', 'PACKET_IN', ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out', '', '']],
  ['portStatus', 'PORT_STATUS', ['add', 'delete', 'modify']],
  ['flowRemoved', 'FLOW_REMOVED', ['idle', 'hard', 'delete', 'group_delete', 'meter_delete', 'eviction']],
  ['roleStatus', 'ROLE_STATUS', ROLE_REASONS],
  ['tableStatus', 'TABLE_STATUS', ['0', '1', '2', 'vacancy_down', 'vacancy_up']],
  ['requestForward', 'REQUESTFORWARD', ['group_mod_request', 'meter_mod_request']],
];

function formatAsyncHalf(title: string, half: Partial<AsyncConfigHalf>): string {
  const lines = ASYNC.map(([key, name, reasons]) => {
    const bits = half[key] ?? 0;
    const words = versionsOfBitmap(bits).map((bit) => reasons[bit] ?? String(bit));
    const shown = words.filter((w) => w !== '').map((w) => ` ${w}`);
    return `${name.padStart(16)}:${bits ? shown.join('') : ' (off)'}\n`;
  });
  return `\n ${title}:\n${lines.join('')}`;
}

const formatAsync = (c: { primary: Partial<AsyncConfigHalf>; secondary: Partial<AsyncConfigHalf> }): string =>
  formatAsyncHalf('primary', c.primary) + formatAsyncHalf('secondary', c.secondary);

const echo = (data: Uint8Array, verbosity: number): string =>
  ` ${data.length} bytes of payload\n${verbosity > 1 ? hexDump(data, true) : ''}`;

export const BASIC: Printers = {
  echo_request: (m, { verbosity }) => echo(m.data, verbosity),
  echo_reply: (m, { verbosity }) => echo(m.data, verbosity),
  features_reply: formatFeatures,
  get_config_reply: formatConfig,
  set_config: formatConfig,
  role_request: (m) => formatRole(m.role, m.generationId),
  role_reply: (m) => formatRole(m.role, m.generationId),
  role_status: (m) => `${formatRole(m.role, m.generationId)} reason=${ROLE_REASONS[m.reason] ?? '(unknown)'}`,
  get_async_reply: (m) => formatAsync(m.config),
  set_async_config: (m) => formatAsync(m.config),
  set_packet_in_format: (m) => ` format=${m.format}`,
  set_flow_format: (m) => ` format=${m.format}`,
  flow_mod_table_id: (m) => ` ${m.enable ? 'enable' : 'disable'}`,
  set_controller_id: (m) => ` id=${m.controllerId}`,
  desc_stats_reply: (m) =>
    [
      '\n',
      `Manufacturer: ${m.mfrDesc}\n`,
      `Hardware: ${m.hwDesc}\n`,
      `Software: ${m.swDesc}\n`,
      `Serial Num: ${m.serialNum}\n`,
      `DP Description: ${m.dpDesc}\n`,
    ].join(''),
};
