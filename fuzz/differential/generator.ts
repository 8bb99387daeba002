/** Random flow tables, groups and packets in ovs-ofctl's syntax, from a seeded stream. What is drawn is always valid. */
import type { Random } from '../../test/support/random.ts';

export const PORTS = [1, 2, 3, 4] as const;
const TABLES = 5;

const IPS = ['10.0.0.1', '10.0.0.2', '10.1.0.1', '192.168.0.1'];
const NETS = ['10.0.0.0/8', '10.0.0.0/24', '192.168.0.0/16', '10.0.0.0/255.0.255.0', ...IPS];
const IP6S = ['fe80::1', 'fe80::2', '2001:db8::1', '2001:db8::2'];
const MACS = ['00:00:00:00:00:01', '00:00:00:00:00:02', '01:80:c2:00:00:00', 'ff:ff:ff:ff:ff:ff', '50:54:00:00:00:0a'];
const TP_PORTS = ['80', '81', '443', '8080'];
const REGS = [
  'NXM_NX_REG0[]',
  'NXM_NX_REG1[0..15]',
  'NXM_NX_REG2[16..31]',
  'OXM_OF_METADATA[0..7]',
  'NXM_NX_XXREG1[0..63]',
];

/** A round of the comparison. */
export interface Round {
  groups: string[];
  flows: string[];
  /** ofproto/trace's flow syntax, `in_port` first. */
  packets: string[];
}

/** Draws; one object a seed. */
export class Generator {
  readonly #rnd: Random;

  constructor(rnd: Random) {
    this.#rnd = rnd;
  }

