/** The switch behind containers, and what their tests need. */
import { SWITCH_PEERS } from './switch.ts';

export const PLUG_PEERS = [...SWITCH_PEERS, 'nsenter'];
