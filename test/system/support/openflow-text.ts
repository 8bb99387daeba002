/** Reads what the real `ovs-ofctl` prints. */

export interface OfPortStats {
  rxPackets: number;
  rxBytes: number;
  rxDropped: number;
  txPackets: number;
  txBytes: number;
  txDropped: number;
}

/** `ovs-ofctl dump-ports BRIDGE`, by the port's name as it is printed: a number, a quoted name or LOCAL. */
export function parseDumpPorts(text: string): Map<string, OfPortStats> {
  const ports = new Map<string, OfPortStats>();
  const pattern =
    /port\s+("?[\w.-]+"?): rx pkts=(\d+|\?), bytes=(\d+|\?), drop=(\d+|\?),.*\n\s*tx pkts=(\d+|\?), bytes=(\d+|\?), drop=(\d+|\?)/g;
  for (const [, name, ...values] of text.matchAll(pattern)) {
    const [rxPackets, rxBytes, rxDropped, txPackets, txBytes, txDropped] = values.map(Number);
    ports.set(name.replaceAll('"', ''), { rxPackets, rxBytes, rxDropped, txPackets, txBytes, txDropped });
  }
  return ports;
}

export interface FlowStats {
  nPackets: number;
  nBytes: number;
  /** Everything from the priority or the match on. */
  rule: string;
}

/** `ovs-ofctl dump-flows BRIDGE`. */
export function parseDumpFlows(text: string): FlowStats[] {
  const flows: FlowStats[] = [];
  for (const line of text.split('\n')) {
    const match = /n_packets=(\d+), n_bytes=(\d+), (?:(?:idle|hard)_\w+=\d+, )*(.*)$/.exec(line.trim());
    if (match !== null) flows.push({ nPackets: Number(match[1]), nBytes: Number(match[2]), rule: match[3] });
  }
  return flows;
}

/** A map column as ovs-vsctl prints it: `{rx_packets=1, tx_packets=2}`. */
export function parseStatistics(text: string): Record<string, number> {
  const pairs = text
    .replace(/[{}"]/g, '')
    .split(',')
    .map((pair) => pair.trim().split('='));
  return Object.fromEntries(pairs.filter(([key]) => key !== '').map(([key, value]) => [key, Number(value)]));
}
