/** Transaction ids of requests: from 1 upwards. */

let next = 1;

export const nextXid = (): number => next++;

export const xidOf = (msg: Uint8Array): number => ((msg[4] << 24) | (msg[5] << 16) | (msg[6] << 8) | msg[7]) >>> 0;
