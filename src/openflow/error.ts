import { NX_VENDOR_ID, ONF_VENDOR_ID } from '../../protocols/openflow.ts';
import { OF_ERRORS, type OfErrorName, type OfErrorSpec } from '../../protocols/openflow-errors.ts';

export type { OfErrorName };

/** An error to answer a peer with. `name` is version-independent (`OFPBRC_BAD_TYPE`, `NXBRC_…`). */
export interface OfError {
  name: OfErrorName;
}

export const ofError = (name: OfErrorName): OfError => ({ name });

/** What an error message carries. A vendor's error has `vendor`; of OpenFlow 1.2 and later it has no code. */
export interface WireError {
  vendor: number;
  type: number;
  code: number;
}

const VENDORS = { OF: 0, NX: NX_VENDOR_ID, ONF: ONF_VENDOR_ID } as const;

/** Undefined when the version has no such error. */
export function errorToWire(name: OfErrorName, version: number): WireError | undefined {
  const specs: readonly OfErrorSpec[] = OF_ERRORS[name];
  const spec = specs.find(([, from, to]) => from <= version && version <= to);
  return spec && { vendor: VENDORS[spec[0]], type: spec[3], code: spec[4] ?? 0 };
}

/** By version, vendor, type and code; the first name wins. */
const names = new Map<string, OfErrorName>();
for (const [name, specs] of Object.entries(OF_ERRORS) as [OfErrorName, readonly OfErrorSpec[]][]) {
  for (const [vendor, from, to, type, code] of specs) {
    for (let version = from; version <= to; version++) {
      const key = `${version} ${VENDORS[vendor]} ${type} ${code ?? 0}`;
      if (!names.has(key)) names.set(key, name);
    }
  }
}

export function errorFromWire(e: WireError, version: number): OfErrorName | undefined {
  return names.get(`${version} ${e.vendor} ${e.type} ${e.code}`);
}
