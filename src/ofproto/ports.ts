import type { OfpPort } from '../base/types.ts';

/** Reserved OpenFlow ports, in their 32-bit form (OpenFlow 1.1 and later; OpenFlow 1.0 has their low 16 bits). */
export const OFPP_MAX = 0xff00;
export const OFPP_UNSET = 0xfffffff7 as OfpPort;
export const OFPP_IN_PORT = 0xfffffff8 as OfpPort;
export const OFPP_TABLE = 0xfffffff9 as OfpPort;
export const OFPP_NORMAL = 0xfffffffa as OfpPort;
export const OFPP_FLOOD = 0xfffffffb as OfpPort;
export const OFPP_ALL = 0xfffffffc as OfpPort;
export const OFPP_CONTROLLER = 0xfffffffd as OfpPort;
export const OFPP_LOCAL = 0xfffffffe as OfpPort;
/** Also OFPP_ANY. */
export const OFPP_NONE = 0xffffffff as OfpPort;
