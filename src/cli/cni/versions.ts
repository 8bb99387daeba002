import { CNI_INCOMPATIBLE_VERSION, CniError } from './error.ts';

/** Versions of the CNI specification that are spoken here, the oldest first. */
export const CNI_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

export const NEWEST_VERSION: CniVersion = '1.1.0';

const rank = (version: CniVersion): number => CNI_VERSIONS.indexOf(version);

export const isAtLeast = (version: CniVersion, least: CniVersion): boolean => rank(version) >= rank(least);

/** Throws CniError with code 1. A configuration without a version is one of 0.1.0. */
export function knownVersion(text: unknown): CniVersion {
  const version = CNI_VERSIONS.find((one) => one === text);
  if (version) return version;
  const details = `the configuration has cniVersion "${text ?? '0.1.0'}"; spoken are ${CNI_VERSIONS.join(', ')}`;
  throw new CniError(CNI_INCOMPATIBLE_VERSION, 'incompatible CNI version', details);
}

/** The newest version up to `ours` that a plugin says it speaks, or undefined. */
export function commonVersion(ours: CniVersion, theirs: readonly unknown[]): CniVersion | undefined {
  return CNI_VERSIONS.filter((one) => isAtLeast(ours, one) && theirs.includes(one)).at(-1);
}
