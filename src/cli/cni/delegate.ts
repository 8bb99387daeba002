import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { RunProgram } from '../attach/command.ts';
import type { CniCommand, CniEnvironment } from './environment.ts';
import { CNI_DELEGATE, CNI_INVALID_CONFIG, CniError } from './error.ts';
import { Fields, isRecord, type JsonRecord } from './json.ts';
import { type CniResult, formatResult, parseResult } from './result.ts';
import { type CniVersion, commonVersion, isAtLeast } from './versions.ts';

/** In the environment of a delegate: one that finds it was called by itself, by whatever name, and would call itself without end. */
export const DELEGATED = 'TURNOUT_CNI_DELEGATED';

/** Another plugin on CNI_PATH that does a part of the work (CNI specification, section 4). */
export class Delegate {
  readonly type: string;
  readonly #file: string;
  readonly #run: RunProgram;
  readonly #raw: JsonRecord;
  readonly version: CniVersion;

  private constructor(type: string, file: string, run: RunProgram, raw: JsonRecord, version: CniVersion) {
    this.type = type;
    this.#file = file;
    this.#run = run;
    this.#raw = raw;
    this.version = version;
  }

  /** Finds the plugin, and the newest version that it and the runtime speak: Debian's host-local knows no 1.1.0. Throws CniError. */
  static async find(
    type: string,
    { path }: Pick<CniEnvironment, 'path'>,
    { raw, cniVersion }: { raw: JsonRecord; cniVersion: CniVersion },
    run: RunProgram,
  ): Promise<Delegate> {
    const file = path.map((folder) => join(folder, type)).find(isExecutable);
    if (file === undefined) {
      throw new CniError(CNI_INVALID_CONFIG, `no plugin "${type}"`, `CNI_PATH is ${path.join(':') || 'empty'}`);
    }
    const answer = await run([file], {
      input: JSON.stringify({ cniVersion }),
      env: { ...process.env, CNI_COMMAND: 'VERSION' },
    });
    const versions = decoded(answer.stdout)?.supportedVersions;
    const version = commonVersion(cniVersion, Array.isArray(versions) ? versions : []);
    if (!version) {
      throw new CniError(CNI_DELEGATE, `plugin "${type}" speaks no version up to ${cniVersion}`, answer.stderr.trim());
    }
    return new Delegate(type, file, run, raw, version);
  }

  /** Whether it has GC and STATUS. */
  get hasGc(): boolean {
    return isAtLeast(this.version, '1.1.0');
  }

  /** `env` replaces variables of ours; `prevResult` is put into the configuration. Rejects with the plugin's error. */
  async call(
    command: CniCommand,
    { env = {}, prevResult }: { env?: NodeJS.ProcessEnv; prevResult?: CniResult | undefined } = {},
  ): Promise<CniResult | undefined> {
    const prev = prevResult && { prevResult: formatResult(prevResult, this.version) };
    const ran = await this.#run([this.#file], {
      input: JSON.stringify({ ...this.#raw, cniVersion: this.version, ...prev }),
      env: { ...process.env, ...env, CNI_COMMAND: command, [DELEGATED]: '1' },
    });
    if (ran.stderr !== '') process.stderr.write(ran.stderr);
    const answer = decoded(ran.stdout);
    if (ran.status !== 0) throw this.#failure(answer, ran.stderr);
    if (command !== 'ADD') return undefined;
    if (!answer) throw new CniError(CNI_DELEGATE, `plugin "${this.type}" gives no result`);
    return parseResult(new Fields(answer));
  }

  #failure(answer: JsonRecord | undefined, stderr: string): CniError {
    const code = typeof answer?.code === 'number' && answer.code > 0 ? answer.code : CNI_DELEGATE;
    const text = typeof answer?.msg === 'string' && answer.msg !== '' ? answer.msg : stderr.trim() || 'it failed';
    return new CniError(
      code,
      `plugin "${this.type}": ${text}`,
      typeof answer?.details === 'string' ? answer.details : '',
    );
  }
}

function decoded(text: string): JsonRecord | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return isRecord(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
