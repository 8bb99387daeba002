/** Branded numbers that must not be mixed up. */

/** A datapath's port number. 0 is the datapath's own local port. */
export type OdpPort = number & { readonly __brand: 'OdpPort' };
/** An OpenFlow port number of one bridge, in 32-bit OpenFlow 1.1+ form (OFPP_LOCAL = 0xfffffffe). */
export type OfpPort = number & { readonly __brand: 'OfpPort' };

export const odpPort = (n: number): OdpPort => n as OdpPort;
export const ofpPort = (n: number): OfpPort => n as OfpPort;
export const ODPP_NONE = odpPort(0xffffffff);
