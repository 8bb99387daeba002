import { checkActions } from '../../openflow/action-check.ts';
import { encodeActions } from '../../openflow/action-encode.ts';
import type { Ofpact } from '../../openflow/actions.ts';
import { OfDecodeError, Reader, Writer } from '../../openflow/buffer.ts';
import { encode } from '../../openflow/codec.ts';
import {
  formatActions,
  formatMatch,
  type ParsedFlow,
  parseFlowMod,
  parseFlow as parseFlowText,
} from '../../openflow/flow-text.ts';
import { parseGroupMod } from '../../openflow/group-text.ts';
import { pullActions, pullInstructions, putInstructions } from '../../openflow/instruction.ts';
import { catchallMatch, cloneMatch, type Match } from '../../openflow/match.ts';
import type { Message } from '../../openflow/messages.ts';
import { normalizeMatch } from '../../openflow/normalize.ts';
import { pullNxMatch, pullOxmMatch, putNxMatch, putOxmMatch } from '../../openflow/nx-match.ts';
import {
  nxMatchFromString,
  nxMatchToString,
  oxmMatchFromString,
  oxmMatchToString,
} from '../../openflow/nx-match-text.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match, putOfp11Match } from '../../openflow/ofp-match.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { plainHexDump } from '../../openflow/print/text.ts';
import {
  encodeOptionsOf,
  PROTOCOL_BITS,
  type Protocol,
  type Protocols,
  protocolsToString,
  versionFromName,
  versionName,
  versionOfProtocol,
} from '../../openflow/protocol.ts';
import { parsing } from './client.ts';
import { type OfctlCommand, type OfctlContext, out } from './context.ts';
import { Fatal } from './fatal.ts';
import { commonProtocols, parseLines } from './flow-commands.ts';
import { bytesFromHex, preprocessedLines, readInput } from './input.ts';
import { nextXid } from './xid.ts';

/** Commands for tests of the codec: text and bytes of flows, matches and actions, there and back. */

/** Says which formats are usable, and chooses the first that is allowed. */
function chooseProtocol(c: OfctlContext, usable: Protocols): Protocol {
  out(`usable protocols: ${protocolsToString(usable)}\n`);
  const wanted = usable & c.options.protocols;
  if (!wanted) throw new Fatal('no usable protocol');
  return PROTOCOL_BITS.find((bit) => wanted & bit)!;
}

function printMessage(c: OfctlContext, message: Message, protocol: Protocol): void {
  const [bytes] = encode(message, versionOfProtocol(protocol), nextXid(), encodeOptionsOf(protocol));
  out(ofpToString(bytes, c.options.verbosity));
}

function printFlows(c: OfctlContext, flows: readonly ParsedFlow[]): void {
  const protocol = chooseProtocol(c, commonProtocols(flows));
  out(`chosen protocol: ${protocolsToString(protocol)}\n`);
  for (const { fm } of flows) printMessage(c, fm, protocol);
}

const parseFlow: OfctlCommand = (c) => printFlows(c, [parsing(() => parseFlowMod(c.args[0], 'add'))]);

const parseFlows: OfctlCommand = (c) =>
  printFlows(
    c,
    parseLines(c.args[0], (line) => parseFlowMod(line, 'add')),
  );

const parseGroup: OfctlCommand = (c) => {
  const { group, protocols } = parsing(() => parseGroupMod(c.args[0], 'add'));
  const protocol = chooseProtocol(c, protocols);
  out(`chosen version: ${versionName(versionOfProtocol(protocol))}\n`);
  printMessage(c, group, protocol);
};

