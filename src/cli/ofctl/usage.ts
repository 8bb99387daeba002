import { daemonUsage } from '../../base/daemon.ts';
import { COMMANDS } from './commands.ts';

/** Help on everything. */
export function ofctlUsage(): string {
  const commands = COMMANDS.filter((c) => c.usage !== undefined).map((c) => `  ${c.name} ${c.usage}\n`);
  return `ovs-ofctl: OpenFlow switch management utility
usage: ovs-ofctl [OPTIONS] COMMAND [ARG...]

Commands:
${commands.join('')}
SWITCH or TARGET is the name of a bridge or an active OpenFlow connection method:
  tcp:HOST[:PORT]         PORT (default: 6653) at remote HOST
  ssl:HOST[:PORT]         SSL PORT (default: 6653) at remote HOST
  unix:FILE               Unix domain socket named FILE
PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
${daemonUsage()}
OpenFlow version options:
  -V, --version           display version information
  -O, --protocols         set allowed OpenFlow versions (default: OpenFlow10)

Other options:
  --strict                    flow commands match strictly
  --read-only                 refuse commands that change anything
  --readd                     replace flows that have not changed, too
  -F, --flow-format=FORMAT    use this flow format
  -P, --packet-in-format=FRMT use this format of packet-ins
  -m, --more                  print more
  --timestamp                 (monitor, snoop) print the time of each message
  -t, --timeout=SECS          give up after SECS seconds
  --sort[=field]              sort flows by field, rising
  --rsort[=field]             sort flows by field, falling
  --names                     show names of ports and tables
  --no-names                  show numbers of ports and tables
  --stats, --no-stats         with or without statistics of flows
  --bundle                    change everything or nothing
  --unixctl=SOCKET            name of the control socket
  --color[=always|never|auto] accepted
  -h, --help                  display this help message
`;
}
