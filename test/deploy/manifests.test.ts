/** The manifests of deploy/kubernetes against the schemas of their kinds, and against each other. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import { parseConfig } from '../../src/cli/cni/config.ts';
import { parseYaml } from '../../src/cli/cni/yaml.ts';
import { SCHEMAS } from './kubernetes-schemas.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const FOLDER = join(root, 'deploy/kubernetes');

// biome-ignore lint/suspicious/noExplicitAny: manifests that the tests take apart once they are valid.
type Manifest = any;

const manifests: Manifest[] = readdirSync(FOLDER).flatMap((file) =>
  parseYaml(readFileSync(join(FOLDER, file), 'utf8')).map((manifest) => Object.assign({ file }, { manifest })),
);
const ofKind = (kind: string) =>
  manifests.filter(({ manifest }) => manifest.kind === kind).map(({ manifest }) => manifest);

const ajv = new Ajv({ allErrors: true });

/** What is wrong with a manifest, or undefined. */
function violations(manifest: Manifest): string | undefined {
  const schema = SCHEMAS[manifest.kind];
  if (!schema) return `no schema of kind ${manifest.kind}`;
  return ajv.validate(schema, manifest) ? undefined : ajv.errorsText();
}

test('every manifest is of its kind', () => {
  assert.ok(manifests.length >= 5);
  for (const { file, manifest } of manifests) assert.equal(violations(manifest), undefined, file);
});

test('the schemas refuse what the API server refuses, and misspellings', () => {
  const [daemonSet] = ofKind('DaemonSet');
  const changes: ((copy: Manifest) => void)[] = [
    (copy) => delete copy.spec.selector,
    (copy) => (copy.spec.template.spec.containers[0].volumeMount = []),
    (copy) => delete copy.spec.template.spec.containers[0].name,
    (copy) => (copy.spec.template.spec.volumes[0].emptyDir = {}),
    (copy) => (copy.metadata.name = 'Turn_out'),
    (copy) => (copy.apiVersion = 'v1'),
  ];
  for (const change of changes) {
    const copy = structuredClone(daemonSet);
    change(copy);
    assert.notEqual(violations(copy), undefined, String(change));
  }
});

test('the networks are configurations that the plugin understands, each under its own name', () => {
  const networks = ofKind('NetworkAttachmentDefinition');
  assert.ok(networks.length > 0);
  for (const { metadata, spec } of networks) {
    const config = parseConfig(JSON.parse(spec.config), { args: new Map() });
    assert.equal(config.name, metadata.name);
    assert.ok(existsSync(join(root, 'compat/cni', JSON.parse(spec.config).type)));
  }
});

test('what the manifests name is there', () => {
  const specs = [
    ...ofKind('Pod').map(({ spec }) => spec),
    ...ofKind('DaemonSet').map(({ spec }) => spec.template.spec),
  ];
  for (const spec of specs) {
    const volumes = spec.volumes.map(({ name }: Manifest) => name);
    const containers = [...spec.containers, ...(spec.initContainers ?? [])];
    const mounts = containers.flatMap((one: Manifest) => one.volumeMounts ?? []).map(({ name }: Manifest) => name);
    assert.deepEqual([...new Set(mounts)].sort(), volumes.sort());
  }
  for (const { spec } of ofKind('DaemonSet'))
    assert.deepEqual(spec.selector.matchLabels, spec.template.metadata.labels);
  const networks = ofKind('NetworkAttachmentDefinition').map(({ metadata }) => metadata.name);
  for (const { metadata } of ofKind('Pod')) {
    assert.ok(networks.includes(metadata.annotations['k8s.v1.cni.cncf.io/networks']));
  }
  // The pod finds its socket under the path that it has on the host.
  const dpdk = JSON.parse(
    ofKind('NetworkAttachmentDefinition').find(({ metadata }) => metadata.name === 'turnout-dpdk').spec.config,
  );
  const [pod] = ofKind('Pod');
  const sockets = pod.spec.volumes.find(({ name }: Manifest) => name === 'sockets');
  const mount = pod.spec.containers[0].volumeMounts.find(({ name }: Manifest) => name === 'sockets');
  assert.deepEqual([sockets.hostPath.path, mount.mountPath], [dpdk.sharedDir, dpdk.sharedDir]);
});

test('the plugin is installed on a node, and again over an older one', async (t) => {
  const [{ spec }] = ofKind('DaemonSet');
  const [, , script] = spec.template.spec.initContainers[0].command;
  const folder = mkdtempSync(join(tmpdir(), 'turnout-node-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const image = join(folder, 'image');
  mkdirSync(join(image, 'compat/cni'), { recursive: true });
  mkdirSync(join(folder, 'host/opt/cni/bin'), { recursive: true });
  writeFileSync(join(image, 'compat/cni/turnout'), 'one');
  writeFileSync(join(folder, 'host/opt/cni/bin/ovs'), 'another plugin');
  const here = script.replaceAll('/host/', `${folder}/host/`).replaceAll('cp -a /opt/turnout', `cp -a ${image}`);
  execFileSync('sh', ['-ec', here]);
  writeFileSync(join(image, 'compat/cni/turnout'), 'two');
  execFileSync('sh', ['-ec', here]);
  assert.equal(readFileSync(join(folder, 'host/opt/turnout/compat/cni/turnout'), 'utf8'), 'two');
  assert.equal(readlinkSync(join(folder, 'host/opt/cni/bin/turnout')), '/opt/turnout/compat/cni/turnout');
  assert.equal(readFileSync(join(folder, 'host/opt/cni/bin/ovs'), 'utf8'), 'another plugin');
  assert.deepEqual(readdirSync(join(folder, 'host/opt')).sort(), ['cni', 'turnout']);
});
