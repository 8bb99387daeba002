import { closeSync, openSync, writeSync } from 'node:fs';
import { absFileName, ovsLogdir } from './dirs.ts';
import { errnoOf, strerror } from './errno.ts';
import { programName } from './program.ts';
import { UnixctlError, type UnixctlRegistry } from './unixctl-registry.ts';
import { VLOG_MODULE_NAMES } from './vlog-modules.ts';
import { formatRecord } from './vlog-pattern.ts';

/**
 * Open vSwitch's log: modules, each with a level a destination (console, syslog, file), set by `-vMODULE:DESTINATION:LEVEL` and `vlog/set`.
 * One log a process; worker threads hand their messages to the main thread (`vlog.forward`).
 */

export const VLOG_LEVELS: readonly string[] = ['OFF', 'EMER', 'ERR', 'WARN', 'INFO', 'DBG'];
const [, EMER, ERR, WARN, INFO, DBG] = [0, 1, 2, 3, 4, 5];
/** syslog(3)'s severities of the levels. */
const SEVERITY = [0, 1, 3, 4, 5, 7];

export const VLOG_DESTINATIONS: readonly string[] = ['syslog', 'console', 'file'];
const [SYSLOG, CONSOLE, FILE] = [0, 1, 2] as const;

const DEFAULT_PATTERNS = [
  'ovs|%05N|%c%T|%p|%m',
  '%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m',
  '%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m',
];

const FACILITIES: readonly string[] =
  'kern user mail daemon auth syslog lpr news uucp clock ftp ntp audit alert clock2 local0 local1 local2 local3 local4 local5 local6 local7'.split(
    ' ',
  );
const LOCAL0 = FACILITIES.indexOf('local0') << 3;

/** What a log call takes: the text, or how to make it when it is wanted. */
export type VlogText = string | (() => string);

/** Lets `burst` messages through at once and `perMinute` on average, and tells later how many it held back. */
export class VlogRateLimit {
  readonly perMinute: number;
  readonly burst: number;
  readonly #now: () => number;
  #tokens: number;
  #filledMs: number;
  #dropped = 0;
  #firstDroppedMs = 0;
  #lastDroppedMs = 0;

  /** `now` gives milliseconds. */
  constructor(perMinute: number, burst: number, now: () => number = () => performance.now()) {
    this.perMinute = perMinute;
    this.burst = burst;
    this.#now = now;
    this.#tokens = burst;
    this.#filledMs = now();
  }

  /** True when a message may pass. `report` gets a line when earlier ones were held back. */
  withdraw(report: (text: string) => void): boolean {
    const now = this.#now();
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#filledMs) * this.perMinute) / 60_000);
    this.#filledMs = now;
    if (this.#tokens < 1) {
      if (this.#dropped++ === 0) this.#firstDroppedMs = now;
      this.#lastDroppedMs = now;
      return false;
    }
    this.#tokens -= 1;
    if (this.#dropped > 0) {
      const seconds = (since: number) => Math.trunc((now - since) / 1000);
      report(
        `Dropped ${this.#dropped} log messages in last ${seconds(this.#firstDroppedMs)} seconds (most recently, ` +
          `${seconds(this.#lastDroppedMs)} seconds ago) due to excessive rate`,
      );
      this.#dropped = 0;
    }
    return true;
  }
}

/** A named source of messages. Make one a file: `const log = vlogModule('bridge')`. */
export class VlogModule {
  readonly name: string;
  /** Levels by destination index. */
  readonly levels: number[];
  honorRateLimits = true;
  readonly #vlog: Vlog;

  constructor(vlog: Vlog, name: string, levels: readonly number[]) {
    this.#vlog = vlog;
    this.name = name;
    this.levels = [...levels];
  }

  emer(text: VlogText): void {
    this.#log(EMER, text);
  }
  err(text: VlogText): void {
    this.#log(ERR, text);
  }
  warn(text: VlogText): void {
    this.#log(WARN, text);
  }
  info(text: VlogText): void {
    this.#log(INFO, text);
  }
  dbg(text: VlogText): void {
    this.#log(DBG, text);
  }
  errRl(limit: VlogRateLimit, text: VlogText): void {
    this.#logRl(ERR, limit, text);
  }
  warnRl(limit: VlogRateLimit, text: VlogText): void {
    this.#logRl(WARN, limit, text);
  }
  infoRl(limit: VlogRateLimit, text: VlogText): void {
    this.#logRl(INFO, limit, text);
  }
  dbgRl(limit: VlogRateLimit, text: VlogText): void {
    this.#logRl(DBG, limit, text);
  }

  /** For callers that hold a level's name, e.g. a log callback. */
  log(level: 'emer' | 'err' | 'warn' | 'info' | 'dbg', text: VlogText): void {
    this[level](text);
  }

  isDbgEnabled(): boolean {
    return this.#vlog.isEnabled(this, DBG);
  }

  #log(level: number, text: VlogText): void {
    if (this.#vlog.isEnabled(this, level)) this.#vlog.write(this, level, typeof text === 'string' ? text : text());
  }

