import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddPort, parseGlobalOptions, parseVlan } from './options.ts';

const words = (text: string) => text.split(' ');

test('add-port takes addresses of both families, repeated or with commas', () => {
  const options = parseAddPort(
    words('br0 eth1 web --ipaddress=10.0.0.1/24,10.0.0.2 --ipaddress=fd00::1/64 --gateway=10.0.0.254 --mtu=1400'),
  );
  assert.deepEqual(options.addresses, ['10.0.0.1/24', '10.0.0.2', 'fd00::1/64']);
  assert.deepEqual([options.gateways, options.mtu, options.dpdk], [['10.0.0.254'], 1400, undefined]);
  assert.equal(parseAddPort(words('br0 eth1 web --dpdk')).dpdk, 'client');
  assert.equal(parseAddPort(words('br0 eth1 web --dpdk=server')).dpdk, 'server');
});

test('what cannot be is refused before anything is done', () => {
  const refusals: [string, RegExp][] = [
    ['br0 eth1', /^add-port: not enough arguments \(use --help for help\)$/],
    ['br0 eth1 web --color', /^add-port: unknown option "--color"$/],
    ['br0 an-interface-name web', /longer than 15 bytes/],
    ['br0 a/b web', /character that the kernel refuses/],
    ['br0 eth1 web --ipaddress=10.0.0.256/24', /"10\.0\.0\.256\/24" is not an IP address/],
    ['br0 eth1 web --ipaddress=10.0.0.1/33', /is not an IP address/],
    ['br0 eth1 web --ipaddress=fe80::1%eth0', /is not an IP address/],
    ['br0 eth1 web --gateway=10.0.0.0/24', /gateway "10\.0\.0\.0\/24" is not an IP address/],
    ['br0 eth1 web --macaddress=01:00:00:00:00:01', /not a MAC address that an interface can have/],
    ['br0 eth1 web --macaddress=02:00:00:00:01', /is not a MAC address/],
    ['br0 eth1 web --mtu=67', /MTU 67 is not in 68 to 65535/],
    ['br0 eth1 web --mtu=big', /MTU NaN/],
    ['br0 eth1 web --dpdk=both', /the switch is "client" or "server"/],
    ['br0 eth1 web --dpdk --ipaddress=10.0.0.1', /do not go with --dpdk/],
    ['br0 eth1 web --socket-dir=/run/x', /--socket-dir needs --dpdk/],
    ['br0 eth1 web --dpdk --socket-dir=x', /is not absolute/],
  ];
  for (const [text, message] of refusals) {
    assert.throws(() => parseAddPort(words(text)), { name: 'DockerUsageError', message }, text);
  }
  assert.throws(() => parseVlan('4096'), /"4096" is not a VLAN/);
  assert.throws(() => parseGlobalOptions(['--timeout=soon']), /is not a number of seconds/);
});

test('options before the command are the program’s own', () => {
  const { options, rest } = parseGlobalOptions(words('--db=tcp:127.0.0.1:6640 --timeout=5 ls --json'));
  assert.deepEqual([options, rest], [{ db: 'tcp:127.0.0.1:6640', timeoutS: 5 }, ['ls', '--json']]);
});
