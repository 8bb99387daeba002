/** What of Open vSwitch's test suite is run against Turnout. */

import type { SuiteScript } from './suite.ts';

export interface Part {
  /** The suite's `.at` file, without the ending. */
  name: string;
  /** The archive's suite that has it; absent: the main one. */
  script?: SuiteScript;
  /** Turnout's clients stand in front of the real ones. */
  clients: boolean;
  /** Titles that are not counted, and why. */
  except?: { title: RegExp; why: string };
}

const daemons = (name: string): Part => ({ name, clients: false });
const clients = (name: string): Part => ({ name, clients: true });

const CONNTRACK = {
  title: /conntrack|\bct\b|\bnat\b|sflow|netflow|ipfix/i,
  why: 'connection tracking and flow export come with later issues',
};
const system = (name: string): Part => ({
  name,
  script: 'system-userspace-testsuite',
  clients: false,
  except: CONNTRACK,
});

export const PARTS: readonly Part[] = [
  daemons('ofproto'),
  {
    name: 'ofproto-dpif',
    clients: false,
    except: CONNTRACK,
  },
  daemons('classifier'),
  daemons('learn'),
  daemons('mpls-xlate'),
  daemons('nsh'),
  daemons('packet-type-aware'),
  daemons('bridge'),
  daemons('bundle'),
  daemons('lacp'),
  daemons('dpif-netdev'),
  daemons('tunnel'),
  daemons('tunnel-push-pop'),
  daemons('tunnel-push-pop-ipv6'),
  daemons('pmd'),
  daemons('ovsdb-server'),
  daemons('ovsdb-monitor'),
  daemons('ovsdb-idl'),
  clients('ovs-vsctl'),
  clients('ofp-print'),
  clients('ofp-actions'),
  clients('ovs-ofctl'),
  system('system-traffic'),
  system('system-layer3-tunnels'),
  system('system-interface'),
  system('system-userspace-packet-type-aware'),
  system('system-route'),
];

/** The part of that name. Throws when there is none. */
export function partNamed(name: string): Part {
  const part = PARTS.find((one) => one.name === name);
  if (!part) throw new Error(`no part "${name}": ${PARTS.map((one) => one.name).join(', ')}`);
  return part;
}
