/** The bridge of the first experiment and the counters that its parts keep. */
import assert from 'node:assert/strict';
import { eventually, eventuallyHolds } from '../../../bench/peers/process.ts';
import type { PortStats, Testpmd } from '../../../bench/peers/testpmd.ts';
import { type OfPortStats, parseDumpFlows, parseDumpPorts, parseStatistics } from './openflow-text.ts';
import type { Switch } from './switch.ts';

export const BRIDGE = 'ovs-br0';
export const PORTS = [1, 2, 3, 4] as const;
export type Port = (typeof PORTS)[number];

/** Where each port's traffic goes: 1↔4 and 2↔3. */
export const PEER_OF = { 1: 4, 2: 3, 3: 2, 4: 1 } as const satisfies Record<Port, Port>;

export const portName = (port: Port) => `vhost-user${port}`;
export const socketOf = (sw: Switch, port: Port) => `${sw.rundir}/${portName(port)}`;
export const macOf = (port: Port) => `00:00:00:00:00:0${port}`;

/** The bridge with four ports where the switch listens. */
export async function makeServerBridge(sw: Switch): Promise<void> {
  await sw.sh('ovs-vsctl add-br ovs-br0 -- set bridge ovs-br0 datapath_type=netdev');
  for (const port of PORTS) {
    await sw.sh(`ovs-vsctl add-port ovs-br0 ${portName(port)} -- set Interface ${portName(port)} type=dpdkvhostuser`);
  }
}

/** The same where the application listens. */
export async function makeClientBridge(sw: Switch): Promise<void> {
  await sw.sh('ovs-vsctl add-br ovs-br0 -- set bridge ovs-br0 datapath_type=netdev');
  for (const port of PORTS) {
    const options = `type=dpdkvhostuserclient options:vhost-server-path=${socketOf(sw, port)}`;
    await sw.sh(`ovs-vsctl add-port ovs-br0 ${portName(port)} -- set Interface ${portName(port)} ${options}`);
  }
}

export async function addPairFlows(sw: Switch): Promise<void> {
  await sw.sh(`
    ovs-ofctl del-flows ovs-br0
    ovs-ofctl add-flow ovs-br0 in_port=1,idle_timeout=0,action=output:4
    ovs-ofctl add-flow ovs-br0 in_port=4,idle_timeout=0,action=output:1
    ovs-ofctl add-flow ovs-br0 in_port=2,idle_timeout=0,action=output:3
    ovs-ofctl add-flow ovs-br0 in_port=3,idle_timeout=0,action=output:2`);
}

/** The generator sits on ports 1 and 2, the forwarder on 3 and 4. */
export interface Applications {
  generator: Testpmd;
  forwarder: Testpmd;
}

export async function dumpPorts(sw: Switch): Promise<Record<Port, OfPortStats>> {
  const ports = parseDumpPorts(await sw.sh('ovs-ofctl dump-ports ovs-br0'));
  const entries = PORTS.map((port) => {
    const stats = ports.get(String(port)) ?? ports.get(portName(port));
    assert.ok(stats, `dump-ports has no port ${port}`);
    return [port, stats] as const;
  });
  return Object.fromEntries(entries) as Record<Port, OfPortStats>;
}

/** Lets the generator run until the forwarder has `nPackets` more from it on both ports. */
export async function letTrafficRun({ generator, forwarder }: Applications, nPackets: number): Promise<void> {
  const start = await forwarder.stats();
  await forwarder.go();
  await generator.go();
  await eventually(`${nPackets} packets on each port of the forwarder`, async () => {
    const now = await forwarder.stats();
    return now.every((port, i) => port.rxPackets - start[i].rxPackets >= nPackets) || undefined;
  });
}

/**
 * Stops the generator, lets everything on its way arrive, and leaves both applications stopped. The generator receives while it waits:
 * what the forwarder sent back would otherwise stay in its rings.
 */
