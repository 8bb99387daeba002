import type { RegisterOfprotoCommands } from './ofproto.ts';

/** Commands of ovs-appctl over all bridges and datapaths. */
export const registerOfprotoCommands: RegisterOfprotoCommands = () => {};
