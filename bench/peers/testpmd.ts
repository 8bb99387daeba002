/** Drives DPDK's own test application over its prompt: two or more virtio-user ports against vhost-user sockets, on one core. */
import { Running } from './process.ts';

export interface TestpmdPort {
  /** The vhost-user socket. */
  path: string;
  mac: string;
  /** testpmd listens and the switch connects (for `dpdkvhostuserclient`). */
  server?: boolean;
}

export interface TestpmdOptions {
  ports: TestpmdPort[];
  /** The core that both its threads share. */
  core: number;
  /** io, mac, macswap, rxonly, txonly, flowgen, icmpecho. */
  forwardMode: string;
  /** Further arguments behind `--`. */
  args?: string[];
  /** MiB of huge pages. */
  memoryMb?: number;
  ringSize?: number;
  /** Packet buffers of about 2.3 KiB; the rings of all ports and queues must fit. */
  nMbufs?: number;
  /** Command to start it with, e.g. `ip netns exec NAME`. */
  prefix?: string[];
  program?: string;
  /** Receive and transmit queues a port. */
  queues?: number;
  /** Further devices, which are the ports behind the others. */
  vdevs?: string[];
}

/** Counters of one port as `show port stats` prints them. */
export interface PortStats {
  rxPackets: number;
  rxMissed: number;
  rxBytes: number;
  txPackets: number;
  txErrors: number;
  txBytes: number;
}

/** Not at the end only: link events may come behind it. */
const PROMPT = /testpmd> /;

/** The command line that `options` stand for. */
export function testpmdArgv(options: TestpmdOptions): string[] {
  const { core, ports, queues = 1, ringSize = 1024 } = options;
  const vdevs = ports.map((port, i) => {
    const server = port.server ? ',server=1' : '';
    return `--vdev=net_virtio_user${i + 1},mac=${port.mac},path=${port.path},queues=${queues},queue_size=${ringSize}${server}`;
  });
  return [
    ...(options.prefix ?? []),
    // Its answers are printed through stdio, which keeps them back while stdout is a pipe.
    'stdbuf',
    '-oL',
    options.program ?? 'dpdk-testpmd',
    `--lcores=0@${core},1@${core}`,
    '--no-pci',
    '--in-memory',
    '--single-file-segments',
    '-m',
    String(options.memoryMb ?? 256),
    ...vdevs,
    ...(options.vdevs ?? []).map((vdev) => `--vdev=${vdev}`),
    '--',
    '--interactive',
    `--forward-mode=${options.forwardMode}`,
    '--nb-cores=1',
    `--total-num-mbufs=${options.nMbufs ?? 20_000}`,
    '--burst=64',
    `--rxq=${queues}`,
    `--txq=${queues}`,
    `--txd=${ringSize}`,
    `--rxd=${ringSize}`,
    ...(options.args ?? []),
  ];
}

export class Testpmd {
  readonly process: Running;

  constructor(process: Running) {
    this.process = process;
  }

  /** Starts it and waits for its prompt; forwarding is not yet started. With `server` ports it waits until the switch has connected. */
  static async start(name: string, options: TestpmdOptions): Promise<Testpmd> {
    const process = await Running.start(name, testpmdArgv(options));
    try {
      await process.waitFor(PROMPT);
    } catch (error) {
      await process.stop('SIGKILL');
      throw error;
    }
    return new Testpmd(process);
  }

  /** Types a command at the prompt and returns what it answers. */
  async type(line: string): Promise<string> {
    const { output, errors } = this.process;
    this.process.write(line);
    await this.process.waitFor(PROMPT, output.length);
    return this.process.output.slice(output.length) + this.process.errors.slice(errors.length);
  }

  /** Starts forwarding. */
  async go(): Promise<void> {
    const said = await this.type('start');
    if (/fail|error|not started/i.test(said)) throw new Error(`${this.process.name}: ${said}`);
  }

  /** Stops forwarding; packets in its rings stay there. */
  async halt(): Promise<void> {
    await this.type('stop');
  }

  async stats(): Promise<PortStats[]> {
    return parsePortStats(await this.type('show port stats all'));
  }

  async quit(): Promise<number> {
    this.process.write('quit');
    return await this.process.stop('SIGTERM', 20_000);
  }

  /** The end of a program that crashed. */
  async kill(): Promise<void> {
    await this.process.stop('SIGKILL');
  }
}

/** Reads the blocks of `show port stats all`. */
export function parsePortStats(text: string): PortStats[] {
  const blocks = text.split(/NIC statistics for port \d+/).slice(1);
  return blocks.map((block) => {
    const value = (label: string) => Number(new RegExp(`${label}:\\s*(\\d+)`).exec(block)?.[1] ?? Number.NaN);
    return {
      rxPackets: value('RX-packets'),
      rxMissed: value('RX-missed'),
      rxBytes: value('RX-bytes'),
      txPackets: value('TX-packets'),
      txErrors: value('TX-errors'),
      txBytes: value('TX-bytes'),
    };
  });
}