export async function drain(sw: Switch, { generator, forwarder }: Applications): Promise<void> {
  await generator.halt();
  await generator.type('set fwd rxonly');
  await generator.go();
  let last = '';
  await eventually('all counters stand still', async () => {
    const now = JSON.stringify([await generator.stats(), await forwarder.stats(), await dumpPorts(sw)]);
    const still = now === last;
    last = now;
    return still || undefined;
  });
  await forwarder.halt();
  await generator.halt();
  await generator.type('set fwd flowgen');
}

/** What the application on each port sent and received. */
type ApplicationStats = Record<Port, PortStats>;

/** Every pair of counters that speak of the same packets must agree; `apps` started counting when the ports did. */
export async function assertCountersAgree(sw: Switch, apps: Applications): Promise<void> {
  const [gen, fwd] = [await apps.generator.stats(), await apps.forwarder.stats()];
  const application: ApplicationStats = { 1: gen[0], 2: gen[1], 3: fwd[0], 4: fwd[1] };
  for (const port of PORTS)
    assert.ok(application[port].txPackets > 0 && application[port].rxPackets > 0, `traffic on port ${port}`);
  await eventuallyHolds(() => assertFlowsAgree(sw, application));
  if (await countsPorts(sw)) await assertPortsAgree(sw, application);
}

/** Open vSwitch 3.1 keeps no port counters for `dpdkvhostuser`, where it listens: dump-ports prints question marks. */
async function countsPorts(sw: Switch): Promise<boolean> {
  return sw.kind !== 'ovs' || (await sw.interfaceColumn(portName(1), 'type')) !== 'dpdkvhostuser';
}

async function assertPortsAgree(sw: Switch, application: ApplicationStats): Promise<void> {
  const of = await dumpPorts(sw);
  for (const port of PORTS) {
    const { rxPackets, rxBytes, txPackets, txBytes } = application[port];
    assert.deepEqual(
      [of[port].rxPackets, of[port].rxBytes],
      [txPackets, txBytes],
      `port ${port}: the switch received what was sent`,
    );
    assert.deepEqual(
      [of[port].txPackets, of[port].txBytes],
      [rxPackets, rxBytes],
      `port ${port}: what the switch sent was received`,
    );
    const out = of[PEER_OF[port]];
    assert.equal(
      out.txPackets + out.txDropped,
      of[port].rxPackets,
      `port ${port} → ${PEER_OF[port]}: sent + dropped = received`,
    );
  }
  await eventuallyHolds(() => assertDatabaseAgrees(sw, of));
}

/** Flow statistics follow the datapath's by up to a second. */
async function assertFlowsAgree(sw: Switch, application: ApplicationStats): Promise<void> {
  const flows = parseDumpFlows(await sw.sh('ovs-ofctl dump-flows ovs-br0'));
  assert.equal(flows.length, PORTS.length);
  for (const port of PORTS) {
    const flow = flows.find(({ rule }) => new RegExp(`^in_port=("?${portName(port)}"?|${port}) `).test(rule));
    assert.ok(flow, `dump-flows has no flow of port ${port}: ${JSON.stringify(flows)}`);
    const { txPackets, txBytes } = application[port];
    assert.deepEqual([flow.nPackets, flow.nBytes], [txPackets, txBytes], `flow of port ${port}`);
  }
}

/** The database follows every stats-update-interval, 5 s unless set. */
async function assertDatabaseAgrees(sw: Switch, of: Record<Port, OfPortStats>): Promise<void> {
  for (const port of PORTS) {
    const stats = parseStatistics(await sw.interfaceColumn(portName(port), 'statistics'));
    const { rx_packets, rx_bytes, tx_packets, tx_bytes } = stats;
    const want = [of[port].rxPackets, of[port].rxBytes, of[port].txPackets, of[port].txBytes];
    assert.deepEqual([rx_packets, rx_bytes, tx_packets, tx_bytes], want, `statistics of ${portName(port)}`);
  }
}
