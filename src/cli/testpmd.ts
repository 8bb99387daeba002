/** `turnout testpmd`: forwards packets between virtio-user ports, with dpdk-testpmd's options, prompt and output. */
import { createInterface } from 'node:readline';
import { lcoreConfig } from '../virtio-user/traffic-config.ts';
import { TrafficEngine } from '../virtio-user/traffic-engine.ts';
import { parseTestpmdOptions, TESTPMD_USAGE, type TestpmdOptions } from './testpmd-options.ts';
import { TestpmdSession } from './testpmd-session.ts';

const print = (text: string) => process.stdout.write(text);

/** Returns the exit code. */
export async function main(argv: string[]): Promise<number> {
  let options: TestpmdOptions;
  try {
    options = parseTestpmdOptions(argv);
  } catch (e) {
    process.stderr.write(`testpmd: ${(e as Error).message}\n`);
    return 1;
  }
  if (options.help) {
    print(TESTPMD_USAGE);
    return 0;
  }
  return run(options);
}

async function run(options: TestpmdOptions): Promise<number> {
  const config = lcoreConfig(options);
  let engine: TrafficEngine;
  try {
    engine = await TrafficEngine.start(config);
  } catch (e) {
    process.stderr.write(`testpmd: ${(e as Error).message}\n`);
    return 1;
  }
  const failed = new Promise<number>((resolve) => {
    engine.once('error', (e) => {
      process.stderr.write(`testpmd: ${e.message}\n`);
      resolve(1);
    });
  });
  logEvents(engine);
  const session = new TestpmdSession(engine, config.ports, options);
  print(`Set ${options.mode} packet forwarding mode\n`);
  const code = await Promise.race([failed, converse(session, options)]);
  if (code === 0) await shutDown(engine, session);
  return code;
}

/** Link changes, as the ethdev events of DPDK. */
function logEvents(engine: TrafficEngine): void {
  engine.on('link', ({ port, up, reason }) => {
    print(`\nPort ${port}: link state change event: ${up ? 'up' : `down (${reason})`}\n`);
  });
  engine.on('broken', ({ port, reason }) => {
    process.stderr.write(`testpmd: port ${port} stopped: ${reason}\n`);
  });
}

async function shutDown(engine: TrafficEngine, session: TestpmdSession): Promise<void> {
  if (session.running) print(await session.stop());
  await engine.quit();
  print('\nBye...\n');
}

/** Resolves with 0 at the end: `quit`, the end of the input, a signal. */
async function converse(session: TestpmdSession, options: TestpmdOptions): Promise<number> {
  const signalled = waitForSignal();
  if (options.autoStart || !options.interactive) {
    if (options.interactive) print('Start automatic packet forwarding\n');
    else print('No commandline core given, start packet forwarding\n');
    print(session.start(options.txFirst ? 1 : 0));
  }
  const timer = options.statsPeriod > 0 ? setInterval(() => showStats(session), options.statsPeriod * 1000) : undefined;
  if (options.interactive) await Promise.race([signalled, prompt(session)]);
  else if (timer) await signalled;
  else await Promise.race([signalled, pressEnter()]);
  clearInterval(timer);
  return 0;
}

function showStats(session: TestpmdSession): void {
  const clear = process.stdout.isTTY ? '\x1b[2J\x1b[1;1H' : '';
  print(`${clear}\nPort statistics ====================================${session.nicStats()}`);
}

function waitForSignal(): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (number: number) => () => {
      print(`\nSignal ${number} received, preparing to exit...\n`);
      resolve();
    };
    process.once('SIGINT', onSignal(2));
    process.once('SIGTERM', onSignal(15));
  });
}

/** Resolves at `quit` or the end of the input. */
async function prompt(session: TestpmdSession): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: 'testpmd> ' });
  lines.prompt();
  for await (const line of lines) {
    const text = await session.execute(line);
    if (text === undefined) break;
    print(text);
    lines.prompt();
  }
  lines.close();
}

async function pressEnter(): Promise<void> {
  print('Press enter to exit\n');
  await new Promise<void>((resolve) => {
    process.stdin.once('data', () => resolve());
    process.stdin.once('end', () => resolve());
  });
  process.stdin.pause();
}
