import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vethCommands } from '../attach/link.ts';
import { type Attachment, attachmentOf, externalIdsOf, isOf, linkSpecOf } from './attachment.ts';
import { engineTarget } from './engine.ts';
import { mountAdvice } from './ports.ts';

const ATTACHMENT: Attachment = {
  port: '0123456789abc_l',
  containerId: 'web',
  iface: 'eth1',
  dockerId: 'c474a0e2830e'.padEnd(64, '0'),
  dockerName: 'web',
  addresses: ['10.0.0.1/24', 'fd00::1/64'],
  gateways: ['10.0.0.254', 'fd00::fe'],
  mac: '02:00:00:00:00:01',
  mtu: 1400,
  socket: undefined,
};

const record = (externalIds: Record<string, string>) => ({
  name: ATTACHMENT.port,
  bridge: 'br0',
  uuid: '',
  ifaceUuid: '',
  type: '',
  ofport: 5,
  error: undefined,
  link: 'up',
  mac: undefined,
  tag: undefined,
  trunks: [],
  vlanMode: undefined,
  options: new Map(),
  externalIds: new Map(Object.entries(externalIds)),
});

test('the database keeps all of an attachment', () => {
  assert.deepEqual(attachmentOf(record(externalIdsOf(ATTACHMENT))), ATTACHMENT);
  assert.equal(attachmentOf(record({ container_id: 'web' })), undefined);
  assert.equal(attachmentOf(record({ ...externalIdsOf(ATTACHMENT), cni_network: 'net' })), undefined);
});

test('the pair has its far end in the container from the first moment', () => {
  const netns = { inside: (...argv: readonly string[]) => ['in', ...argv] };
  assert.deepEqual(
    vethCommands(linkSpecOf(ATTACHMENT), netns, 7).map((argv) => argv.join(' ')),
    [
      'in ip link add name eth1 mtu 1400 address 02:00:00:00:00:01 type veth peer name 0123456789abc_l mtu 1400 netns 7',
      'in ip address add 10.0.0.1/24 dev eth1',
      'in ip -6 address add fd00::1/64 nodad dev eth1',
      'in ip link set dev eth1 up',
      'in ip -4 route add 0.0.0.0/0 via 10.0.0.254 dev eth1',
      'in ip -6 route add ::/0 via fd00::fe dev eth1',
      'ip link set dev 0123456789abc_l up',
    ],
  );
});

test('a container is meant by name, id or the beginning of its id', () => {
  const container = { id: ATTACHMENT.dockerId!, name: 'web', isRunning: true, pid: 1, mounts: [] };
  assert.ok(isOf(ATTACHMENT, 'web', undefined));
  assert.ok(isOf(ATTACHMENT, 'c474a0e2830e', undefined));
  assert.ok(isOf(ATTACHMENT, 'c474', container)); // The engine knows what it means.
  assert.ok(!isOf(ATTACHMENT, 'c474', undefined));
  assert.ok(!isOf(ATTACHMENT, 'db', { ...container, id: 'f'.repeat(64) }));
  const original = { ...ATTACHMENT, dockerId: undefined, dockerName: undefined, containerId: 'c474a0e2830e' };
  assert.ok(isOf(original, 'web', container));
});

test('the engine is where DOCKER_HOST says', () => {
  assert.deepEqual(engineTarget(undefined), { socketPath: '/var/run/docker.sock' });
  assert.deepEqual(engineTarget('unix:///run/user/1/docker.sock'), { socketPath: '/run/user/1/docker.sock' });
  assert.deepEqual(engineTarget('tcp://[::1]:4243'), { host: '::1', port: 4243 });
  assert.throws(() => engineTarget('ssh://me@there'), /only unix:\/\/ and tcp:\/\//);
});

test('what to mount, unless the container does', () => {
  const options = { dpdk: 'client', container: 'app', mac: undefined } as const;
  const socket = '/run/ovs/containers/app/eth1.sock';
  assert.deepEqual(mountAdvice(options, socket, undefined), [
    `socket: ${socket}`,
    'mount: --volume /run/ovs/containers/app:/run/ovs/containers/app --volume /dev/hugepages:/dev/hugepages',
    `application: --vdev=net_virtio_user0,path=${socket},server=1`,
  ]);
  const mounts = [{ source: '/run/ovs/containers', destination: '/sockets' }];
  const container = { id: 'x', name: 'app', isRunning: true, pid: 1, mounts };
  assert.deepEqual(mountAdvice(options, socket, container), [
    `socket: ${socket}`,
    'application: --vdev=net_virtio_user0,path=/sockets/app/eth1.sock,server=1',
  ]);
});
