/**
 * The split ring of a guest, seen from the device (virtio 1.1, section 2.6). One instance a guest and thread: memory 0 is the arena, memory 1 the
 * guest's. `rx` takes what the guest transmits, `tx` fills what the guest receives; `pull` and `release` finish what `rx` left of big frames.
 *
 * Nothing that a guest writes is believed: each 16-byte descriptor is copied once and the copy is checked, every range is checked against
 * the region table before it is touched, chains end at the ring's size, and nothing here reads or writes outside the guest's memory and the
 * thread's own slots.
 */
import { VRING_LAST_USED, VRING_USED } from './gen/arena';
import { gAtomicStore16 } from './guest';
import { indexDistance, usable } from './ring';

export { pull, release, rx } from './vring-rx';
export { tx } from './vring-tx';

const USED_F_NO_NOTIFY: u32 = 1;

/** 1 when the guest has something for us on this ring. */
export function pending(vring: u32): u32 {
  if (!usable(vring)) return 0;
  return indexDistance(vring) != 0 ? 1 : 0;
}

/** Asks the guest to kick (on = 1) or not to (on = 0). A caller that turns it on looks at `pending` again afterwards. */
export function setNotify(vring: u32, on: u32): void {
  if (!usable(vring)) return;
  gAtomicStore16(load<u32>(vring, VRING_USED), on ? 0 : USED_F_NO_NOTIFY);
}

/** Publishes our index as the guest must see it when the ring starts. */
export function startRing(vring: u32): void {
  gAtomicStore16(load<u32>(vring, VRING_USED) + 2, load<u32>(vring, VRING_LAST_USED) & 0xffff);
}