/** The lines of stdin of a test: comments alone and empty lines are printed as they are. */
function testLines(take: (line: string) => void): void {
  const lines = readInput('-').toString('latin1').split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (const line of lines) {
    if (line.startsWith('#')) out(`${line}\n`);
    else {
      const text = line.replace(/#.*$/s, '');
      if (/^[ \t\n]*$/.test(text)) out('\n');
      else take(text);
    }
  }
}

/** Runs `decode`; an error's name comes back instead. */
function orError<T>(decode: () => T): { value: T } | { error: string } {
  try {
    return { value: decode() };
  } catch (e) {
    if (e instanceof OfDecodeError) return { error: e.ofError };
    throw e;
  }
}

const bytesOf = (put: (w: Writer) => void): Uint8Array => {
  const w = new Writer();
  put(w);
  return w.done();
};

function nxmThereAndBack(text: string, loose: boolean): { text: string; bytes: Uint8Array } | string {
  const { bytes, length } = nxMatchFromString(text);
  const pulled = orError(() => pullNxMatch(new Reader(bytes), length, { cookie: true, loose }));
  if ('error' in pulled) return pulled.error;
  const { match, cookie, cookieMask } = pulled.value;
  let size = 0;
  const back = bytesOf((w) => {
    size = putNxMatch(w, match, 0, cookie, cookieMask);
  });
  return { text: nxMatchToString(back.subarray(0, size)), bytes: back };
}

function oxmThereAndBack(text: string, loose: boolean, version: number): { text: string; bytes: Uint8Array } | string {
  const { bytes } = oxmMatchFromString(text);
  const pulled = orError(() => pullOxmMatch(new Reader(bytes), loose));
  if ('error' in pulled) return pulled.error;
  const back = bytesOf((w) => putOxmMatch(w, pulled.value, version));
  const size = (back[2] << 8) | back[3];
  return { text: oxmMatchToString(back, size), bytes: back };
}

/** `version` 0: NXM. */
function parseMatches(c: OfctlContext, version: number): void {
  const loose = !c.options.strict;
  testLines((line) => {
    const result = parsing(() => (version ? oxmThereAndBack(line, loose, version) : nxmThereAndBack(line, loose)));
    if (typeof result === 'string') out(`nx_pull_match() returned error ${result}\n`);
    else out(`${result.text}\n${c.options.verbosity > 0 ? plainHexDump(result.bytes) : ''}`);
  });
}

const parseNxm: OfctlCommand = (c) => parseMatches(c, 0);

const parseOxm: OfctlCommand = (c) => {
  const version = versionFromName(c.args[0]);
  if (version < 3) throw new Fatal(`${c.args[0]}: not a valid version for OXM`);
  parseMatches(c, version);
};

const hex2 = (b: number): string => b.toString(16).padStart(2, '0');

function differences(prefix: string, a: Uint8Array, b: Uint8Array): string {
  const out: string[] = [];
  const at = (i: number) => `${prefix}${String(i).padStart(2)}: `;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === b[i]) continue;
    const byte = (x: Uint8Array) => (i < x.length ? hex2(x[i]) : '(none)');
    out.push(`${at(i)}${byte(a)} -> ${byte(b)}\n`);
  }
  return out.join('');
}

function digits(line: string): Uint8Array {
  const bytes = bytesFromHex(line);
  if (!bytes) throw new Fatal('Trailing garbage in hex data');
  return bytes;
}

function decodeList(bytes: Uint8Array, version: number, instructions: boolean, tableId: number): Ofpact[] {
  const r = new Reader(bytes);
  if (!instructions) return pullActions(r, version, false);
  const actions = pullInstructions(r, version);
  const error = checkActions(actions, catchallMatch(), { tableId, nTables: 255, allowInconsistent: version === 1 });
  if (error) throw new OfDecodeError(error);
  return actions;
}

const parseActionBytes =
  (instructions: boolean): OfctlCommand =>
  ({ args: [name] }) => {
    const version = versionFromName(name);
    if (!version) throw new Fatal(`${name}: not a valid OpenFlow version`);
    for (const { text } of preprocessedLines(readInput('-').toString('latin1'))) {
      const comma = text.indexOf(',');
      const tableId = comma < 0 ? 0 : Number.parseInt(text, 10) || 0;
      const bytes = digits(text.slice(comma + 1));
      const result = orError(() => decodeList(bytes, version, instructions, tableId));
      if ('error' in result) {
        out(`bad ${name} ${instructions ? 'instructions' : 'actions'}: ${result.error}\n\n`);
        continue;
      }
      const actions = result.value;
      const back = bytesOf((w) => {
        if (instructions) putInstructions(w, actions, version);
        else encodeActions(w, actions, version);
      });
      out(`actions=${formatActions(actions)}\n${differences('', bytes, back)}\n`);
    }
  };

const OFP10_MATCH_SIZE = 40;
const OFP11_MATCH_SIZE = 88;

function sized(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length !== size) throw new Fatal(`Input is ${bytes.length} bytes, expected ${size}`);
  return bytes;
}

/** `x` digits are of no meaning: random when read, zero when written back. */
const parseOfp10Match: OfctlCommand = () => {
  for (const { text } of preprocessedLines(readInput('-').toString('latin1'))) {
    const expected = sized(digits(text.replace(/x/g, '0')), OFP10_MATCH_SIZE);
    const random = text.replace(/x/g, () => '0123456789abcdef'[Math.floor(Math.random() * 16)]);
    const match = pullOfp10Match(new Reader(sized(digits(random), OFP10_MATCH_SIZE)));
    const back = bytesOf((w) => putOfp10Match(w, match));
    const normal = cloneMatch(match);
    normalizeMatch(normal);
    const normalBack = bytesOf((w) => putOfp10Match(w, normal));
    out(`${formatMatch(match)}\n${differences('', expected, back)}${differences('normal: ', back, normalBack)}\n`);
  }
};

