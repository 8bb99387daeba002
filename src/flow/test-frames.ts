/** Frames for tests of header parsing, as hexadecimal without spaces: one of every kind that `extract` tells apart. */

const ETH = '0000000000020000000000 01'.replaceAll(' ', '');
const hex = (s: string): string => s.replaceAll(/\s+/g, '');

function ipv4(proto: string, payload: string, o: { tos?: string; frag?: string; options?: string } = {}): string {
  const options = hex(o.options ?? '');
  const body = hex(payload);
  const size = 20 + options.length / 2 + body.length / 2;
  const ihl = (5 + options.length / 8).toString(16);
  const total = size.toString(16).padStart(4, '0');
  return `4${ihl}${o.tos ?? '00'}${total}0000${o.frag ?? '0000'}40${proto}0000 0a000001 0a000002${options}${body}`;
}

function ipv6(next: string, payload: string): string {
  const body = hex(payload);
  const plen = (body.length / 2).toString(16).padStart(4, '0');
  return `6 1 2 abcde ${plen} ${next} 40 fe80000000000000 0000000000000001 fe80000000000000 0000000000000002 ${body}`;
}

const TCP = '0016 01bb 00000001 00000002 5012 ffff 0000 0000';
const TCP_OPTIONS = '0016 01bb 00000001 00000002 6018 ffff 0000 0000 01010101';
const UDP = '0035 1234 0010 0000 0102030405060708';
const SCTP = '0005 0006 00000001 00000002 0000';
const ND_HEAD = '87 00 0000 00000000 fe80000000000000 0000000000000009';

export const FRAMES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    tcp: `0800 ${ipv4('06', TCP)}`,
    'tcp with options and padding': `0800 ${ipv4('06', TCP_OPTIONS)} 000000000000`,
    'IP options': `0800 ${ipv4('06', TCP, { options: '01010101', tos: 'b9' })}`,
    udp: `0800 ${ipv4('11', UDP)}`,
    sctp: `0800 ${ipv4('84', SCTP)}`,
    icmp: `0800 ${ipv4('01', '08 00 0000 0001 0002')}`,
    igmp: `0800 ${ipv4('02', '16 00 0000 e0000001')}`,
    'protocol 0': `0800 ${ipv4('00', '00112233')}`,
    'first fragment': `0800 ${ipv4('11', UDP, { frag: '2000' })}`,
    'later fragment': `0800 ${ipv4('11', UDP, { frag: '0064' })}`,
    "don't fragment": `0800 ${ipv4('11', UDP, { frag: '4000' })}`,
    'bad TCP data offset': `0800 ${ipv4('06', TCP.replace('5012', '4012'))}`,
    'one tag': `8100 6064 0800 ${ipv4('06', TCP)}`,
    'priority tag': `8100 0000 0800 ${ipv4('11', UDP)}`,
    'two tags': `88a8 0064 8100 00c8 0800 ${ipv4('06', TCP)}`,
    'three tags': `8100 0001 8100 0002 8100 0003 0800 ${ipv4('06', TCP)}`,
    tcp6: `86dd ${ipv6('06', TCP)}`,
    udp6: `86dd ${ipv6('11', UDP)}`,
    icmp6: `86dd ${ipv6('3a', '80 00 0000 0001 0002')}`,
    'hop-by-hop options': `86dd ${ipv6('00', `06 00 0502 0000 0100 ${TCP}`)}`,
    'routing, destination options': `86dd ${ipv6('2b', `3c 00 000000000000 06 01 ${'00'.repeat(14)} ${TCP}`)}`,
    'authentication header': `86dd ${ipv6('33', `11 04 0000 ${'00'.repeat(20)} ${UDP}`)}`,
    'first IPv6 fragment': `86dd ${ipv6('2c', `11 00 0001 00000001 ${UDP}`)}`,
    'later IPv6 fragment': `86dd ${ipv6('2c', `11 00 0321 00000001 ${UDP}`)}`,
    'whole IPv6 "fragment"': `86dd ${ipv6('2c', `11 00 0000 00000001 ${UDP}`)}`,
    'no next header': `86dd ${ipv6('3b', '')}`,
    'neighbour solicitation': `86dd ${ipv6('3a', `${ND_HEAD} 01 01 0000000000aa`)}`,
    'neighbour advertisement': `86dd ${ipv6('3a', `${ND_HEAD.replace('87', '88')} 02 01 0000000000bb`)}`,
    'solicitation without options': `86dd ${ipv6('3a', ND_HEAD)}`,
    'solicitation with both': `86dd ${ipv6('3a', `${ND_HEAD} 02 01 0000000000bb 01 01 0000000000aa`)}`,
    'solicitation with an option twice': `86dd ${ipv6('3a', `${ND_HEAD} 01 01 0000000000aa 01 01 0000000000bb`)}`,
    'arp request': '0806 0001 0800 06 04 0001 000000000001 0a000001 000000000000 0a000002',
    'arp of another opcode': '0806 0001 0800 06 04 0009 000000000001 0a000001 000000000000 0a000002',
    'arp of a long opcode': '0806 0001 0800 06 04 0101 000000000001 0a000001 000000000000 0a000002',
    'arp of another hardware': '0806 0006 0800 06 04 0001 000000000001 0a000001 000000000000 0a000002',
    rarp: '8035 0001 0800 06 04 0003 000000000001 0a000001 000000000000 0a000002',
    mpls: `8847 0006 41ff 0800 ${ipv4('06', TCP)}`,
    'three labels': '8847 0006 40ff 0007 40ff 0008 41ff 45000000',
    'four labels': '8848 0006 40ff 0007 40ff 0008 40ff 0009 41ff 45000000',
    llc: '0026 4242 03 0000 0000 0080 00',
    snap: `0030 aaaa 03 000000 0800 ${ipv4('11', UDP)}`,
    'snap of another organisation': `0030 aaaa 03 00000c 0800 ${ipv4('11', UDP)}`,
    'unknown type': '88cc 0102030405',
    nsh: `894f 0fc6 01 01 00001234 00000001 00000002 00000003 00000004 45000000`,
  }).map(([name, frame]) => [name, ETH + hex(frame)]),
);

/** Neighbour-discovery options that end the discovery's fields. */
export const BAD_ND: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    'length 0': `86dd ${ipv6('3a', `${ND_HEAD} 01 01 0000000000aa 01 00 0000000000bb`)}`,
    'beyond the end': `86dd ${ipv6('3a', `${ND_HEAD} 01 01 0000000000aa 05 09 0000000000bb`)}`,
  }).map(([name, frame]) => [name, ETH + hex(frame)]),
);
