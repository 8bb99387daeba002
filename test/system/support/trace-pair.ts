import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { odpPort } from '../../../src/base/types.ts';
import type { Bridge } from '../../../src/ofproto/bridge.ts';
import { Group } from '../../../src/ofproto/group.ts';
import { parseGroupMod } from '../../../src/openflow/group-text.ts';
import { type Bucket, OFPG15_BUCKET_ALL } from '../../../src/openflow/messages-group.ts';
import { OfprotoRig } from '../../support/ofproto-rig.ts';
import { RealOvs } from './ovs-dummy.ts';

/** The same bridge in Turnout's translator and in the real ovs-vswitchd: what one says of a packet, the other has to say, word for word. */
export class TracePair {
  readonly real = new RealOvs();
  readonly rig = new OfprotoRig();
  bridge!: Bridge;
  /** For the message of a difference. */
  #flows: readonly string[] = [];

  /** Bridge br0, dummy ports p1 to p4 with these OpenFlow numbers. */
  async start(): Promise<void> {
    const { real, rig } = this;
    await real.start();
    const port = (i: number) => [
      ...['--', 'add-port', 'br0', `p${i}`, '--', 'set', 'interface', `p${i}`, 'type=dummy', `ofport_request=${i}`],
    ];
    real.vsctl(
      ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail-mode=secure'],
      'protocols=OpenFlow10,OpenFlow13,OpenFlow15',
      ...[1, 2, 3, 4].flatMap(port),
    );
    this.#alignPorts();
    this.bridge = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4'], true);
    this.bridge.setFailMode('secure');
  }

  /** Both sides have to have the same datapath ports for their actions to read alike. */
  #alignPorts(): void {
    const theirs = new Map<string, number>();
    for (const [, name, odp] of this.real.appctl('dpif/show').matchAll(/^ {4}(\w+) \d+\/(\d+):/gm))
      theirs.set(name, Number(odp));
    const { dpif } = this.rig;
    const portAdd = dpif.portAdd.bind(dpif);
    // What the real one can do, so that translation does not depend on what ours can't yet.
    const features = new Map([...dpif.features(), ['Conntrack clear', true] as const]);
    dpif.features = () => features;
    dpif.portAdd = (netdev) => portAdd(netdev, odpPort(theirs.get(netdev.name)!));
  }

  async stop(): Promise<void> {
    await this.real.stop();
    await this.rig.close();
  }

  setGroups(groups: readonly string[]): void {
    this.real.ofctl('-O', 'OpenFlow15', 'del-groups', 'br0');
    this.bridge.openflow.groupTable.flush();
    for (const text of groups) {
      const gm = parseGroupMod(text, 'add').group;
      const times = { createdMs: 0, modifiedMs: 0 };
      this.bridge.openflow.groupTable.put(new Group(gm.groupId, gm.groupType, withIds(gm.buckets), gm.props, times));
      this.real.ofctl('-O', 'OpenFlow15', 'add-group', 'br0', text);
    }
  }

  setFlows(flows: readonly string[]): void {
    this.real.ofctl('-O', 'OpenFlow13', 'del-flows', 'br0');
    this.bridge.flowTables.flush();
    for (const flow of flows) {
      this.#addFlow(flow);
      assert.equal(this.rig.flow(this.bridge, flow), undefined, flow);
    }
  }

  /** As `setFlows`, all at once and by OpenFlow 1.0. */
  addFlows(flows: readonly string[]): void {
    this.real.ofctl('del-flows', 'br0');
    this.bridge.flowTables.flush();
    const file = join(this.real.rundir, 'flows.txt');
    writeFileSync(file, `${flows.join('\n')}\n`);
    this.real.ofctl('add-flows', 'br0', file);
    for (const flow of flows) assert.equal(this.rig.flow(this.bridge, flow), undefined, flow);
    this.#flows = flows;
  }

  /** By OpenFlow 1.3, or by 1.0 where the flow has actions of Nicira that 1.3 lacks. */
  #addFlow(flow: string): void {
    try {
      this.real.ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', flow);
    } catch {
      this.real.ofctl('add-flow', 'br0', flow);
    }
  }

  /** Compares the replies, or the complaints, of a command; our name of the command is theirs. */
  compareCommand(command: string, ...args: string[]): void {
    const theirs = reply(() => this.real.appctl(command, ...args));
    const ours = reply(() => this.rig.appctl(command, ...args));
    assert.equal(normalize(ours), normalize(theirs), `${command} ${args.join(' ')}`);
  }

  /** Compares the traces of a packet; `args`: more arguments. */
  compare(packet: string, ...args: string[]): void {
    const theirs = this.real.appctl('ofproto/trace', 'br0', packet, ...args);
    const ours = this.rig.appctl('ofproto/trace', 'br0', packet, ...args);
    assert.equal(normalize(ours), normalize(theirs), `${this.#flows.join('\n')}\npacket: ${packet}`);
  }
}

/** What a command says: its reply, or why there is none, without what ovs-appctl adds. */
function reply(run: () => string): string {
  try {
    return run();
  } catch (e) {
    const { stderr, message } = e as { stderr?: string; message: string };
    return `error: ${(stderr ?? message).replace(/^ovs-appctl: .*\n/gm, '').trimEnd()}`;
  }
}

/** Buckets without an id are numbered. */
const withIds = (buckets: readonly Bucket[]): Bucket[] =>
  buckets.map((b, i) => (b.bucketId === OFPG15_BUCKET_ALL ? { ...b, bucketId: i } : b));

/** Numbers that name saved states differ. */
function normalize(trace: string): string {
  const seen = new Map<string, string>();
  const name = (id: string) => {
    if (!seen.has(id)) seen.set(id, `#${seen.size + 1}`);
    return seen.get(id)!;
  };
  return trace
    .replace(/recirc_id=(0x[0-9a-f]+|[1-9]\d*)/g, (_, id: string) => `recirc_id=${name(`${Number(id)}`)}`)
    .replace(/recirc\((0x[0-9a-f]+)\)/g, (_, id: string) => `recirc(${name(`${Number(id)}`)})`)
    .replace(/\n+$/, '');
}
