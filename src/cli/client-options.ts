import { ovsLogdir } from '../base/dirs.ts';
import type { OptionArgument, OptionSpec, ParsedOption } from '../base/getopt.ts';
import { programName } from '../base/program.ts';
import { vlog, vlogModule } from '../base/vlog.ts';
import type { TlsConfig } from '../ovsdb/tls.ts';

/** Options that Open vSwitch's command line tools have in common: logging, keys for SSL, a time limit. */

export const VLOG_OPTIONS: Readonly<Record<string, OptionArgument>> = {
  verbose: 'optional',
  'log-file': 'optional',
  'syslog-target': 'required',
  'syslog-method': 'required',
};

export const VLOG_SHORT_OPTIONS: Readonly<Record<string, string>> = { v: 'verbose' };

/** Takes one of VLOG_OPTIONS; false when it is another one. Throws Error for a wrong value. */
export function takeVlogOption({ name, value }: ParsedOption): boolean {
  if (name === 'verbose') {
    const error = vlog.setLevels(value ?? 'any:any:dbg');
    if (error !== undefined) throw new Error(`processing "${value}": ${error}`);
  } else if (name === 'log-file') vlog.setLogFile(value);
  return Object.hasOwn(VLOG_OPTIONS, name);
}

export const vlogUsage = (): string => `
Logging options:
  -vSPEC, --verbose=SPEC   set logging levels
  -v, --verbose            set maximum verbosity level
  --log-file[=FILE]        enable logging to specified FILE
                           (default: ${ovsLogdir()}/${programName()}.log)
  --syslog-method=(libc|unix:file|udp:ip:port)
                           specify how to send messages to syslog daemon
  --syslog-target=HOST:PORT  also send syslog msgs to HOST:PORT via UDP
`;

export const SSL_OPTIONS: Readonly<Record<string, OptionArgument>> = {
  'private-key': 'required',
  certificate: 'required',
  'ca-cert': 'required',
  'ssl-protocols': 'required',
  'ssl-ciphers': 'required',
  'bootstrap-ca-cert': 'required',
  'peer-ca-cert': 'required',
};

export const SSL_SHORT_OPTIONS: Readonly<Record<string, string>> = { p: 'private-key', c: 'certificate', C: 'ca-cert' };

/** `tls` with what one of SSL_OPTIONS says; undefined when it is another one. */
export function takeSslOption(tls: TlsConfig, { name, value }: ParsedOption): TlsConfig | undefined {
  switch (name) {
    case 'private-key':
      return { ...tls, privateKey: value };
    case 'certificate':
      return { ...tls, certificate: value };
    case 'ca-cert':
      return { ...tls, caCert: value };
    case 'bootstrap-ca-cert':
      return { ...tls, caCert: value, bootstrapCaCert: true };
    case 'peer-ca-cert':
      return { ...tls, peerCaCert: value };
    case 'ssl-protocols':
      return { ...tls, protocols: value };
    case 'ssl-ciphers':
      return { ...tls, ciphers: value };
    default:
      return undefined;
  }
}

/** Help on connection methods, `what` being what is connected to. */
export function streamUsage(what: string, { passive = true, bootstrap = true } = {}): string {
  return `
Active ${what} connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  ssl:HOST:PORT           SSL PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
${passive ? passiveUsage(what) : ''}PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
${bootstrap ? '  --bootstrap-ca-cert=FILE  file with peer CA certificate to read or create\n' : ''}SSL options:
  --ssl-protocols=PROTOS  list of SSL protocols to enable
  --ssl-ciphers=CIPHERS   list of SSL ciphers to enable
`;
}

function passiveUsage(what: string): string {
  return `Passive ${what} connection methods:
  ptcp:PORT[:IP]          listen to TCP PORT on IP
  pssl:PORT[:IP]          listen for SSL on PORT on IP
  punix:FILE              listen on Unix domain socket FILE
`;
}

/** Ends the program by SIGALRM after `seconds`; without a limit after OVS_CTL_TIMEOUT seconds, if that is set. */
export function limitTime(seconds: number | undefined): void {
  const limit = seconds ?? Number(process.env.OVS_CTL_TIMEOUT ?? 0);
  if (!Number.isInteger(limit) || limit <= 0) return;
  const expire = () => {
    vlogModule('fatal_signal').warn('terminating with signal 14 (Alarm clock)');
    process.kill(process.pid, 'SIGALRM');
  };
  setTimeout(expire, Math.min(limit * 1000, 0x7fffffff)).unref();
}

/** A value of `-t` or `-T`; undefined when it is none. `mayBeZero`: 0 stands for no limit. */
export function parseSeconds(text: string): number | undefined {
  return /^\+?\d{1,10}$/.test(text.trim()) && Number(text) <= 0xffffffff ? Number(text) : undefined;
}

/** All options of a program, for completion by a shell. */
export function optionsText({ long, short = {} }: OptionSpec): string {
  const letters = new Map(Object.entries(short).map(([letter, name]) => [name, letter]));
  let text = '';
  for (const [name, takes] of Object.entries(long)) {
    const argument = takes === 'none' ? '' : takes === 'required' ? 'ARG' : '[ARG]';
    text += `--${name}${argument === '' ? '' : '='}${argument}\n`;
    const letter = letters.get(name);
    if (letter !== undefined) text += `-${letter} ${argument}\n`;
  }
  return text;
}
