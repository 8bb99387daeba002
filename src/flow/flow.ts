import { FLOW_SIZE, FlowFields } from '../gen/flow.ts';
import type { TunLayout } from './tun-layout.ts';

/** The headers and metadata of one packet. Zero where the packet has no such header. */
export class Flow extends FlowFields {
  /** How `tunMetadata` is laid out; undefined: none of it is known. No part of the flow's value. */
  tunTable: TunLayout | undefined = undefined;

  clone(): Flow {
    const copy = new Flow();
    copy.copyFrom(this);
    return copy;
  }

  copyFrom(other: FlowFields): void {
    this.u32.set(other.u32);
    this.tunTable = (other as Flow).tunTable;
  }

  equals(other: FlowFields): boolean {
    for (let i = 0; i < FLOW_SIZE / 4; i++) if (this.u32[i] !== other.u32[i]) return false;
    return true;
  }

  /** True when this and `other` agree in every bit of `mask`. */
  equalsMasked(other: FlowFields, mask: FlowFields): boolean {
    for (let i = 0; i < FLOW_SIZE / 4; i++) if ((this.u32[i] ^ other.u32[i]) & mask.u32[i]) return false;
    return true;
  }

  /** Clears every bit that is not in `mask`. */
  maskWith(mask: FlowFields): void {
    for (let i = 0; i < FLOW_SIZE / 4; i++) this.u32[i] &= mask.u32[i];
  }

  /** Sets every bit that is in `other`; on masks: a union. */
  orWith(other: FlowFields): void {
    for (let i = 0; i < FLOW_SIZE / 4; i++) this.u32[i] |= other.u32[i];
  }

  isZero(): boolean {
    for (let i = 0; i < FLOW_SIZE / 4; i++) if (this.u32[i] !== 0) return false;
    return true;
  }
}

/** A mask of a Flow's shape: 1-bits are matched. */
export class FlowWildcards extends Flow {
  override clone(): FlowWildcards {
    const copy = new FlowWildcards();
    copy.copyFrom(this);
    return copy;
  }
}

/** A flow and the bits of it that matter; bits outside `wc` are zero in `flow`. */
export interface Match {
  flow: Flow;
  wc: FlowWildcards;
}
