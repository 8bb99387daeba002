import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WarpClock } from '../../src/base/clock.ts';
import type { OfpPort } from '../../src/base/types.ts';
import { DummyDpif } from '../../src/dpif/dummy.ts';
import { DummyNetdev } from '../../src/netdev/dummy.ts';
import { PatchNetdev } from '../../src/netdev/patch.ts';
import { registerOfprotoCommands } from '../../src/ofproto/appctl.ts';
import type { Bridge } from '../../src/ofproto/bridge.ts';
import type { BundleConfig } from '../../src/ofproto/config.ts';
import { applyFlowMod } from '../../src/ofproto/flow-mod.ts';
import { OfprotoBackend } from '../../src/ofproto/ofproto-backend.ts';
import { flowToPacket } from '../../src/ofproto/trace.ts';
import { parse } from '../../src/openflow/flow-text.ts';
import type { FlowMod, FlowModCommand } from '../../src/openflow/messages.ts';

/** A whole switch above the datapath, on the reference datapath with dummy devices and a stopped clock. */

type Command = (args: readonly string[]) => string;

export class OfprotoRig {
  readonly clock = new WarpClock();
  readonly rundir = mkdtempSync(join(tmpdir(), 'turnout-ofproto-'));
  readonly warnings: string[] = [];
  readonly dpif: DummyDpif;
  readonly backend: OfprotoBackend;
  readonly #netdevs = new Map<string, DummyNetdev>();
  /** Frames that left by each device, as hexadecimal. */
  readonly sent = new Map<string, string[]>();
  readonly #commands = new Map<string, Command>();

  constructor() {
    this.clock.stop();
    this.dpif = new DummyDpif(() => this.clock.monotonicMs());
    const quiet = () => undefined;
    this.backend = new OfprotoBackend(this.dpif, {
      clock: this.clock,
      rundir: this.rundir,
      vlog: () => ({ err: quiet, warn: (text) => this.warnings.push(text), info: quiet, dbg: quiet }),
    });
    const registry = {
      register: (name: string, _usage: string, _min: number, _max: number, handler: Command) => {
        this.#commands.set(name, handler);
      },
    };
    registerOfprotoCommands(registry, () => [this.backend]);
  }

  /** A bridge with its local port, and dummy ports; `p1=5` asks for OpenFlow port 5. */
  async bridge(name: string, ports: readonly string[] = [], local = false): Promise<Bridge> {
    const bridge = this.backend.createOfproto(name, 0x1n) as Bridge;
    if (local) await this.port(bridge, name);
    for (const port of ports) {
      const [portName, request] = port.split('=');
      await this.port(bridge, portName, { ofportRequest: request ? Number(request) : undefined });
    }
    return bridge;
  }

  async port(
    bridge: Bridge,
    name: string,
    options: { ofportRequest?: number | undefined; bundle?: Partial<BundleConfig> } = {},
  ): Promise<OfpPort> {
    const netdev = new DummyNetdev(name, 'dummy');
    this.#netdevs.set(name, netdev);
    const sent: string[] = [];
    this.sent.set(name, sent);
    netdev.onSend((frame) => sent.push(Buffer.from(frame).toString('hex')));
    const port = await bridge.portAdd(netdev, { ofportRequest: options.ofportRequest });
    bridge.bundleSet(name, { ports: [port], vlanMode: 'trunk', ...options.bundle });
    return port;
  }

  async patch(bridge: Bridge, name: string, peer: string, ofportRequest?: number): Promise<OfpPort> {
    const netdev = new PatchNetdev(name, new Map([['peer', peer]]));
    const port = await bridge.portAdd(netdev, { ofportRequest });
    bridge.bundleSet(name, { ports: [port], vlanMode: 'trunk' });
    bridge.setPatchPeer(port, peer);
    return port;
  }

  /** Applies a flow in ovs-ofctl's syntax; the error's name, or undefined. */
  flow(bridge: Bridge, text: string, command: FlowModCommand = 'add'): string | undefined {
    const fm: FlowMod = parse(text, command);
    return applyFlowMod(bridge.flowTables, fm);
  }

  /** A frame (text of a flow, or bytes) comes in by a device. */
  receive(name: string, frame: string | Uint8Array): void {
    this.#netdevs.get(name)!.receive(typeof frame === 'string' ? flowToPacket(frame) : frame);
  }

  /** How many frames left by each device since the last call; devices without any are left out. */
  takeSent(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [name, frames] of this.sent) {
      if (frames.length) counts[name] = frames.length;
      frames.length = 0;
    }
    return counts;
  }

  appctl(name: string, ...args: string[]): string {
    return this.#commands.get(name)!(args);
  }

  /** The last line of a trace. */
  traceActions(bridge: string, flow: string): string {
    return /Datapath actions: (.*)/.exec(this.appctl('ofproto/trace', bridge, flow))![1];
  }

  async close(): Promise<void> {
    await this.backend.close();
    rmSync(this.rundir, { recursive: true, force: true });
  }
}
