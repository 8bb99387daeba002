import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { dirname, join, resolve } from 'node:path';
import { CNI_INVALID_CONFIG, CNI_IO_FAILURE, CNI_TRY_AGAIN_LATER, CniError } from './error.ts';
import { isRecord, type JsonRecord } from './json.ts';
import { parseYaml } from './yaml.ts';

/** The Kubernetes API as userspace-cni uses it: a pod's volumes tell where its sockets are to be, and its annotations tell the pod. */

const TIMEOUT_MS = 30_000;
const KUBELET_PODS = '/var/lib/kubelet/pods';
/** The volume's name, and the annotations (userspace-cni's). */
const SHARED_VOLUME = 'shared-dir';
const CONFIGURATION_DATA = 'userspace/configuration-data';
const MAPPED_DIR = 'userspace/mapped-dir';

interface Access {
  readonly server: URL;
  readonly ca?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  readonly token?: string | undefined;
  readonly rejectUnauthorized: boolean;
}

const broken = (file: string, why: string) => new CniError(CNI_INVALID_CONFIG, `kubeconfig ${file}: ${why}`);

/** Reads a kubeconfig's current context. Throws CniError. */
export function readKubeconfig(file: string): Access {
  let root: unknown;
  try {
    [root] = parseYaml(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CniError(CNI_IO_FAILURE, `cannot read kubeconfig ${file}`, (error as Error).message);
  }
  if (!isRecord(root)) throw broken(file, 'it is empty');
  const context = named(root.contexts, root['current-context'], 'context') ?? {};
  const cluster = named(root.clusters, context.cluster, 'cluster');
  const user = named(root.users, context.user, 'user') ?? {};
  if (typeof cluster?.server !== 'string' || !URL.canParse(cluster.server))
    throw broken(file, 'no cluster with a server');
  const material = (from: JsonRecord, name: string) => dataOrFile(file, from, name);
  const tokenFile = user.tokenFile;
  return {
    server: new URL(cluster.server),
    ca: material(cluster, 'certificate-authority'),
    cert: material(user, 'client-certificate'),
    key: material(user, 'client-key'),
    token: typeof tokenFile === 'string' ? readFileSync(tokenFile, 'utf8').trim() : textOf(user.token),
    rejectUnauthorized: cluster['insecure-skip-tls-verify'] !== true,
  };
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** The entry of that name; without a name the only one. */
function named(list: unknown, name: unknown, what: string): JsonRecord | undefined {
  const all = Array.isArray(list) ? list.filter(isRecord) : [];
  const found = name === undefined && all.length === 1 ? all[0] : all.find((one) => one.name === name);
  const value = found?.[what];
  return isRecord(value) ? value : undefined;
}

function dataOrFile(config: string, from: JsonRecord, name: string): Buffer | undefined {
  const [data, file] = [textOf(from[`${name}-data`]), textOf(from[name])];
  if (data !== undefined) return Buffer.from(data, 'base64');
  return file === undefined ? undefined : readFileSync(resolve(dirname(config), file));
}

/** One pod. */
export class KubernetesPod {
  readonly #access: Access;
  readonly #path: string;
  readonly #pod: JsonRecord;

  private constructor(access: Access, path: string, pod: JsonRecord) {
    this.#access = access;
    this.#path = path;
    this.#pod = pod;
  }

  /** `name` is NAMESPACE/NAME. */
  static async find(kubeconfig: string, name: string): Promise<KubernetesPod> {
    const access = readKubeconfig(kubeconfig);
    const path = `/api/v1/namespaces/${name.split('/').map(encodeURIComponent).join('/pods/')}`;
    return new KubernetesPod(access, path, await call(access, 'GET', path));
  }

  #list(record: unknown, name: string): JsonRecord[] {
    const value = isRecord(record) ? record[name] : undefined;
    return Array.isArray(value) ? value.filter(isRecord) : [];
  }

  /** The host's folder behind the volume `shared-dir`, or undefined when the pod has none. */
  sharedFolder(): string | undefined {
    const volume = this.#list(this.#pod.spec, 'volumes').find(({ name }) => name === SHARED_VOLUME);
    if (isRecord(volume?.hostPath)) return textOf(volume.hostPath.path);
    if (!isRecord(volume?.emptyDir)) return undefined;
    const uid = isRecord(this.#pod.metadata) ? textOf(this.#pod.metadata.uid) : undefined;
    return uid === undefined ? undefined : join(KUBELET_PODS, uid, 'volumes/kubernetes.io~empty-dir', SHARED_VOLUME);
  }

  /** Where its containers see that folder. */
  mappedFolder(): string | undefined {
    const mounts = this.#list(this.#pod.spec, 'containers').flatMap((one) => this.#list(one, 'volumeMounts'));
    return textOf(mounts.find(({ name }) => name === SHARED_VOLUME)?.mountPath);
  }

  /** Adds to what the pod is told; it may have several interfaces. */
  async tell(data: object): Promise<void> {
    const present = (await call(this.#access, 'GET', this.#path)).metadata;
    const annotations = isRecord(present) && isRecord(present.annotations) ? present.annotations : {};
    const all = [...toldBefore(annotations[CONFIGURATION_DATA]), data];
    await this.#annotate({
      [CONFIGURATION_DATA]: JSON.stringify(all, undefined, 4),
      [MAPPED_DIR]: this.mappedFolder(),
    });
  }

  async #annotate(annotations: { [name: string]: string | undefined }): Promise<void> {
    await call(this.#access, 'PATCH', this.#path, { metadata: { annotations } });
  }
}

function toldBefore(text: unknown): unknown[] {
  if (typeof text !== 'string') return [];
  try {
    const json: unknown = JSON.parse(text);
    return Array.isArray(json) ? json : [];
  } catch {
    return [];
  }
}

async function call(access: Access, method: string, path: string, body?: object): Promise<JsonRecord> {
  const { server, token, ...tls } = access;
  const { promise, resolve: succeed, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const send = server.protocol === 'https:' ? httpsRequest : httpRequest;
  const headers = {
    accept: 'application/json',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { 'content-type': 'application/merge-patch+json' }),
  };
  const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
  const sent = send(url, { method, headers, ...tls, agent: false, timeout: TIMEOUT_MS }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => succeed({ status: response.statusCode ?? 0, text }));
    response.on('error', reject);
  });
  sent.on('timeout', () => sent.destroy(new Error('no answer')));
  sent.on('error', reject);
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  try {
    const { status, text } = await promise;
    const json: unknown = JSON.parse(text);
    if (status !== 200 || !isRecord(json)) throw new Error(`it answers ${status}: ${text.slice(0, 500)}`);
    return json;
  } catch (error) {
    throw new CniError(CNI_TRY_AGAIN_LATER, `the Kubernetes API at ${server.origin} fails`, (error as Error).message);
  }
}
