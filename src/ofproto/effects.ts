import type { Bond } from './bond.ts';
import type { Bridge } from './bridge.ts';
import type { BridgePort } from './port.ts';
import type { Bundle } from './port-bundle.ts';
import type { Rule } from './rule.ts';
import type { Effect } from './xlate/types.ts';

/** Crediting traffic: what packets of a flow do to counters and learned addresses. */

export interface Traffic {
  packets: number;
  bytes: number;
  usedMs: number;
  tcpFlags: number;
}

export interface EffectHooks {
  /** A station moved or is new. */
  learned(): void;
  reduceTimeouts(rule: Rule, idleTimeout: number, hardTimeout: number): void;
}

const TCP_FIN_OR_RST = 0x005;

function learn(e: Effect & { type: 'learn' }, hooks: EffectHooks): void {
  const bundle = e.bundle as Bundle;
  if (bundle.ports.length === 0) return;
  if (e.bridge.macs.learn(e.mac, e.vlan, bundle, e.gratuitousArp, bundle.bond !== undefined)) hooks.learned();
}

function countVport({ tx, rx }: Effect & { type: 'vport' }, { packets, bytes }: Traffic): void {
  if (tx) {
    const { vportStats } = tx as BridgePort;
    vportStats.txPackets += packets;
    vportStats.txBytes += bytes;
  }
  if (rx) {
    const { vportStats } = rx as BridgePort;
    vportStats.rxPackets += packets;
    vportStats.rxBytes += bytes;
  }
}

export function applyEffect(e: Effect, t: Traffic, hooks: EffectHooks): void {
  switch (e.type) {
    case 'table':
      if (e.match) e.table.matched += t.packets;
      else e.table.missed += t.packets;
      break;
    case 'rule':
      e.rule.credit(t.packets, t.bytes, t.usedMs);
      break;
    case 'learn':
      learn(e, hooks);
      break;
    case 'vport':
      countVport(e, t);
      break;
    case 'encapsulated': {
      const outer = { ...t, bytes: t.bytes + t.packets * e.headerSize };
      for (const one of e.effects) applyEffect(one, outer, hooks);
      break;
    }
    case 'neighbour':
      if (t.packets > 0) e.tunnels.setNeighbour(e.bridge, e.ip, e.mac);
      break;
    case 'neighbour_used':
      if (t.packets > 0) e.tunnels.neighbour(e.bridge, e.ip);
      break;
    case 'send':
      if (t.packets > 0) (e.port.bridge as Bridge).sendFrom(e.port.ofpPort, e.packet);
      break;
    case 'mirror':
      (e.bridge as Bridge).links.mirrors.credit(e.mirrors, t.packets, t.bytes);
      break;
    case 'bond':
      (e.bond as Bond).account(e.bucket, t.bytes);
      break;
    case 'lacp':
      (e.port.bridge as Bridge).links.receiveLacp(e.port as BridgePort, e.packet);
      break;
    case 'group':
      e.group.credit(t.packets, t.bytes, e.bucket);
      break;
    case 'learn_flow':
      if (t.packets > 0) e.bridge.learnFlow(e.flowMod, e.limit);
      break;
    case 'fin':
      if (t.tcpFlags & TCP_FIN_OR_RST) hooks.reduceTimeouts(e.rule, e.idleTimeout, e.hardTimeout);
      break;
  }
}