const parseOfp11Match: OfctlCommand = () => {
  for (const { text } of preprocessedLines(readInput('-').toString('latin1'))) {
    const bytes = sized(digits(text), OFP11_MATCH_SIZE);
    const result = orError(() => pullOfp11Match(new Reader(bytes)));
    if ('error' in result) out(`bad ofp11_match: ${result.error}\n\n`);
    else {
      const back = bytesOf((w) => putOfp11Match(w, result.value));
      out(`${formatMatch(result.value)}\n${differences('', bytes, back)}\n`);
    }
  }
};

const hex4 = (n: number): string => n.toString(16).padStart(4, '0');
const tciText = ({ flow, wc }: Match): string => `${hex4(flow.vlanTci0)}/${hex4(wc.vlanTci0)}`;
const VLAN_VID_CFI = 0x1fff;
const VLAN_PCP_SHIFT = 13;

/** A match of a tag, to and from every form that it has. */
const checkVlan: OfctlCommand = ({ args }) => {
  const match = catchallMatch();
  match.flow.vlanTci0 = Number.parseInt(args[0], 16) & 0xffff;
  match.wc.vlanTci0 = Number.parseInt(args[1], 16) & 0xffff;
  const text = formatMatch(match);
  out(`${text} -> ${tciText(parsing(() => parseFlowText(text, 'match')).fm.match)}\n`);
  const nxm = vlanNxm(match);
  out(`NXM: ${nxm}\nOXM: ${vlanOxm(match)}\n`);
  out(`OF1.0: ${vlanOld(match, putOfp10Match, pullOfp10Match, { vlan: 18, pcp: 20, wildcards: 0 })}\n`);
  out(`OF1.1: ${vlanOld(match, putOfp11Match, pullOfp11Match, { vlan: 36, pcp: 38, wildcards: 8 })}\n`);
};

function vlanNxm(match: Match): string {
  let size = 0;
  const bytes = bytesOf((w) => {
    size = putNxMatch(w, match, 0);
  });
  const pulled = orError(() => pullNxMatch(new Reader(bytes), size));
  const text = nxMatchToString(bytes.subarray(0, size));
  return `${text} -> ${'error' in pulled ? pulled.error : tciText(pulled.value.match)}`;
}

function vlanOxm(match: Match): string {
  const bytes = bytesOf((w) => putOxmMatch(w, match, 3));
  const text = oxmMatchToString(bytes, (bytes[2] << 8) | bytes[3]);
  const pulled = orError(() => pullOxmMatch(new Reader(bytes)));
  if ('error' in pulled) return `${text} -> ${pulled.error}`;
  const { flow, wc } = pulled.value;
  const vid = flow.vlanTci0 & VLAN_VID_CFI;
  const pcp = wc.vlanTci0 >> VLAN_PCP_SHIFT ? String(flow.vlanTci0 >> VLAN_PCP_SHIFT).padStart(2, '0') : undefined;
  return `${text} -> ${hex4(vid)}/${hex4(wc.vlanTci0 & VLAN_VID_CFI)},${vid && pcp !== undefined ? pcp : '--'}`;
}

const OFPFW_DL_VLAN = [1 << 1, 1 << 20] as const;
const OFPFW11_DL_VLAN = [1 << 1, 1 << 2] as const;

/** Tag and priority with their wildcard bits in an `ofp_match` of a fixed layout. */
function vlanOld(
  match: Match,
  put: (w: Writer, m: Match) => void,
  pull: (r: Reader) => Match,
  at: { vlan: number; pcp: number; wildcards: number },
): string {
  const bytes = bytesOf((w) => put(w, match));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wildcards = view.getUint32(at.wildcards);
  const [vlanBit, pcpBit] = at.wildcards === 0 ? OFPFW_DL_VLAN : OFPFW11_DL_VLAN;
  const wild = (bit: number) => (wildcards & bit ? 1 : 0);
  const tag = `${hex4(view.getUint16(at.vlan))}/${wild(vlanBit)},${hex2(bytes[at.pcp])}/${wild(pcpBit)}`;
  return `${tag} -> ${tciText(pull(new Reader(bytes)))}`;
}

export const COMMANDS = {
  'parse-flow': parseFlow,
  'parse-flows': parseFlows,
  'parse-group': parseGroup,
  'parse-nx-match': parseNxm,
  'parse-nxm': parseNxm,
  'parse-oxm': parseOxm,
  'parse-actions': parseActionBytes(false),
  'parse-instructions': parseActionBytes(true),
  'parse-ofp10-match': parseOfp10Match,
  'parse-ofp11-match': parseOfp11Match,
  'check-vlan': checkVlan,
};
