import { VlogRateLimit, type VlogText, vlogModule } from '../base/vlog.ts';

/** The log of the codec and of flow text, in the modules and at the rates of Open vSwitch's. */

const actions = vlogModule('ofp_actions');
const metaFlow = vlogModule('meta_flow');
const nxMatch = vlogModule('nx_match');
const match = vlogModule('ofp_match');
const port = vlogModule('ofp_port');

const limitOfActions = new VlogRateLimit(1, 5);
const limitOfMetaFlow = new VlogRateLimit(1, 5);
const limitOfNxMatch = new VlogRateLimit(1, 5);
const limitOfMatch = new VlogRateLimit(1, 5);
const limitOfPort = new VlogRateLimit(1, 5);

export const actionWarn = (text: VlogText): void => actions.warnRl(limitOfActions, text);
/** For what Open vSwitch logs without a limit. */
export const actionWarnAlways = (text: VlogText): void => actions.warn(text);
export const actionInfo = (text: VlogText): void => actions.infoRl(limitOfActions, text);
export const metaFlowWarn = (text: VlogText): void => metaFlow.warnRl(limitOfMetaFlow, text);
export const nxMatchWarn = (text: VlogText): void => nxMatch.warnRl(limitOfNxMatch, text);
export const nxMatchDebug = (text: VlogText): void => nxMatch.dbgRl(limitOfNxMatch, text);
/** False: held back. */
export function matchInfo(text: VlogText): boolean {
  let logged = false;
  match.infoRl(limitOfMatch, () => {
    logged = true;
    return typeof text === 'string' ? text : text();
  });
  return logged;
}
export const matchInfoAlways = (text: VlogText): void => match.info(text);
export const portWarn = (text: VlogText): void => port.warn(text);
const table = vlogModule('ofp_table');
export const portWarnOfTable = (text: VlogText): void => table.warn(text);
export const portWarnLimited = (text: VlogText): void => port.warnRl(limitOfPort, text);

/** Lines of 16 bytes: offset, and the bytes in hexadecimal. Each ends with a newline. */
export function hexDump(bytes: Uint8Array): string {
  let out = '';
  for (let at = 0; at < bytes.length; at += 16) {
    const line = Array.from(
      bytes.subarray(at, at + 16),
      (b, i) => `${b.toString(16).padStart(2, '0')}${i === 7 ? '-' : ' '}`,
    );
    out += `${at.toString(16).padStart(8, '0')}  ${line.join('').trimEnd()}\n`;
  }
  return out;
}
