import { NX_ACTION_SAMPLE_DIRECTION, NXAST } from '../../protocols/openflow-actions.ts';
import { ofpPort } from '../base/types.ts';
import { putNicira } from './action-wire.ts';
import type { OfpactOf } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { parseKeyValues } from './key-value.ts';
import { FlowTextError, strToU16, strToU32 } from './number-text.ts';
import { actionWarn } from './openflow-log.ts';
import { formatPort, type PortNames, parsePort } from './port.ts';

/** `sample` (NXAST_SAMPLE, SAMPLE2, SAMPLE3): bytes and text. */

type Sample = OfpactOf<'sample'>;

const OFPP_NONE = ofpPort(0xffffffff);

/** `raw`: NXAST.SAMPLE, SAMPLE2 (a sampling port) or SAMPLE3 (and a direction). */
export function decodeSample(r: Reader, raw: number): Sample {
  const a: Sample = {
    type: 'sample',
    probability: r.readU16(),
    collectorSetId: r.readU32(),
    obsDomainId: r.readU32(),
    obsPointId: r.readU32(),
    samplingPort: OFPP_NONE,
    direction: 'default',
  };
  if (raw !== NXAST.SAMPLE) {
    a.raw = raw;
    a.samplingPort = ofpPort(portFromOfp10(r.readU16()));
    if (raw === NXAST.SAMPLE3) a.direction = pullDirection(r);
  }
  if (a.probability === 0) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return a;
}

function pullDirection(r: Reader): Sample['direction'] {
  const n = r.readU8();
  if (!r.zeros(r.left)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  const direction = NX_ACTION_SAMPLE_DIRECTION[n];
  if (direction !== undefined) return direction;
  actionWarn(`invalid sample direction ${n}`);
  throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
}

function formOf(a: Sample): number {
  if (a.raw === NXAST.SAMPLE3 || a.direction !== 'default') return NXAST.SAMPLE3;
  return a.raw === NXAST.SAMPLE2 || a.samplingPort !== OFPP_NONE ? NXAST.SAMPLE2 : NXAST.SAMPLE;
}

export function encodeSample(w: Writer, a: Sample): void {
  const form = formOf(a);
  putNicira(w, form, () => {
    w.putU16(a.probability);
    w.putU32(a.collectorSetId);
    w.putU32(a.obsDomainId);
    w.putU32(a.obsPointId);
    if (form === NXAST.SAMPLE) return;
    w.putU16(a.samplingPort & 0xffff);
    w.putU8(NX_ACTION_SAMPLE_DIRECTION.indexOf(a.direction));
    w.putZeros(5);
  });
}

export function formatSample(a: Sample, names: PortNames | undefined): string {
  let out = `probability=${a.probability},collector_set_id=${a.collectorSetId},obs_domain_id=${a.obsDomainId},obs_point_id=${a.obsPointId}`;
  if (a.samplingPort !== OFPP_NONE) out += `,sampling_port=${formatPort(a.samplingPort, names)}`;
  if (a.direction !== 'default') out += `,${a.direction}`;
  return `sample(${out})`;
}

function parseItem(a: Sample, key: string, value: string, names: PortNames | undefined): void {
  if (key === 'probability') {
    a.probability = strToU16(value, key);
    if (a.probability === 0) throw new FlowTextError(`invalid probability value "${value}"`);
  } else if (key === 'collector_set_id') a.collectorSetId = strToU32(value);
  else if (key === 'obs_domain_id') a.obsDomainId = strToU32(value);
  else if (key === 'obs_point_id') a.obsPointId = strToU32(value);
  else if (key === 'sampling_port') {
    const port = parsePort(value, names);
    if (port === undefined) throw new FlowTextError(`${value}: unknown port`);
    a.samplingPort = port;
  } else if (key === 'ingress' || key === 'egress') a.direction = key;
  else throw new FlowTextError(`invalid key "${key}" in "sample" argument`);
}

export function parseSample(s: string, names: PortNames | undefined): Sample {
  const a: Sample = {
    type: 'sample',
    probability: 0,
    collectorSetId: 0,
    obsDomainId: 0,
    obsPointId: 0,
    samplingPort: OFPP_NONE,
    direction: 'default',
  };
  for (const { key, value } of parseKeyValues(s)) parseItem(a, key, value, names);
  if (a.probability === 0) throw new FlowTextError('non-zero "probability" must be specified on sample');
  return a;
}
