import { randomBytes } from 'node:crypto';
import { emptyCtMatch, parseCtTuple } from '../../openflow/ct-text.ts';
import { FlowTextError } from '../../openflow/field-text.ts';
import type { FragHandling, SwitchConfig } from '../../openflow/messages.ts';
import { strToU16 } from '../../openflow/number-text.ts';
import { FRAG_NAMES } from '../../openflow/print/basic.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { parseTlvMaps, TLV_PROTOCOLS } from '../../openflow/tlv-text.ts';
import {
  dumpTransaction,
  dumpTrivial,
  encodeRequest,
  openForMod,
  openSwitch,
  parsing,
  transactNoreply,
  typeOf,
} from './client.ts';
import { type OfctlCommand, type OfctlContext, out, outMessage } from './context.ts';
import { Fatal } from './fatal.ts';
import { fetchSwitchConfig, setSwitchConfig } from './switch-config.ts';
import type { Vconn } from './vconn.ts';
import { xidOf } from './xid.ts';

/** Commands about the switch as a whole. */

const OFP13_VERSION = 4;
const ANY_PORT = 0xffffffff as never;

const show: OfctlCommand = async (c) => {
  const [name] = c.args;
  const vconn = await openSwitch(c, name);
  const features = await vconn.transact(encodeRequest(vconn, { type: 'features_request' }));
  outMessage(ofpToString(features, c.options.verbosity + 1));
  const portSize = vconn.version === 1 ? 48 : 64;
  if (vconn.version >= OFP13_VERSION || features.length + portSize > 0xffff)
    await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'port_desc_stats_request', portNo: ANY_PORT }));
  await dumpTrivial(c, name, { type: 'get_config_request' });
  vconn.close();
};

const getFrags: OfctlCommand = async (c) => {
  const vconn = await openSwitch(c, c.args[0]);
  out(`${FRAG_NAMES[(await fetchSwitchConfig(vconn)).frag]}\n`);
  vconn.close();
};

function fragNamed(name: string): FragHandling {
  const found = Object.entries(FRAG_NAMES).find(([, word]) => word === name.toLowerCase());
  if (!found) throw new Fatal(`${name}: unknown fragment handling mode`);
  return found[0] as FragHandling;
}

const setFrags: OfctlCommand = async (c) => {
  const [name, mode] = c.args;
  const frag = fragNamed(mode);
  const vconn = await openSwitch(c, name);
  const config: SwitchConfig = await fetchSwitchConfig(vconn);
  if (config.frag !== frag) {
    await setSwitchConfig(c, vconn, { ...config, frag });
    // A switch need not say that it can't: only asking again tells.
    if ((await fetchSwitchConfig(vconn)).frag !== frag) {
      throw new Fatal(
        `${name}: setting fragment handling mode failed (this switch probably doesn't support mode "${FRAG_NAMES[frag]}")`,
      );
    }
  }
  vconn.close();
};

const probe: OfctlCommand = async (c) => {
  const vconn = await openSwitch(c, c.args[0]);
  const reply = await vconn.transact(encodeRequest(vconn, { type: 'echo_request', data: new Uint8Array(0) }));
  if (reply.length !== 8) throw new Fatal('reply does not match request');
  vconn.close();
};

const MAX_PAYLOAD = 65535 - 8;

function payloadSize(text: string | undefined, otherwise: number): number {
  const size = text === undefined ? otherwise : Number.parseInt(text, 10) || 0;
  if (size < 0 || size > MAX_PAYLOAD) throw new Fatal(`payload must be between 0 and ${MAX_PAYLOAD} bytes`);
  return size;
}

async function pingOnce(c: OfctlContext, vconn: Vconn, size: number): Promise<void> {
  const data = randomBytes(size);
  const request = encodeRequest(vconn, { type: 'echo_request', data });
  const start = performance.now();
  const reply = await vconn.transact(request);
  const ms = performance.now() - start;
  if (typeOf(reply) !== 'echo_reply' || !data.equals(reply.subarray(8))) {
    const text = (msg: Uint8Array) => ofpToString(msg, c.options.verbosity + 2);
    out(`Reply does not match request.  Request:\n${text(request)}Reply:\n${text(reply)}`);
  }
  const xid = xidOf(reply).toString(16).padStart(8, '0');
  out(`${reply.length - 8} bytes from ${c.args[0]}: xid=${xid} time=${ms.toFixed(1)} ms\n`);
}

