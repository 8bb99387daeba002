import { ovsRundir } from '../../base/dirs.ts';
import { programName } from '../../base/program.ts';
import { streamUsage, vlogUsage } from '../client-options.ts';
import { TABLE_USAGE } from '../text-table.ts';
import type { CtlCommand } from './command.ts';
import type { Model } from './model.ts';
import { ROW_IDS } from './record.ts';

export const defaultDb = (): string => `unix:${ovsRundir()}/db.sock`;

/** How records of each table may be named. */
function recordsUsage(db: Model): string {
  let text = 'Database commands may reference a row in each table in the following ways:\n';
  for (const table of db.tables) {
    const ways = ['by UUID'];
    if (table.schema.maxRows === 1) ways.push('as "."');
    const id = ROW_IDS[table.name];
    if (id?.uuidColumn !== undefined)
      ways.push(`via "${id.uuidColumn}" of ${id.table} with matching "${id.nameColumn}"`);
    else if (id) ways.push(`by "${id.nameColumn}"`);
    text += `  ${table.name}:${ways.map((way) => `\n    ${way}`).join('')}\n`;
  }
  return text;
}

export function usage(db: Model): string {
  const name = programName();
  return `${name}: ovs-vswitchd management utility
usage: ${name} [OPTIONS] COMMAND [ARG...]

Open vSwitch commands:
  init                        initialize database, if not yet initialized
  show                        print overview of database contents
  emer-reset                  reset configuration to clean state

Bridge commands:
  add-br BRIDGE               create a new bridge named BRIDGE
  add-br BRIDGE PARENT VLAN   create new fake BRIDGE in PARENT on VLAN
  del-br BRIDGE               delete BRIDGE and all of its ports
  list-br                     print the names of all the bridges
  br-exists BRIDGE            exit 2 if BRIDGE does not exist
  br-to-vlan BRIDGE           print the VLAN which BRIDGE is on
  br-to-parent BRIDGE         print the parent of BRIDGE
  br-set-external-id BRIDGE KEY VALUE  set KEY on BRIDGE to VALUE
  br-set-external-id BRIDGE KEY  unset KEY on BRIDGE
  br-get-external-id BRIDGE KEY  print value of KEY on BRIDGE
  br-get-external-id BRIDGE  list key-value pairs on BRIDGE

Port commands (a bond is considered to be a single port):
  list-ports BRIDGE           print the names of all the ports on BRIDGE
  add-port BRIDGE PORT        add network device PORT to BRIDGE
  add-bond BRIDGE PORT IFACE...  add bonded port PORT in BRIDGE from IFACES
  del-port [BRIDGE] PORT      delete PORT (which may be bonded) from BRIDGE
  port-to-br PORT             print name of bridge that contains PORT

Interface commands (a bond consists of multiple interfaces):
  list-ifaces BRIDGE          print the names of all interfaces on BRIDGE
  iface-to-br IFACE           print name of bridge that contains IFACE

Controller commands:
  get-controller BRIDGE      print the controllers for BRIDGE
  del-controller BRIDGE      delete the controllers for BRIDGE
  [--inactivity-probe=MSECS]
  set-controller BRIDGE TARGET...  set the controllers for BRIDGE
  get-fail-mode BRIDGE       print the fail-mode for BRIDGE
  del-fail-mode BRIDGE       delete the fail-mode for BRIDGE
  set-fail-mode BRIDGE MODE  set the fail-mode for BRIDGE to MODE

Manager commands:
  get-manager                print the managers
  del-manager                delete the managers
  [--inactivity-probe=MSECS]
  set-manager TARGET...      set the list of managers to TARGET...

SSL commands:
  get-ssl                     print the SSL configuration
  del-ssl                     delete the SSL configuration
  set-ssl PRIV-KEY CERT CA-CERT  set the SSL configuration

Auto Attach commands:
  add-aa-mapping BRIDGE I-SID VLAN   add Auto Attach mapping to BRIDGE
  del-aa-mapping BRIDGE I-SID VLAN   delete Auto Attach mapping VLAN from BRIDGE
  get-aa-mapping BRIDGE              get Auto Attach mappings from BRIDGE

Switch commands:
  emer-reset                  reset switch to known good state

Database commands:
  list TBL [REC]              list RECord (or all records) in TBL
  find TBL CONDITION...       list records satisfying CONDITION in TBL
  get TBL REC COL[:KEY]       print values of COLumns in RECord in TBL
  set TBL REC COL[:KEY]=VALUE set COLumn values in RECord in TBL
  add TBL REC COL [KEY=]VALUE add (KEY=)VALUE to COLumn in RECord in TBL
  remove TBL REC COL [KEY=]VALUE  remove (KEY=)VALUE from COLumn
  clear TBL REC COL           clear values from COLumn in RECord in TBL
  create TBL COL[:KEY]=VALUE  create and initialize new record
  destroy TBL REC             delete RECord from TBL
  wait-until TBL REC [COL[:KEY]=VALUE]  wait until condition is true
Potentially unsafe database commands require --force option.
${recordsUsage(db)}
Options:
  --db=DATABASE               connect to DATABASE
                              (default: ${defaultDb()})
  --no-wait                   do not wait for ovs-vswitchd to reconfigure
  --retry                     keep trying to connect to server forever
  -t, --timeout=SECS          wait at most SECS seconds for ovs-vswitchd
  --dry-run                   do not commit changes to database
  --oneline                   print exactly one line of output per command
${TABLE_USAGE}${vlogUsage()}  --no-syslog             equivalent to --verbose=vsctl:syslog:warn
${streamUsage('database')}
Other options:
  -h, --help                  display this help message
  -V, --version               display version information
`;
}

/** The first bracket is closed by the last character. */
function isBracketed(word: string): boolean {
  if (!word.startsWith('[')) return false;
  let depth = 0;
  for (const [i, char] of [...word].entries()) {
    if (char === '[') depth++;
    else if (char === ']' && --depth === 0) return i === word.length - 1;
  }
  return false;
}

/** `!` a word that must be there, `?` one that may, `+` one or more, `*` none or more: for completion by a shell. */
function completionText(args: string): string {
  const words = args === '' ? [] : args.split(' ');
  const marked = words.map((word) => {
    const repeats = word.includes('...');
    const bare = word.replaceAll('.', '');
    const isOptional = isBracketed(bare);
    const mark = isOptional ? (repeats ? '*' : '?') : repeats ? '+' : '!';
    const inner = isOptional ? bare.slice(1, -1) : bare;
    return mark + inner.replaceAll('[', '?').replaceAll(']', '');
  });
  return marked.join(' ');
}

/** For `--commands`. */
export function commandsText(commands: Iterable<CtlCommand>): string {
  let text = '';
  for (const { name, options, args } of commands) {
    const given =
      options === ''
        ? ''
        : `${options
            .split(',')
            .map((option) => `[${option}] `)
            .join('')}`;
    text += `${given},${name},${completionText(args)}\n`;
  }
  return text;
}
