/** The multi-call program: `turnout COMMAND …`. Each command is a module of its own, loaded when it is called. */

interface CommandModule {
  /** Takes what follows the command's name; resolves with the exit code. */
  main(argv: string[]): Promise<number>;
}

interface CommandEntry {
  name: string;
  summary: string;
  load(): Promise<CommandModule>;
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'demo',
    summary: 'the switch, a generator and a forwarder, with live counters',
    load: () => import('./demo.ts'),
  },
  {
    name: 'up',
    summary: 'start the switch with its own database, in the background',
    load: () => import('./up.ts'),
  },
  { name: 'down', summary: 'stop what `up` started', load: () => import('./down.ts') },
  { name: 'status', summary: 'what is running: bridges, ports, counters', load: () => import('./status.ts') },
  {
    name: 'vswitchd',
    summary: 'the switch alone, with the arguments of ovs-vswitchd',
    load: () => import('./vswitchd.ts'),
  },
  {
    name: 'ovsdb-server',
    summary: 'the database server alone, with the arguments of ovsdb-server',
    load: () => import('./ovsdb-server.ts'),
  },
  { name: 'vsctl', summary: 'configure the switch, as ovs-vsctl', load: () => import('./vsctl/main.ts') },
  { name: 'appctl', summary: 'ask a running daemon, as ovs-appctl', load: () => import('./appctl.ts') },
  { name: 'ovsdb-client', summary: 'talk to a database server', load: () => import('./ovsdb-client/main.ts') },
  { name: 'ovsdb-tool', summary: 'manage database files', load: () => import('./ovsdb-tool/main.ts') },
  { name: 'dpctl', summary: "look at the switch's datapath, as ovs-dpctl", load: () => import('./dpctl/main.ts') },
  {
    name: 'pktgen',
    summary: 'send traffic into vhost-user ports and count what comes back',
    load: () => import('./pktgen.ts'),
  },
  {
    name: 'testpmd',
    summary: 'forward between vhost-user ports, as dpdk-testpmd',
    load: () => import('./testpmd.ts'),
  },
  { name: 'ofctl', summary: 'speak OpenFlow to a switch, as ovs-ofctl', load: () => import('./ofctl/main.ts') },
  {
    name: 'docker',
    summary: 'connect Docker containers to a bridge, as ovs-docker',
    load: () => import('./docker/main.ts'),
  },
  { name: 'cni', summary: 'connect containers to a bridge, as a CNI plugin', load: () => import('./cni/main.ts') },
  { name: 'bench', summary: 'compare with OVS-DPDK on this machine', load: () => import('./bench.ts') },
];

export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  const entry = COMMANDS.find((c) => c.name === name);
  // Each command reads its own arguments, in Open vSwitch's or DPDK's manner.
  if (entry) return (await entry.load()).main(rest);
  return showOverview(argv);
}

/** Help, version, or what is wrong with the command's name. */
async function showOverview(argv: readonly string[]): Promise<number> {
  // What runs a command shall not load it.
  const [{ Command }, { TURNOUT_VERSION }] = await Promise.all([import('commander'), import('../base/program.ts')]);
  const program = new Command('turnout')
    .description('A software switch for containers and virtual machines, set up with the tools of Open vSwitch.')
    .version(TURNOUT_VERSION, '-V, --version')
    .usage('COMMAND [ARGUMENT...]')
    .helpCommand(false)
    .showHelpAfterError('(turnout --help lists the commands)')
    .addHelpText('after', '\nturnout COMMAND --help tells more about a command.');
  for (const { name, summary } of COMMANDS) program.command(name).description(summary);
  let code = 0;
  program.exitOverride((e) => {
    code = e.exitCode;
    throw e;
  });
  try {
    if (argv.length === 0) program.help();
    program.parse([...argv], { from: 'user' });
  } catch (e) {
    if ((e as { code?: string }).code?.startsWith('commander.') !== true) throw e;
  }
  return code;
}
