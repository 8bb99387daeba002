import { interfaceNameError } from '../attach/link.ts';
import { CNI_INVALID_ENVIRONMENT, CniError } from './error.ts';

/** What a runtime says in the environment (CNI specification, section 2, "Parameters"). */
export interface CniEnvironment {
  readonly command: CniCommand;
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  /** CNI_ARGS, with the names in lower case: runtimes do not agree on them. */
  readonly args: ReadonlyMap<string, string>;
  readonly path: readonly string[];
}

export const CNI_COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type CniCommand = (typeof CNI_COMMANDS)[number];

/** Which variables a command cannot do without; those that it does not use are not looked at. */
const REQUIRED: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH'],
  GC: ['CNI_PATH'],
  STATUS: [],
  VERSION: [],
};

const refuse = (details: string) => new CniError(CNI_INVALID_ENVIRONMENT, 'invalid environment variables', details);

/** Throws CniError with code 4. */
export function parseEnvironment(env: NodeJS.ProcessEnv): CniEnvironment {
  const command = CNI_COMMANDS.find((one) => one === env.CNI_COMMAND);
  if (!command) throw refuse(`CNI_COMMAND "${env.CNI_COMMAND ?? ''}" is none of ${CNI_COMMANDS.join(', ')}`);
  const missing = REQUIRED[command].filter((name) => !env[name]);
  if (missing.length > 0) throw refuse(`${missing.join(', ')} missing`);
  const isUsed = (name: string) => REQUIRED[command].includes(name);
  const [containerId, ifname] = [env.CNI_CONTAINERID ?? '', env.CNI_IFNAME ?? ''];
  if (isUsed('CNI_CONTAINERID') && !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(containerId)) {
    throw refuse(
      `CNI_CONTAINERID "${containerId}": letters, digits, "_", "." and "-" behind a letter or digit are allowed`,
    );
  }
  const nameError = isUsed('CNI_IFNAME') ? interfaceNameError(ifname) : undefined;
  if (nameError !== undefined) throw refuse(`CNI_IFNAME: ${nameError}`);
  const path = (env.CNI_PATH ?? '').split(':').filter((folder) => folder !== '');
  return { command, containerId, netns: env.CNI_NETNS ?? '', ifname, args: parseArgs(env.CNI_ARGS ?? ''), path };
}

function parseArgs(text: string): ReadonlyMap<string, string> {
  const pairs = text.split(';').filter((pair) => pair !== '');
  return new Map(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw refuse(`CNI_ARGS: "${pair}" is not KEY=VALUE`);
      return [pair.slice(0, at).toLowerCase(), pair.slice(at + 1)];
    }),
  );
}
