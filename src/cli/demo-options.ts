/** The arguments of `turnout demo`. */
import { type OptionSpec, parseOptions, UsageError } from '../base/getopt.ts';
import { numberOption } from './pktgen-options.ts';

export interface DemoOptions {
  /** Seconds of traffic; with a count, until that is sent. */
  duration: number;
  /** Percent of 10 Gbit/s line rate for each of pktgen's ports; undefined: the default rate, paced so that nothing is dropped. */
  rate: number | undefined;
  /** Packets each of pktgen's ports sends; undefined: as many as fit into the duration. */
  count: number | undefined;
  flows: number;
  size: number;
  json: boolean;
  help: boolean;
}

export const DEMO_USAGE = `usage: turnout demo [options]
Starts the switch, a traffic generator and a forwarder as separate programs joined by vhost-user, and accounts for every packet.

  --duration SECONDS   of traffic (default 10)
  --rate PERCENT       of 10 Gbit/s on each generator port, as fast as it goes at 100; more than the machine carries is dropped,
                       and the drops are named. By default the generator sends 1 % and waits for packets to come back,
                       so that nothing is dropped on a busy machine
  --count N            packets that each of the two generator ports sends, instead of a duration
  --flows N            source addresses (default 100)
  --size BYTES         of a packet with its FCS (default 64)
  --json               print the report as JSON, and nothing else
`;

const SPEC: OptionSpec = {
  long: {
    duration: 'required',
    rate: 'required',
    count: 'required',
    flows: 'required',
    size: 'required',
    json: 'none',
    help: 'none',
  },
  short: { h: 'help' },
};

function whole(name: string, text: string, min: number, max: number): number {
  const n = numberOption(name, text, min, max);
  if (!Number.isInteger(n)) throw new UsageError(`${name} must be a whole number, not '${text}'`);
  return n;
}

/** Throws UsageError. */
export function parseDemoOptions(argv: readonly string[]): DemoOptions {
  const { options, args } = parseOptions(argv, SPEC);
  if (args.length > 0) throw new UsageError(`unexpected argument '${args[0]}'`);
  const o: DemoOptions = {
    duration: 10,
    rate: undefined,
    count: undefined,
    flows: 100,
    size: 64,
    json: false,
    help: false,
  };
  for (const { name, value = '' } of options) {
    if (name === 'duration') o.duration = numberOption(name, value, 0.1, 86400);
    else if (name === 'rate') o.rate = numberOption(name, value, 0.000001, 100);
    else if (name === 'count') o.count = whole(name, value, 1, Number.MAX_SAFE_INTEGER);
    else if (name === 'flows') o.flows = whole(name, value, 1, 2 ** 24);
    else if (name === 'size') o.size = whole(name, value, 64, 1518);
    else if (name === 'json') o.json = true;
    else o.help = true;
  }
  return o;
}
