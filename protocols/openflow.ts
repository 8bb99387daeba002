/** Numbers of the OpenFlow specifications 1.0.0 – 1.5.1 and of Nicira's extensions. */

/** Versions as on the wire. */
export const OFP10_VERSION = 1;
export const OFP11_VERSION = 2;
export const OFP12_VERSION = 3;
export const OFP13_VERSION = 4;
export const OFP14_VERSION = 5;
export const OFP15_VERSION = 6;

export const NX_VENDOR_ID = 0x00002320;
export const ONF_VENDOR_ID = 0x4f4e4600;
export const INTEL_VENDOR_ID = 0x0000aa01;

/** Reserved ports, in 32-bit form. OpenFlow 1.0 writes the low 16 bits; its OFPP_NONE is 1.1's OFPP_ANY. */
export const OFPP_MAX = 0xffffff00;
export const OFPP_UNSET = 0xfffffff7;
export const OFPP_IN_PORT = 0xfffffff8;
export const OFPP_TABLE = 0xfffffff9;
export const OFPP_NORMAL = 0xfffffffa;
export const OFPP_FLOOD = 0xfffffffb;
export const OFPP_ALL = 0xfffffffc;
export const OFPP_CONTROLLER = 0xfffffffd;
export const OFPP_LOCAL = 0xfffffffe;
export const OFPP_ANY = 0xffffffff;
/** OpenFlow 1.0's number of the first reserved port. */
export const OFPP10_MAX = 0xff00;

export const OFPG_ANY = 0xffffffff;
export const OFPTT_ALL = 0xff;
export const OFPQ_ALL = 0xffffffff;
export const OFPCML_NO_BUFFER = 0xffff;

/** Bytes of the header that every message has. */
export const OFP_HEADER_SIZE = 8;
