/** What spreads packets by hash: `hash`, and the buckets of `lb_output`. A packet's dp_hash lies in its key, in network order. */
import {
  ACT_F_CHANGED,
  ARENA_BOND_BYTES,
  ARENA_BOND_BYTES_STRIDE,
  ARENA_BONDS,
  BOND__SIZE,
  BOND_BUCKETS,
  BOND_BYTES__SIZE,
  BOND_KEY,
  BOND_MEMBERS,
  BONDS_MAX,
  HASH_SYM_L4,
  KEY_DP_HASH,
  NO_PORT,
  PKT__SIZE,
  PKT_F_NO_RSS,
  PKT_FLAGS,
  PKT_KEY,
  PKT_LONG,
  SCRATCH_PKT,
} from './gen/arena';
import { extract, lengthenKey } from './extract';
import { hash2Words, hash5Tuple, hashSymmetricL3L4, rssHash } from './packet-hash';
import { bump, pkts, threadIndex } from './thread';

/** A packet record whose key says what the packet's headers are now. The packet's own key is that of its lookup. */
// @ts-ignore: decorator
@inline
function upToDate(pkt: u32, flags: u32): u32 {
  if (!(flags & ACT_F_CHANGED)) return pkt;
  const scratch = pkts + SCRATCH_PKT * PKT__SIZE;
  memory.copy(scratch, pkt, PKT_KEY);
  extract(scratch, 0);
  return scratch;
}

/** Gives the packet its dp_hash. `flags`: ACT_F_CHANGED. */
export function hashPacket(pkt: u32, algorithm: u32, basis: u32, flags: u32): void {
  let hash: u32;
  if (algorithm == HASH_SYM_L4) {
    hash = hashSymmetricL3L4(upToDate(pkt, flags), basis);
  } else if (load<u32>(pkt, PKT_FLAGS) & PKT_F_NO_RSS) hash = hash5Tuple(upToDate(pkt, flags), basis);
  else hash = hash2Words(rssHash(pkt), basis);
  lengthenKey(pkt);
  store<u32>(pkt + PKT_KEY, bswap<u32>(hash), KEY_DP_HASH);
}

/** The hash that a bond goes by: that of a `hash` action, else the one that the packet came with, else one of its headers. */
function bondHash(pkt: u32, flags: u32): u32 {
  const dpHash = load<u16>(pkt, PKT_LONG) ? bswap<u32>(load<u32>(pkt + PKT_KEY, KEY_DP_HASH)) : 0;
  if (dpHash) return dpHash;
  if (!(load<u32>(pkt, PKT_FLAGS) & PKT_F_NO_RSS)) return rssHash(pkt);
  return hash5Tuple(upToDate(pkt, flags), 0);
}

/** Number of the bond's record, BONDS_MAX: there is no such bond. A record's key is the id plus one, which 0xffffffff has not: that is no bond's. */
export function findBond(id: u32): u32 {
  if (id == 0xffffffff) return BONDS_MAX;
  for (let i: u32 = 0; i < BONDS_MAX; i++) {
    const bond = (id + i) & (BONDS_MAX - 1);
    if (atomic.load<u32>(ARENA_BONDS + bond * BOND__SIZE, BOND_KEY) == id + 1) return bond;
  }
  return BONDS_MAX;
}

/** The port that the bond sends the packet by, `size` bytes of it, which are counted; NO_PORT: none. */
export function chooseMember(bond: u32, pkt: u32, size: u32, flags: u32): u32 {
  const bucket = bondHash(pkt, flags) & (BOND_BUCKETS - 1);
  const port = atomic.load<u32>(ARENA_BONDS + bond * BOND__SIZE + bucket * 4, BOND_MEMBERS);
  if (port == NO_PORT) return NO_PORT;
  bump(ARENA_BOND_BYTES + threadIndex * ARENA_BOND_BYTES_STRIDE + bond * BOND_BYTES__SIZE + bucket * 8, size);
  return port;
}
