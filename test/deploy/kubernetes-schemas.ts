/**
 * JSON schemas of the kinds of deploy/kubernetes, after the Kubernetes API reference (v1.31: Pod v1, DaemonSet apps/v1, Namespace v1) and
 * the CRD of NetworkAttachmentDefinition v1. Stricter than the API server: a field that is not named here is refused, as a misspelling.
 */

type Schema = { readonly [key: string]: unknown };

const text: Schema = { type: 'string', minLength: 1 };
const texts: Schema = { type: 'array', items: { type: 'string' }, minItems: 1 };
const flag: Schema = { type: 'boolean' };
const count: Schema = { type: 'integer', minimum: 0 };
/** RFC 1123 label. */
const label: Schema = { type: 'string', pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' };
const quantity: Schema = { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)?(m|[KMGTPE]i?|k)?$' };
const stringMap: Schema = { type: 'object', additionalProperties: { type: 'string' } };
const oneOf = (...values: string[]): Schema => ({ enum: values });
const listOf = (items: Schema): Schema => ({ type: 'array', items, minItems: 1 });

const object = (required: string[], properties: { [name: string]: Schema }): Schema => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
});

const metadata = object(['name'], { name: label, namespace: label, labels: stringMap, annotations: stringMap });
const quantities: Schema = { type: 'object', additionalProperties: quantity };

const probe = object(['exec'], {
  exec: object(['command'], { command: texts }),
  initialDelaySeconds: count,
  periodSeconds: count,
  timeoutSeconds: count,
});

const container = object(['name', 'image'], {
  name: label,
  image: text,
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
  command: texts,
  args: texts,
  env: listOf(object(['name', 'value'], { name: text, value: { type: 'string' } })),
  securityContext: object([], { privileged: flag, capabilities: object([], { add: texts, drop: texts }) }),
  resources: object([], { requests: quantities, limits: quantities }),
  readinessProbe: probe,
  livenessProbe: probe,
  volumeMounts: listOf(
    object(['name', 'mountPath'], {
      name: label,
      mountPath: { type: 'string', pattern: '^/[^:]*$' },
      readOnly: flag,
      mountPropagation: oneOf('None', 'HostToContainer', 'Bidirectional'),
    }),
  ),
});

const hostPathType = oneOf(
  '',
  'DirectoryOrCreate',
  'Directory',
  'FileOrCreate',
  'File',
  'Socket',
  'CharDevice',
  'BlockDevice',
);

const volume: Schema = {
  ...object(['name'], {
    name: label,
    hostPath: object(['path'], { path: { type: 'string', pattern: '^/' }, type: hostPathType }),
    emptyDir: object([], {
      medium: { type: 'string', pattern: '^(|Memory|HugePages(-[0-9]+[KMG]i)?)$' },
      sizeLimit: quantity,
    }),
    downwardAPI: object(['items'], {
      items: listOf(object(['path', 'fieldRef'], { path: text, fieldRef: object(['fieldPath'], { fieldPath: text }) })),
    }),
  }),
  // A name and one source.
  minProperties: 2,
  maxProperties: 2,
};

const toleration = object([], {
  key: text,
  operator: oneOf('Exists', 'Equal'),
  value: { type: 'string' },
  effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
});

const podSpec = object(['containers'], {
  containers: listOf(container),
  initContainers: listOf(container),
  volumes: listOf(volume),
  restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
  hostNetwork: flag,
  hostPID: flag,
  priorityClassName: text,
  nodeSelector: stringMap,
  serviceAccountName: label,
  tolerations: listOf(toleration),
});

const daemonSetSpec = object(['selector', 'template'], {
  selector: object(['matchLabels'], { matchLabels: stringMap }),
  updateStrategy: object([], {
    type: oneOf('RollingUpdate', 'OnDelete'),
    rollingUpdate: object([], { maxUnavailable: { anyOf: [count, { type: 'string', pattern: '^[0-9]+%$' }] } }),
  }),
  template: object(['metadata', 'spec'], {
    metadata: object(['labels'], { labels: stringMap, annotations: stringMap }),
    spec: podSpec,
  }),
});

const kind = (apiVersion: string, name: string, rest: { [name: string]: Schema }): Schema =>
  object(['apiVersion', 'kind', 'metadata', ...Object.keys(rest)], {
    apiVersion: { const: apiVersion },
    kind: { const: name },
    metadata,
    ...rest,
  });

/** By kind. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Namespace: kind('v1', 'Namespace', {}),
  Pod: kind('v1', 'Pod', { spec: podSpec }),
  DaemonSet: kind('apps/v1', 'DaemonSet', { spec: daemonSetSpec }),
  NetworkAttachmentDefinition: kind('k8s.cni.cncf.io/v1', 'NetworkAttachmentDefinition', {
    spec: object(['config'], { config: text }),
  }),
};
