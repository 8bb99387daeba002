import { type OfpPort, ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { encodeActions } from './action-encode.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { pullActions } from './instruction.ts';
import { type Prop, propU16, propU32, pullProps, putPropU16, putPropU32, unknownProp } from './message-prop.ts';
import { type Bucket, OFPG_ANY, OFPG15_BUCKET_MAX } from './messages-group.ts';
import { portFromOfp11 } from './port.ts';

/** Buckets of groups, in the forms of OpenFlow 1.1 and 1.5. */

const log = vlogModule('ofp_group');
const rl = new VlogRateLimit(1, 5);
const OFPP_ANY = 0xffffffff;
const HEAD11 = 16;
const HEAD15 = 8;

function bad(text: string): OfDecodeError {
  log.warnRl(rl, text);
  return new OfDecodeError('OFPGMFC_BAD_BUCKET', text);
}

function checkLength(length: number, head: number, left: number): void {
  if (length < head) throw bad(`OpenFlow message bucket length ${length} is not valid`);
  if (length > left) throw bad(`OpenFlow message bucket length ${length} exceeds remaining buckets data size ${left}`);
}

function watchPortOf(port: number): OfpPort {
  return portFromOfp11(port, 'OFPGMFC_BAD_WATCH');
}

/** Reads OpenFlow 1.1's buckets to the end of `r`. */
export function pullBuckets11(r: Reader, version: number): Bucket[] {
  const buckets: Bucket[] = [];
  while (r.left > 0) {
    if (r.left < HEAD11) throw bad(`buckets end with ${r.left} leftover bytes`);
    const left = r.left;
    const [length, weight, port, watchGroup] = [r.readU16(), r.readU16(), r.readU32(), r.readU32()];
    r.skip(4);
    checkLength(length, HEAD11, left);
    const actions = pullActions(r.sub(length - HEAD11), version, false);
    buckets.push({ weight, watchPort: watchPortOf(port), watchGroup, bucketId: buckets.length, actions });
  }
  return buckets;
}

export function putBucket11(w: Writer, b: Bucket, version: number): void {
  const start = w.length;
  w.putU16(0);
  w.putU16(b.weight);
  w.putU32(b.watchPort);
  w.putU32(b.watchGroup);
  w.putZeros(4);
  encodeActions(w, b.actions, version);
  w.setU16(start, w.length - start);
}

const PROP = { WEIGHT: 0, WATCH_PORT: 1, WATCH_GROUP: 2 } as const;

interface BucketProps {
  weight: number;
  port: number;
  watchGroup: number;
}

function readProp(into: BucketProps, p: Prop): void {
  if (p.experimenter) unknownProp(log, false, 'group bucket', p);
  else if (p.type === PROP.WEIGHT) into.weight = propU16(p);
  else if (p.type === PROP.WATCH_PORT) into.port = propU32(p);
  else if (p.type === PROP.WATCH_GROUP) into.watchGroup = propU32(p);
  else unknownProp(log, false, 'group bucket', p);
}

function pullBucket15(r: Reader, version: number, select: boolean): Bucket {
  if (r.left < HEAD15) throw bad(`buckets end with ${r.left} leftover bytes`);
  const left = r.left;
  const [length, actionsLength, bucketId] = [r.readU16(), r.readU16(), r.readU32()];
  checkLength(length, HEAD15, left);
  if (actionsLength > length - HEAD15) {
    const room = length - HEAD15;
    throw bad(`OpenFlow message bucket actions length ${actionsLength} exceeds remaining bucket data size ${room}`);
  }
  const body = r.sub(length - HEAD15);
  const actions = pullActions(body.sub(actionsLength), version, false);
  const props: BucketProps = { weight: select ? 1 : 0, port: OFPP_ANY, watchGroup: OFPG_ANY };
  for (const p of pullProps(body)) readProp(props, p);
  const { weight, port, watchGroup } = props;
  const watchPort = watchPortOf(port);
  if (bucketId > OFPG15_BUCKET_MAX) throw bad(`bucket id (${bucketId}) is out of range`);
  return { weight, watchPort, watchGroup, bucketId, actions };
}

/** Reads OpenFlow 1.5's buckets to the end of `r`. */
export function pullBuckets15(r: Reader, version: number, select: boolean): Bucket[] {
  const buckets: Bucket[] = [];
  const ids = new Set<number>();
  while (r.left > 0) {
    const b = pullBucket15(r, version, select);
    buckets.push(b);
    ids.add(b.bucketId);
  }
  if (ids.size !== buckets.length) throw bad('Duplicate bucket id');
  return buckets;
}

function putBucket15(w: Writer, b: Bucket, bucketId: number, version: number, select: boolean): void {
  const start = w.length;
  w.putU16(0);
  w.putU16(0);
  w.putU32(bucketId);
  encodeActions(w, b.actions, version);
  w.setU16(start + 2, w.length - start - HEAD15);
  if (select || b.weight) putPropU16(w, PROP.WEIGHT, b.weight);
  if (b.watchPort !== ofpPort(OFPP_ANY)) putPropU32(w, PROP.WATCH_PORT, b.watchPort);
  if (b.watchGroup !== OFPG_ANY) putPropU32(w, PROP.WATCH_GROUP, b.watchGroup);
  w.setU16(start, w.length - start);
}

/** Appends buckets; those without an id of their own (above OFPG15_BUCKET_MAX) get the first that are free. */
export function putBuckets15(w: Writer, buckets: readonly Bucket[], version: number, select: boolean): void {
  const taken = new Set(buckets.map((b) => b.bucketId));
  let next = 0;
  for (const b of buckets) {
    let id = b.bucketId;
    if (id > OFPG15_BUCKET_MAX) {
      while (taken.has(next)) next++;
      id = next++;
    }
    putBucket15(w, b, id, version, select);
  }
}