const ping: OfctlCommand = async (c) => {
  const size = payloadSize(c.args[1], 64);
  const vconn = await openSwitch(c, c.args[0]);
  for (let i = 0; i < 10; i++) await pingOnce(c, vconn, size);
  vconn.close();
};

const benchmark: OfctlCommand = async (c) => {
  const size = payloadSize(c.args[1], 0);
  const count = Number.parseInt(c.args[2], 10) || 0;
  const bytes = size + 8;
  out(`Sending ${count} packets * ${bytes} bytes (with header) = ${count * bytes} bytes total\n`);
  const vconn = await openSwitch(c, c.args[0]);
  const start = performance.now();
  const data = new Uint8Array(size);
  for (let i = 0; i < count; i++) await vconn.transact(encodeRequest(vconn, { type: 'echo_request', data }));
  const ms = performance.now() - start;
  const perSecond = (n: number) => (n / (ms / 1000)).toFixed(0);
  out(`Finished in ${ms.toFixed(1)} ms (${perSecond(count)} packets/s) (${perSecond(count * bytes)} bytes/s)\n`);
  vconn.close();
};

const ctFlushZone: OfctlCommand = async (c) => {
  const zoneId = parsing(() => strToU16(c.args[1], 'zone_id'));
  const vconn = await openSwitch(c, c.args[0]);
  await transactNoreply(c, vconn, encodeRequest(vconn, { type: 'ct_flush_zone', zoneId }));
  vconn.close();
};

const ctFlush: OfctlCommand = async (c) => {
  const [name, ...rest] = c.args;
  const zone = rest[0]?.startsWith('zone=') ? /^zone=\s*([0-9]+)/.exec(rest.shift()!) : undefined;
  if (zone === null) throw new Fatal('Failed to parse zone');
  const match = emptyCtMatch();
  try {
    if (rest[0]) parseCtTuple(match, 'orig', rest[0]);
    if (rest[1]) parseCtTuple(match, 'reply', rest[1]);
  } catch (e) {
    if (e instanceof FlowTextError) throw new Fatal(`Failed to parse ct-tuple: ${e.message}`);
    throw e;
  }
  const vconn = await openSwitch(c, name);
  const zoneId = zone ? { zoneId: Number(zone[1]) & 0xffff } : {};
  await transactNoreply(c, vconn, encodeRequest(vconn, { type: 'ct_flush', ...zoneId, match }));
  vconn.close();
};

const tlvMod =
  (command: 'add' | 'delete'): OfctlCommand =>
  async (c) => {
    const [name, text] = c.args;
    const mappings = parsing(() => parseTlvMaps(text ?? ''));
    const { vconn } = await openForMod(c, name, TLV_PROTOCOLS);
    const which = text === undefined ? 'clear' : command;
    await transactNoreply(c, vconn, encodeRequest(vconn, { type: 'nxt_tlv_table_mod', command: which, mappings }));
    vconn.close();
  };

export const COMMANDS = {
  show,
  'dump-desc': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'desc_stats_request' }),
  'get-frags': getFrags,
  'set-frags': setFrags,
  probe,
  ping,
  benchmark,
  'dump-ipfix-bridge': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'ipfix_bridge_stats_request' }),
  'dump-ipfix-flow': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'ipfix_flow_stats_request' }),
  'ct-flush-zone': ctFlushZone,
  'ct-flush': ctFlush,
  'add-tlv-map': tlvMod('add'),
  'del-tlv-map': tlvMod('delete'),
  'dump-tlv-map': (c: OfctlContext) => dumpTrivial(c, c.args[0], { type: 'nxt_tlv_table_request' }),
};