  round(): Round {
    const groups = [1, 2, 3].map((id) => this.#group(id));
    const n = 4 + this.#rnd(30);
    // One priority each: which of two equal rules is found first is nobody's business.
    const flows = Array.from({ length: n }, (_, i) => this.#flow(1000 - i));
    const packets = Array.from({ length: 12 }, () => this.#packet());
    return { groups, flows, packets };
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#rnd(list.length)];
  }

  #chance(oneIn: number): boolean {
    return this.#rnd(oneIn) === 0;
  }

  #group(id: number): string {
    const buckets = Array.from(
      { length: 1 + this.#rnd(3) },
      () => `bucket=${this.#plainActions(1 + this.#rnd(2)).join(',')}`,
    );
    // What a select group picks depends on a hash: one bucket only. The others are deterministic.
    const type = this.#pick(['all', 'indirect', 'all', 'select']);
    const kept = type === 'all' ? buckets : buckets.slice(0, 1);
    return `group_id=${id},type=${type},${kept.join(',')}`;
  }

  #match(): string[] {
    const m: string[] = [];
    if (this.#chance(3)) m.push(`in_port=${this.#pick(PORTS)}`);
    if (this.#chance(6))
      m.push(
        this.#pick([
          'vlan_tci=0',
          'dl_vlan=10',
          'vlan_tci=0x1000/0x1000',
          'dl_vlan=20,dl_vlan_pcp=3',
          'vlan_tci=0x1004/0x1fff',
        ]),
      );
    if (this.#chance(5)) m.push(`dl_dst=${this.#pick([...MACS, '00:00:00:00:00:00/01:00:00:00:00:00'])}`);
    if (this.#chance(8)) m.push(`dl_src=${this.#pick(MACS)}`);
    if (this.#chance(8))
      m.push(this.#pick(['reg0=1', 'reg1=0x5/0xff', 'metadata=0x7', 'xreg0=0x100000000/0xff00000000', 'reg2=0']));
    m.push(
      ...this.#l3Match(
        this.#pick(['', '', 'ip', 'tcp', 'udp', 'icmp', 'arp', 'tcp6', 'ipv6', 'icmp6', 'sctp', 'mpls', 'udp6']),
      ),
    );
    return m;
  }

  #l3Match(proto: string): string[] {
    if (proto === '') return [];
    const m = [proto];
    const isIp4 = ['ip', 'tcp', 'udp', 'icmp', 'sctp'].includes(proto);
    if (isIp4 && this.#chance(2)) m.push(`nw_dst=${this.#pick(NETS)}`);
    if (isIp4 && this.#chance(3)) m.push(`nw_src=${this.#pick(NETS)}`);
    if (isIp4 && this.#chance(6))
      m.push(this.#pick(['nw_tos=32', 'nw_ttl=64', 'nw_ecn=1', 'ip_frag=no', 'ip_frag=not_later']));
    if (proto === 'arp' && this.#chance(2))
      m.push(this.#pick(['arp_op=1', 'arp_tpa=10.0.0.1', 'arp_spa=10.0.0.0/24', 'arp_sha=00:00:00:00:00:01']));
    if (proto.endsWith('6') && this.#chance(2))
      m.push(this.#pick(['ipv6_dst=fe80::1', 'ipv6_src=2001:db8::/32', 'ipv6_label=0', 'ipv6_dst=::1/::1']));
    if (proto === 'icmp6' && this.#chance(2))
      m.push(this.#pick(['icmp_type=135,icmp_code=0,nd_target=fe80::1', 'icmp_type=128']));
    if (proto === 'icmp' && this.#chance(2)) m.push(this.#pick(['icmp_type=8', 'icmp_type=8,icmp_code=0']));
    if (proto === 'mpls' && this.#chance(2)) m.push(this.#pick(['mpls_label=7', 'mpls_bos=1', 'mpls_tc=1']));
    if (['tcp', 'udp', 'tcp6', 'udp6', 'sctp'].includes(proto)) {
      if (this.#chance(3)) m.push(this.#pick([`tp_dst=${this.#pick(TP_PORTS)}`, 'tp_dst=0x50/0xfff0']));
      if (this.#chance(6)) m.push(`tp_src=${this.#pick(TP_PORTS)}`);
    }
    if (proto.startsWith('tcp') && this.#chance(6)) m.push(this.#pick(['tcp_flags=+syn-ack', 'tcp_flags=0x10/0x10']));
    return m;
  }

  /** Actions that fit any packet. */
  #plainActions(n: number): string[] {
    const draws: (() => string)[] = [
      () => `output:${1 + this.#rnd(5)}`,
      () => `output:${this.#pick(PORTS)}`,
      () => `load:${this.#rnd(9)}->${this.#pick(REGS)}`,
      () => `mod_dl_dst:${this.#pick(MACS)}`,
      () => `mod_dl_src:${this.#pick(MACS)}`,
      () => `mod_vlan_vid:${this.#pick(['10', '20'])}`,
      () => 'strip_vlan',
      () => 'in_port',
    ];
    return Array.from({ length: n }, () => this.#pick(draws)());
  }

  #tableActions(table: number): (() => string)[] {
    const next = () => Math.min(TABLES - 1, table + 1 + this.#rnd(2));
    return [
      () => 'all',
      () => 'flood',
      () => `set_field:${this.#rnd(200)}/0xff->reg${this.#rnd(3)}`,
      () => 'move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG1[0..15]',
      () => 'move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]',
      () => 'push:NXM_NX_REG0[],pop:NXM_NX_REG2[]',
      () => 'push_vlan:0x8100,set_field:4106->vlan_vid',
      () => `resubmit(,${next()})`,
      () => `resubmit(${this.#pick(PORTS)},${next()})`,
      () => 'output:NXM_NX_REG0[0..15]',
      () => `output(port=${this.#pick(PORTS)},max_len=60)`,
      () => 'exit',
      () => 'note:00.01',
      () => 'CONTROLLER',
      () => `group:${1 + this.#rnd(3)}`,
      () => `clone(${this.#plainActions(2).join(',')})`,
      () => `multipath(eth_src,${this.#rnd(99)},modulo_n,1,0,NXM_NX_REG0[0..7])`,
      () =>
        `learn(table=${TABLES},priority=${this.#rnd(99)},NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])`,
      () => `check_pkt_larger(${this.#pick(['40', '60', '100'])})->NXM_NX_REG0[0]`,
      () => 'set_queue:2',
      () => 'pop_queue',
    ];
  }

  #headerActions(match: readonly string[]): (() => string)[] {
    const is = (...protos: string[]) => protos.some((p) => match.includes(p));
    const pool: (() => string)[] = [];
    const ip4 = is('ip', 'tcp', 'udp', 'icmp', 'sctp');
    if (ip4 || is('tcp6', 'udp6', 'ipv6', 'icmp6'))
      pool.push(
        () => 'dec_ttl',
        () => 'mod_nw_tos:40',
        () => 'load:5->NXM_NX_IP_TTL[]',
        () => 'mod_nw_ecn:2',
      );
    if (ip4)
      pool.push(
        () => `mod_nw_dst:${this.#pick(IPS)}`,
        () => `mod_nw_src:${this.#pick(IPS)}`,
        () => 'load:1->NXM_OF_IP_DST[0..3]',
        () => 'move:NXM_OF_IP_SRC[]->NXM_NX_REG2[]',
        () => 'push_mpls:0x8847,set_mpls_label:7',
      );
    if (is('tcp6', 'udp6', 'ipv6'))
      pool.push(
        () => 'set_field:fe80::7->ipv6_dst',
        () => 'set_field:0x123->ipv6_label',
      );
    if (is('tcp', 'udp', 'tcp6', 'udp6', 'sctp'))
      pool.push(
        () => `mod_tp_dst:${this.#pick(TP_PORTS)}`,
        () => `mod_tp_src:${this.#pick(TP_PORTS)}`,
      );
    if (is('arp'))
      pool.push(
        () => 'load:2->NXM_OF_ARP_OP[]',
        () => 'move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]',
      );
    if (is('mpls'))
      pool.push(
        () => 'set_mpls_ttl:9',
        () => 'dec_mpls_ttl',
        () => 'set_mpls_tc:2',
      );
    return pool;
  }

  #flow(priority: number): string {
    const table = this.#rnd(TABLES);
    const match = this.#match();
    const header = this.#headerActions(match);
    const other = this.#tableActions(table);
    const actions = Array.from({ length: 1 + this.#rnd(4) }, () => {
      const kind = this.#rnd(4);
      if (kind < 2) return this.#plainActions(1)[0];
      return this.#pick(kind === 2 && header.length > 0 ? header : other)();
    });
    return `${[`table=${table}`, `priority=${priority}`, ...match].join(',')} actions=${actions.join(',')}`;
  }

  #packet(): string {
    const p = [`in_port=${this.#pick(PORTS)}`, `dl_src=${this.#pick(MACS.slice(0, 2))}`, `dl_dst=${this.#pick(MACS)}`];
    if (this.#chance(4)) p.push(`dl_vlan=${this.#pick(['10', '20'])}`, `dl_vlan_pcp=${this.#rnd(8)}`);
    const proto = this.#pick(['tcp', 'tcp', 'udp', 'icmp', 'arp', 'tcp6', 'icmp6', 'ip', 'udp6', 'sctp', 'mpls']);
    p.push(proto);
    if (['tcp', 'udp', 'icmp', 'ip', 'sctp'].includes(proto))
      p.push(
        `nw_src=${this.#pick(IPS)}`,
        `nw_dst=${this.#pick(IPS)}`,
        `nw_ttl=${this.#pick(['1', '64', '255'])}`,
        `nw_tos=${this.#pick(['0', '32'])}`,
      );
    if (proto === 'ip') p.push(`nw_proto=${this.#pick(['47', '2'])}`);
    if (proto.endsWith('6'))
      p.push(`ipv6_src=${this.#pick(IP6S)}`, `ipv6_dst=${this.#pick(IP6S)}`, `nw_ttl=${this.#pick(['1', '64'])}`);
    if (proto === 'arp')
      p.push(`arp_op=${1 + this.#rnd(2)}`, `arp_spa=${this.#pick(IPS)}`, `arp_tpa=${this.#pick(IPS)}`);
    if (proto === 'mpls')
      p.push(`mpls_label=${this.#pick(['7', '8'])}`, 'mpls_tc=1', `mpls_ttl=${this.#pick(['1', '64'])}`, 'mpls_bos=1');
    const l4 = proto.replace('6', '');
    if (['tcp', 'udp', 'sctp'].includes(l4))
      p.push(`${l4}_src=${this.#pick(TP_PORTS)}`, `${l4}_dst=${this.#pick(TP_PORTS)}`);
    if (proto === 'tcp' && this.#chance(2)) p.push('tcp_flags=syn');
    if (proto === 'icmp') p.push('icmp_type=8', 'icmp_code=0');
    if (proto === 'icmp6') p.push(`icmpv6_type=${this.#pick(['128', '129'])}`, 'icmpv6_code=0');
    return p.join(',');
  }
}
