import type { MessageType } from '../messages.ts';
import type { MessageHeader } from './header.ts';

/** Where the elements of lists end, for messages that are sound only so far. */

interface ElementSize {
  /** Where the element's 16-bit length is. */
  lengthAt?: number;
  /** Of elements without a length. */
  size?: number;
}

const OFP10_VERSION = 1;
const OFP14_VERSION = 5;
const LENGTH_FIRST: ElementSize = { lengthAt: 0 };

/** Fixed sizes before OpenFlow 1.4, when elements got lengths. */
function old(version: number, of10: number, of11: number, of13: number, since14: ElementSize): ElementSize {
  if (version >= OFP14_VERSION) return since14;
  return { size: version === OFP10_VERSION ? of10 : version >= 4 ? of13 : of11 };
}

const SIZES: { readonly [T in MessageType]?: (version: number) => ElementSize } = {
  flow_stats_reply: () => LENGTH_FIRST,
  flow_monitor_stats_reply: () => LENGTH_FIRST,
  group_stats_reply: () => LENGTH_FIRST,
  group_desc_stats_reply: () => LENGTH_FIRST,
  meter_stats_reply: () => ({ lengthAt: 4 }),
  meter_config_stats_reply: () => LENGTH_FIRST,
  table_features_stats_reply: () => LENGTH_FIRST,
  table_features_stats_request: () => LENGTH_FIRST,
  table_desc_reply: () => LENGTH_FIRST,
  port_stats_reply: (version) => old(version, 104, 104, 112, LENGTH_FIRST),
  port_desc_stats_reply: (version) => old(version, 48, 64, 64, { lengthAt: 4 }),
  queue_stats_reply: (version) => old(version, 32, 32, 40, LENGTH_FIRST),
};

/** Ends of the list's elements in the message, rising: first that of the empty list, none for messages that are no lists. */
export function* elementEnds({ type, version, bodyAt }: MessageHeader, msg: Uint8Array): Generator<number> {
  const sizeOf = SIZES[type]?.(version);
  if (!sizeOf) return;
  const { lengthAt, size } = sizeOf;
  for (let at = bodyAt; at <= msg.length; ) {
    yield at;
    const length = lengthAt === undefined ? size! : (msg[at + lengthAt] << 8) | msg[at + lengthAt + 1];
    if (!(length > 0)) return;
    at += length;
  }
}
