import { type OfpPort, ofpPort } from '../../base/types.ts';
import {
  PC_NO_FLOOD,
  PC_NO_FWD,
  PC_NO_PACKET_IN,
  PC_NO_RECV,
  PC_NO_RECV_STP,
  PC_NO_STP,
  PC_PORT_DOWN,
} from '../../openflow/messages.ts';
import { parsePort } from '../../openflow/port.ts';
import { dumpTransaction, encodeRequest, openSwitch, transactNoreply } from './client.ts';
import type { OfctlCommand, OfctlContext } from './context.ts';
import { Fatal } from './fatal.ts';
import { fetchPorts, namesToAccept } from './names.ts';

/** Commands about ports and queues. */

const OFPP_ANY = ofpPort(0xffffffff);
const OFPP_ALL = ofpPort(0xfffffffc);
const OFPQ_ALL = 0xffffffff;
const OFP10_VERSION = 1;

/** A port by number or name. */
async function portNamed(c: OfctlContext, target: string, text: string): Promise<OfpPort> {
  const port = parsePort(text) ?? parsePort(text, await namesToAccept(c, target, 'ports'));
  if (port === undefined) throw new Fatal(`${target}: unknown port \`${text}'`);
  return port;
}

const all = (text: string | undefined): boolean => !text || text.toLowerCase() === 'all';
const queueNamed = (text: string | undefined): number =>
  all(text) ? OFPQ_ALL : (Number.parseInt(text!, 10) || 0) >>> 0;

const queueStats: OfctlCommand = async (c) => {
  const [target, port, queue] = c.args;
  const vconn = await openSwitch(c, target);
  let portNo = all(port) ? OFPP_ANY : await portNamed(c, target, port);
  if (portNo === OFPP_ANY && vconn.version === OFP10_VERSION) portNo = OFPP_ALL;
  const request = encodeRequest(vconn, { type: 'queue_stats_request', portNo, queueId: queueNamed(queue) });
  await dumpTransaction(c, vconn, request);
  vconn.close();
};

const queueGetConfig: OfctlCommand = async (c) => {
  const [target, port = 'any', queue] = c.args;
  const portNo = await portNamed(c, target, port);
  const queueId = queue === '' ? 0 : queueNamed(queue);
  const vconn = await openSwitch(c, target);
  const request = (one: OfpPort) => encodeRequest(vconn, { type: 'queue_get_config_request', portNo: one, queueId });
  if (portNo === OFPP_ANY && vconn.version === OFP10_VERSION) {
    // OpenFlow 1.0 tells of one port only.
    for (const p of await fetchPorts(c, vconn))
      if ((p.portNo & 0xffff) < 0xff00) await dumpTransaction(c, vconn, request(p.portNo));
  } else await dumpTransaction(c, vconn, request(portNo));
  vconn.close();
};

const dumpPorts =
  (type: 'port_stats_request' | 'port_desc_stats_request'): OfctlCommand =>
  async (c) => {
    const [target, port] = c.args;
    const vconn = await openSwitch(c, target);
    const portNo = port === undefined ? OFPP_ANY : await portNamed(c, target, port);
    await dumpTransaction(c, vconn, encodeRequest(vconn, { type, portNo }));
    vconn.close();
  };

/** Words of mod-port: the bit, and whether the word sets it. */
const FLAGS: Readonly<Record<string, readonly [bit: number, on: boolean]>> = {
  up: [PC_PORT_DOWN, false],
  down: [PC_PORT_DOWN, true],
  stp: [PC_NO_STP, false],
  receive: [PC_NO_RECV, false],
  'receive-stp': [PC_NO_RECV_STP, false],
  flood: [PC_NO_FLOOD, false],
  forward: [PC_NO_FWD, false],
  'packet-in': [PC_NO_PACKET_IN, false],
};

const modPort: OfctlCommand = async (c) => {
  const [target, portText, action] = c.args;
  const vconn = await openSwitch(c, target);
  const number = /^[0-9]+$/.test(portText) ? Number(portText) & 0xffff : undefined;
  const ports = await fetchPorts(c, vconn);
  const port = ports.find((p) => (number === undefined ? p.name === portText : (p.portNo & 0xffff) === number));
  if (!port) throw new Fatal(`${target}: couldn't find port \`${portText}'`);
  const not = /^no-?/i.test(action);
  const flag = FLAGS[action.replace(/^no-?/i, '').toLowerCase()];
  if (!flag) throw new Fatal(`unknown mod-port command '${action}'`);
  const [mask, on] = flag;
  const config = on !== not ? mask : 0;
  const { portNo, hwAddr } = port;
  await transactNoreply(
    c,
    vconn,
    encodeRequest(vconn, { type: 'port_mod', portNo, hwAddr, config, mask, advertise: 0 }),
  );
  vconn.close();
};

export const COMMANDS = {
  'queue-stats': queueStats,
  'queue-get-config': queueGetConfig,
  'dump-ports': dumpPorts('port_stats_request'),
  'dump-ports-desc': dumpPorts('port_desc_stats_request'),
  'mod-port': modPort,
};