  #logRl(level: number, limit: VlogRateLimit, text: VlogText): void {
    if (!this.#vlog.isEnabled(this, level)) return;
    if (this.honorRateLimits && !limit.withdraw((line) => this.#log(level, line))) return;
    this.#log(level, text);
  }
}

/** A message that another thread wants in the log. Structured-clonable. */
export interface VlogForward {
  module: string;
  level: number;
  message: string;
  thread: string;
}

export class Vlog {
  readonly #modules = new Map<string, VlogModule>();
  readonly #patterns = [...DEFAULT_PATTERNS];
  /** Levels of a module that is made later: what was last set for all. */
  readonly #defaults: number[] = [INFO, INFO, INFO];
  #facility = LOCAL0;
  #number = 0;
  #fileName: string | undefined;
  #fd = -1;
  #consoleOpen = true;
  #syslog: ((line: string, severity: number, facility: number) => void) | undefined;
  #forward: ((message: VlogForward) => void) | undefined;
  #wallMs: () => number = Date.now;

  constructor() {
    for (const name of VLOG_MODULE_NAMES) this.module(name);
  }

  /** The module of that name, made at its first mention. */
  module(name: string): VlogModule {
    let module = this.#modules.get(name);
    if (!module) {
      module = new VlogModule(this, name, this.#defaults);
      this.#modules.set(name, module);
    }
    return module;
  }

  isEnabled(module: VlogModule, level: number): boolean {
    const l = module.levels;
    if (this.#forward) return level <= Math.max(l[SYSLOG]!, l[CONSOLE]!, l[FILE]!);
    return (
      (this.#consoleOpen && level <= l[CONSOLE]!) ||
      (this.#fd >= 0 && level <= l[FILE]!) ||
      (this.#syslog !== undefined && level <= l[SYSLOG]!)
    );
  }

  write(module: VlogModule, level: number, message: string, thread = ''): void {
    if (this.#forward) {
      this.#forward({ module: module.name, level, message, thread });
      return;
    }
    const record = {
      module: module.name,
      level: VLOG_LEVELS[level]!,
      severity: SEVERITY[level]!,
      facility: this.#facility,
      message,
      number: ++this.#number,
      wallMs: this.#wallMs(),
      thread,
    };
    const line = (destination: number) => formatRecord(this.#patterns[destination]!, record);
    if (this.#consoleOpen && level <= module.levels[CONSOLE]!) writeAll(2, `${line(CONSOLE)}\n`);
    if (this.#fd >= 0 && level <= module.levels[FILE]!) writeAll(this.#fd, `${line(FILE)}\n`);
    if (this.#syslog && level <= module.levels[SYSLOG]!) this.#syslog(line(SYSLOG), record.severity, record.facility);
  }

  /** In a worker thread: sends every message to `post` instead of writing it. */
  forward(post: (message: VlogForward) => void): void {
    this.#forward = post;
  }

  /** In the main thread: logs what a worker forwarded. */
  accept(f: VlogForward): void {
    const module = this.module(f.module);
    if (this.isEnabled(module, f.level)) this.write(module, f.level, f.message, f.thread);
  }

  /** Where lines for syslog go; without one they are dropped. */
  setSyslog(send: (line: string, severity: number, facility: number) => void): void {
    this.#syslog = send;
  }

  setClock(wallMs: () => number): void {
    this.#wallMs = wallMs;
  }

  /** stderr is gone (a daemon that has detached). */
  closeConsole(): void {
    this.#consoleOpen = false;
  }

  /** Sets levels by an Open vSwitch spec such as `bridge:file:dbg`, `PATTERN:console:%m` or `FACILITY:local7`. Returns an error's text. */
  setLevels(spec: string): string | undefined {
    const [head, ...rest] = spec.split(/[ ,:\t]+/).filter((w) => w !== '');
    if (head?.toUpperCase() === 'PATTERN') return this.#setPattern(spec, rest[0]);
    if (head?.toUpperCase() === 'FACILITY') return this.#setFacility(spec.replace(/^[ ,:\t]*\w+[ ,:\t]/, ''));
    return this.#setWords(head === undefined ? [] : [head, ...rest]);
  }

  #setPattern(spec: string, name: string | undefined): string | undefined {
    if (name === undefined) return 'missing destination';
    const any = name.toUpperCase() === 'ANY';
    const destination = VLOG_DESTINATIONS.indexOf(name.toLowerCase());
    if (!any && destination < 0) return `unknown destination "${name}"`;
    const pattern = spec.replace(/^[ ,:\t]*\w+[ ,:\t]+\w+[ ,:\t]?/, '');
    for (const d of any ? [SYSLOG, CONSOLE, FILE] : [destination]) this.#patterns[d] = pattern;
    return undefined;
  }

  #setFacility(name: string): string | undefined {
    const facility = FACILITIES.indexOf(name.toLowerCase());
    if (facility < 0) return 'invalid facility';
    this.#facility = facility << 3;
    return undefined;
  }

  #setWords(words: readonly string[]): string | undefined {
    let level: number | undefined;
    let destination: number | undefined;
    let module: VlogModule | undefined;
    for (const word of words) {
      const d = VLOG_DESTINATIONS.indexOf(word.toLowerCase());
      const l = VLOG_LEVELS.indexOf(word.toUpperCase());
      const m = this.#modules.get(word.toLowerCase());
      if (word.toUpperCase() === 'ANY') continue;
      if (d >= 0) {
        if (destination !== undefined) return 'cannot specify multiple destinations';
        destination = d;
      } else if (l >= 0) {
        if (level !== undefined) return 'cannot specify multiple levels';
        level = l;
      } else if (m) {
        if (module) return 'cannot specify multiple modules';
        module = m;
      } else {
        return `no destination, level, or module "${word}"`;
      }
    }
    const targets = module ? [module.levels] : [this.#defaults, ...[...this.#modules.values()].map((m) => m.levels)];
    for (const levels of targets) {
      for (const d of destination === undefined ? [SYSLOG, CONSOLE, FILE] : [destination]) levels[d] = level ?? DBG;
    }
    return undefined;
  }

  /** Opens the log file, by default `PROGRAM.log` in OVS_LOGDIR. A failure is logged; its text is returned. */
  setLogFile(file?: string): string | undefined {
    return this.#openFile(absFileName(ovsLogdir(), file || `${programName()}.log`));
  }

  #openFile(name: string): string | undefined {
    const log = this.module('vlog');
    if (this.#fd >= 0) {
      log.info('closing log file');
      this.#closeFile();
    }
    this.#fileName = name;
    try {
      this.#fd = openSync(name, 'a', 0o660 & ~0o020);
    } catch (e) {
      log.warn(`failed to open ${name} for logging: ${strerror(e)}`);
      return strerror(e);
    }
    log.info(`opened log file ${name}`);
    return undefined;
  }

  /** For SIGHUP and `vlog/reopen`, after the file was rotated. */
  reopen(): string | undefined {
    return this.#fileName === undefined ? undefined : this.#openFile(this.#fileName);
  }

  get fileName(): string | undefined {
    return this.#fileName;
  }

  #closeFile(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** The table of `vlog/list`. */
  listLevels(): string {
    const column = (level: number) => VLOG_LEVELS[level]!.padStart(4);
    const lines = [...this.#modules.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((m) => {
        const levels = `${column(m.levels[CONSOLE]!)}       ${column(m.levels[SYSLOG]!)}       ${column(m.levels[FILE]!)}`;
        return `${m.name.padEnd(16)}  ${levels}${m.honorRateLimits ? '' : '    (rate limiting disabled)'}\n`;
      });
    const head = `${' '.repeat(17)}console    syslog    file\n${' '.repeat(17)}-------    ------    ------\n`;
    return head + lines.join('');
  }

  /** The table of `vlog/list-pattern`. */
  listPatterns(): string {
    const prefixes = ['<%B> %D{%h %e %T} %E %A:', 'none', 'none'];
    const rows = VLOG_DESTINATIONS.map(
      (name, d) => `${name.toUpperCase().padEnd(7)}  ${prefixes[d]!.padEnd(32)}  ${this.#patterns[d]}\n`,
    );
    return `${' '.repeat(9)}prefix                            format\n${' '.repeat(9)}------                            ------\n${rows.join('')}`;
  }

  /** Registers the `vlog/…` commands. */
  registerCommands(unixctl: UnixctlRegistry): void {
    unixctl.register('vlog/set', '{spec | PATTERN:destination:pattern}', 0, Infinity, (args) => {
      for (const spec of args.length ? args : ['']) {
        const error = this.setLevels(spec);
        if (error !== undefined) throw new UnixctlError(error);
      }
      return '';
    });
    unixctl.register('vlog/list', '', 0, 0, () => this.listLevels());
    unixctl.register('vlog/list-pattern', '', 0, 0, () => this.listPatterns());
    unixctl.register('vlog/reopen', '', 0, 0, () => {
      if (this.#fileName === undefined) throw new UnixctlError('Logging to file not configured');
      const error = this.reopen();
      if (error !== undefined) throw new UnixctlError(error);
      return '';
    });
    unixctl.register('vlog/close', '', 0, 0, () => {
      this.#closeFile();
      return '';
    });
    for (const enable of [true, false]) {
      unixctl.register(`vlog/${enable ? 'enable' : 'disable'}-rate-limit`, '[module]...', 0, Infinity, (args) => {
        this.#setRateLimits(args, enable);
        return '';
      });
    }
  }

  #setRateLimits(names: readonly string[], enable: boolean): void {
    for (const name of names.length ? names : ['ANY']) {
      const module = this.#modules.get(name.toLowerCase());
      if (name.toUpperCase() !== 'ANY' && !module) throw new UnixctlError('unknown module');
      for (const m of module ? [module] : this.#modules.values()) m.honorRateLimits = enable;
    }
  }
}

/** A log line must never take the program down: a full disk or a closed terminal loses the line. */
function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  let tries = 0;
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (e) {
      if (errnoOf(e) !== 'EAGAIN' || ++tries > 1000) return;
    }
  }
}

/** This process's log. */
export const vlog = new Vlog();

/** The module `name` of this process's log. */
export const vlogModule = (name: string): VlogModule => vlog.module(name);
