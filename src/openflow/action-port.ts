import type { OfErrorName } from '../../protocols/openflow-errors.ts';

const OFPP_UNSET = 0xfffffff7;
const OFPP_IN_PORT = 0xfffffff8;
const OFPP_ANY = 0xffffffff;
const OFPP10_MAX = 0xff00;

/** What is wrong with outputting to `port` on a switch whose ports are below `maxPorts`. */
export function checkOutputPort(port: number, maxPorts = OFPP10_MAX): OfErrorName | undefined {
  if (port === OFPP_ANY || port === OFPP_UNSET) return 'OFPBAC_BAD_OUT_PORT';
  return port < maxPorts || port >= OFPP_IN_PORT ? undefined : 'OFPBAC_BAD_OUT_PORT';
}
