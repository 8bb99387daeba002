/** Where tun_metadata<n> lies in the 256 bytes of a Flow's `tun_metadata`. */
export interface TunLoc {
  readonly len: number;
  /** One, or several when the space was in pieces; lengths add up to `len`. */
  readonly chunks: readonly { readonly offset: number; readonly len: number }[];
  /** In a match without a table: it was given with a mask, as it will be written again. */
  readonly masked?: boolean;
}

/** What gives the bytes of a Flow's tunnel metadata their meaning: a bridge's TLV table, or one match's own allocation. */
export interface TunLayout {
  loc(index: number): TunLoc | undefined;
}
