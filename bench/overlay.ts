/**
 * Encapsulation and decapsulation: a VM's port (vhost1) and a tunnel on the bridge br0, whose other side is the bridge br-phy with the host's address and the
 * port vhost2, where the underlay is. Encapsulation: plain frames go into vhost1, and what comes out of vhost2 is counted; decapsulation is the way back.
 * Both switches find the other end by their own routing and neighbour tables.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { bestVariant } from './compare.ts';
import { LOCAL, plainFrames, REMOTE, TUNNEL_KEY, tunnelFrames } from './overlay-frames.ts';
import type { BenchSwitch } from './peers/bench-switch.ts';
import type { Generator } from './peers/generator.ts';
import { OVS_VARIANTS, startOvsDpdk, variantConfig } from './peers/ovs-dpdk.ts';
import { check, eventually } from './peers/process.ts';
import {
  inPairs,
  type PeerName,
  type Plan,
  type Runs,
  ratiosOf,
  rulesetFile,
  spreadOf,
  spreadsOf,
  using,
} from './plan.ts';
import type { OverlayRow } from './rows.ts';
import type { Spread } from './statistics.ts';
import { type Timing, withGenerator } from './throughput.ts';

/** Packets that arrive, in millions a second. */
export interface Overlay {
  encapMpps: number;
  decapMpps: number;
  nMegaflows: number;
}

export interface OverlayResult {
  row: OverlayRow;
  ovsVariant: string;
  runs: Runs<Overlay>;
  encap: Partial<Record<PeerName, Spread>>;
  decap: Partial<Record<PeerName, Spread>>;
  /** Turnout divided by Open vSwitch, of each pair. */
  encapRatio?: Spread;
  decapRatio?: Spread;
}

const RULESET = 'overlay.flows';
/** The tunnel's number in the ruleset. */
const TUNNEL_PORT = 10;
const VARIANT_SETTLE_S = 1.5;
const VARIANT_MEASURE_S = 1;

/** Makes the tunnel of a bridge that has vhost1 and vhost2: the second becomes the underlay's. */
async function makeOverlay(sw: BenchSwitch, row: OverlayRow): Promise<void> {
  const vsctl = (...words: string[]) => sw.run('ovs-vsctl', '--timeout=60', ...words);
  const inSwitch = (...argv: string[]) => check(['nsenter', `--net=/proc/${sw.daemonPid}/ns/net`, ...argv]);
  await vsctl('del-port', 'br0', 'vhost2');
  const hwaddr = `other_config:hwaddr="${LOCAL.mac}"`;
  await vsctl('add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev', hwaddr);
  await vsctl(
    'add-port',
    'br-phy',
    'vhost2',
    '--',
    'set',
    'Interface',
    'vhost2',
    'type=dpdkvhostuser',
    'ofport_request=1',
  );
  const tunnel = [`type=${row.tunnel}`, `options:remote_ip=${REMOTE.ip}`, `options:key=${TUNNEL_KEY}`];
  await vsctl(
    'add-port',
    'br0',
    'tunnel0',
    '--',
    'set',
    'Interface',
    'tunnel0',
    ...tunnel,
    `ofport_request=${TUNNEL_PORT}`,
  );
  for (const flow of ['in_port=1,actions=LOCAL', 'in_port=LOCAL,actions=output:1'])
    await sw.run('ovs-ofctl', 'add-flow', 'br-phy', flow);
  await inSwitch('ip', 'address', 'add', `${LOCAL.ip}/24`, 'dev', 'br-phy');
  await inSwitch('ip', 'link', 'set', 'br-phy', 'up');
  await eventually(`${sw.name} has a route to ${REMOTE.ip}`, async () => {
    return (await sw.appctl('ovs/route/show')).includes('br-phy') || undefined;
  });
  await sw.appctl('tnl/neigh/set', 'br-phy', REMOTE.ip, REMOTE.mac);
}

/** Millions of packets a second that come out of the generator's second port. */
async function arrivals(generator: Generator, seconds: number): Promise<number> {
  const before = (await generator.counts())[1]!.received;
  const start = performance.now();
  await sleep(seconds * 1000);
  const after = (await generator.counts())[1]!.received;
  return (after - before) / (performance.now() - start) / 1000;
}

const replay = (frames: readonly Uint8Array[]) => ({ generator: 'pktgen-replay', frames }) as const;

async function measureOverlay(sw: BenchSwitch, row: OverlayRow, timing: Timing): Promise<Overlay> {
  await makeOverlay(sw, row);
  const plain = plainFrames(row.size);
  const measure = (generator: Generator) => arrivals(generator, timing.measureS);
  const [vm, underlay] = [sw.socket(1), sw.socket(2)];
  const encapMpps = await withGenerator([vm, underlay], replay(plain), timing.warmupS, measure);
  const wrapped = replay(tunnelFrames(row.tunnel, plain));
  const decapMpps = await withGenerator([underlay, vm], wrapped, timing.warmupS, measure);
  if (encapMpps === 0 || decapMpps === 0) throw new Error(`${sw.name}: nothing comes out of the tunnel`);
  return { encapMpps, decapMpps, nMegaflows: await sw.nMegaflows() };
}

/** Each setting of Open vSwitch's caches, both ways on one start. */
async function tryVariants(row: OverlayRow, plan: Plan): Promise<string> {
  const found: Record<string, number> = {};
  const plain = plainFrames(row.size);
  await using(startOvsDpdk({}, rulesetFile(RULESET)), async (sw) => {
    await makeOverlay(sw, row);
    for (const frames of [plain, tunnelFrames(row.tunnel, plain)]) {
      const sockets = frames === plain ? [sw.socket(1), sw.socket(2)] : [sw.socket(2), sw.socket(1)];
      await withGenerator(sockets, replay(frames), 0, async (generator) => {
        for (const name of Object.keys(OVS_VARIANTS)) {
          await sw.setConfig(variantConfig(name));
          await sleep(VARIANT_SETTLE_S * 1000);
          found[name] = (found[name] ?? 0) + (await arrivals(generator, VARIANT_MEASURE_S));
        }
      });
    }
  });
  for (const [name, mpps] of Object.entries(found))
    plan.progress(`${row.name}: ovs-dpdk ${name}: ${mpps.toFixed(2)} Mpps, both ways together`);
  return bestVariant(found);
}

export async function compareOverlay(row: OverlayRow, plan: Plan): Promise<OverlayResult> {
  const tries = plan.tryVariants && plan.peers.includes('ovs-dpdk');
  const ovsVariant = tries ? await tryVariants(row, plan) : 'emc';
  const runs = await inPairs(
    row.name,
    plan,
    { ruleset: RULESET, ovsConfig: OVS_VARIANTS[ovsVariant]! },
    (sw) => measureOverlay(sw, row, plan.timing),
    (run) =>
      `${run.encapMpps.toFixed(2)} Mpps into the tunnel, ${run.decapMpps.toFixed(2)} out of it, ${run.nMegaflows} megaflows`,
  );
  const encapRatio = spreadOf(ratiosOf(runs, (run) => run.encapMpps)).ratio;
  const decapRatio = spreadOf(ratiosOf(runs, (run) => run.decapMpps)).ratio;
  return {
    row,
    ovsVariant,
    runs,
    encap: spreadsOf(runs, (run) => run.encapMpps),
    decap: spreadsOf(runs, (run) => run.decapMpps),
    ...(encapRatio && { encapRatio }),
    ...(decapRatio && { decapRatio }),
  };
}
