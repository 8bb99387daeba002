import { FLOW_SIZE, FlowFields } from '../gen/flow.ts';

/** The headers and metadata of one packet. Zero where the packet has no such header. */
export class Flow extends FlowFields {
  clone(): Flow {
    const copy = new Flow();
    copy.u32.set(this.u32);
    return copy;
  }

  copyFrom(other: FlowFields): void {
    this.u32.set(other.u32);
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
    copy.u32.set(this.u32);
    return copy;
  }
}

/** A flow and the bits of it that matter; bits outside `wc` are zero in `flow`. */
export interface Match {
  flow: Flow;
  wc: FlowWildcards;
}
