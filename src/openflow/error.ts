import type { OfErrorName } from '../../protocols/openflow-errors.ts';

/** An error to answer a peer with. `name` is version-independent (`OFPBRC_BAD_TYPE`, `NXBRC_…`). */
export interface OfError {
  name: OfErrorName;
}
