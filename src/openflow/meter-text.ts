import { FlowTextError } from './field-text.ts';
import {
  type MeterBand,
  type MeterCommand,
  type MeterMod,
  MF_BURST,
  MF_KBPS,
  MF_PKTPS,
  MF_STATS,
  OFPM_ALL,
  OFPM_CONTROLLER,
  OFPM_MAX,
  OFPM_SLOWPATH,
} from './messages-meter.ts';
import { strToU8, strToU32, Tokens } from './number-text.ts';
import { P_OF13_UP, type Protocols } from './protocol.ts';

/** Meters in ovs-ofctl's syntax (ovs-ofctl(8), "Meter Syntax"). Parsers throw FlowTextError. */

/** Meters exist from OpenFlow 1.3 on. */
export const METER_PROTOCOLS: Protocols = P_OF13_UP;

const FLAGS: Readonly<Record<string, number>> = { kbps: MF_KBPS, pktps: MF_PKTPS, burst: MF_BURST, stats: MF_STATS };
const METERS: Readonly<Record<string, number>> = {
  all: OFPM_ALL,
  controller: OFPM_CONTROLLER,
  slowpath: OFPM_SLOWPATH,
};

const NAME_END = '=, \t\r\n';
const VALUE_END = ', \t\r\n';

/** `name=value` pairs; a name that `alone` takes has no value. */
function parsePairs(s: string, take: (name: string, value: string) => void, alone = (_: string) => false): void {
  const tokens = new Tokens(s);
  for (let name = tokens.next(NAME_END); name !== undefined; name = tokens.next(NAME_END)) {
    if (alone(name)) continue;
    const value = tokens.next(VALUE_END);
    if (value === undefined) throw new FlowTextError(`field ${name} missing value`);
    take(name, value);
  }
}

function parseMeterId(value: string): number {
  if (Object.hasOwn(METERS, value)) return METERS[value];
  const id = strToU32(value);
  if (id === 0 || id > OFPM_MAX) throw new FlowTextError('invalid value for meter');
  return id;
}

/** Parses a meter for a command; undefined takes its id alone. */
export function parseMeterMod(s: string, command: MeterCommand | undefined): MeterMod {
  const mod: MeterMod = { type: 'meter_mod', command: command ?? 'delete', meterId: 0, flags: 0, bands: [] };
  const full = command === 'add' || command === 'modify';
  const [head, bands] = full ? splitBands(s) : [s, ''];
  const isFlag = (name: string) => {
    if (!full || !Object.hasOwn(FLAGS, name)) return false;
    mod.flags |= FLAGS[name];
    return true;
  };
  const take = (name: string, value: string) => {
    if (name !== 'meter') throw new FlowTextError(`unknown keyword ${name}`);
    mod.meterId = parseMeterId(value);
  };
  parsePairs(head, take, isFlag);
  if (!mod.meterId) throw new FlowTextError("must specify 'meter'");
  if (!full) return mod;
  if (!mod.flags) throw new FlowTextError("meter must specify either 'kbps' or 'pktps'");
  mod.bands = parseBands(bands);
  checkBands(mod);
  return mod;
}

/** What is before the word `band` (or `bands`), and what is behind its `=`. */
function splitBands(s: string): [string, string] {
  const at = s.indexOf('band');
  const equals = at < 0 ? -1 : s.indexOf('=', at + 1);
  if (equals < 0) throw new FlowTextError('must specify bands');
  return [s.slice(0, at), s.slice(equals + 1)];
}

function parseBands(s: string): MeterBand[] {
  const bands: MeterBand[] = [];
  parsePairs(s, (name, value) => {
    if (name === 'type') {
      if (value !== 'drop' && value !== 'dscp_remark') throw new FlowTextError(`field ${name} unknown value ${value}`);
      bands.push({ type: value, rate: 0, burstSize: 0, precLevel: 0 });
      return;
    }
    const band = bands.at(-1);
    if (!band) throw new FlowTextError("band must start with the 'type' keyword");
    if (name === 'rate') band.rate = strToU32(value);
    else if (name === 'burst_size') band.burstSize = strToU32(value);
    else if (name === 'prec_level') band.precLevel = strToU8(value, name);
    else throw new FlowTextError(`unknown keyword ${name}`);
  });
  if (!bands.length) throw new FlowTextError('meter must have bands');
  return bands;
}

function checkBands({ bands, flags }: MeterMod): void {
  const burst = (flags & MF_BURST) !== 0;
  for (const b of bands) {
    if (b.type === 'dscp_remark' && !b.precLevel) throw new FlowTextError("'dscp_remark' band must have 'prec_level'");
    if (b.type !== 'dscp_remark' && b.precLevel)
      throw new FlowTextError("Only 'dscp_remark' band may have 'prec_level'");
    if (!b.rate) throw new FlowTextError("band must have 'rate'");
    if (burst && !b.burstSize) throw new FlowTextError("band must have 'burst_size' when 'burst' flag is set");
    if (!burst && b.burstSize) throw new FlowTextError("band may have 'burst_size' only when 'burst' flag is set");
  }
}
