import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseYaml, type Yaml } from './yaml.ts';

test('a kubeconfig', () => {
  const text = `
# written by multus
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: https://[10.96.0.1]:443   # the service
    certificate-authority-data: TFM0dExTMUNSVWRKVGc9PQ==
users:
  - name: multus
    user:
      token: "eyJ: # x"
contexts: [{"name": "c", "context": {"cluster": "local"}}]
current-context: 'it''s'
preferences: {}
empty:
`;
  assert.deepEqual(parseYaml(text), [
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'local',
          cluster: { server: 'https://[10.96.0.1]:443', 'certificate-authority-data': 'TFM0dExTMUNSVWRKVGc9PQ==' },
        },
      ],
      users: [{ name: 'multus', user: { token: 'eyJ: # x' } }],
      contexts: [{ name: 'c', context: { cluster: 'local' } }],
      'current-context': "it's",
      preferences: {},
      empty: null,
    },
  ]);
});

test('documents, literal blocks and scalars', () => {
  const text =
    'a: |\n  {\n    "b": 1\n\n  }\nc: -3\nd: 1.5\ne: 010\nf: [x, 2]\n---\n- - 1\n  - true\n-\n  x: ~\n---\n# none\n';
  assert.deepEqual(parseYaml(text), [
    { a: '{\n  "b": 1\n\n}\n', c: -3, d: 1.5, e: '010', f: ['x', 2] },
    [[1, true], { x: null }],
  ]);
  assert.deepEqual(parseYaml('a:\n  - |-\n    x # no comment\n    y\n  - z\n'), [{ a: ['x # no comment\ny', 'z'] }]);
});

test('what is not read is refused', () => {
  const refused = [
    'a: &x 1',
    'a: *x',
    'a: !!str 1',
    'a: 1\na: 2',
    'a: 1\n   b: 2',
    'a: {b: c}',
    'a: "x',
    '\ta: 1',
    'a: b: c',
  ];
  for (const text of refused) assert.throws(() => parseYaml(text), { name: 'YamlError' }, text);
  assert.throws(() => parseYaml(`${'- '.repeat(101)}x`), /nested too deep/);
});

/** Written as programs write YAML: everything quoted, blocks nested by two. */
function write(value: Yaml, indent: string): string {
  if (Array.isArray(value)) return value.map((one) => `${indent}-${child(one, indent)}`).join('');
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([key, one]) => `${indent}${JSON.stringify(key)}:${child(one, indent)}`)
      .join('');
  }
  return `${indent}${JSON.stringify(value)}\n`;
}

function child(value: Yaml, indent: string): string {
  const isEmpty = typeof value !== 'object' || value === null || Object.keys(value).length === 0;
  return isEmpty ? ` ${JSON.stringify(value)}\n` : `\n${write(value, `${indent}  `)}`;
}

/** A whole number of more digits than a JavaScript number keeps is read as its text. */
const keepDigits = (_: string, value: Yaml): Yaml =>
  typeof value === 'number' && /^-?\d+$/.test(JSON.stringify(value)) && !Number.isSafeInteger(value)
    ? JSON.stringify(value)
    : value;

test('property: what is written is read', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (json) => {
      const written = JSON.parse(JSON.stringify(json)) as Yaml;
      const value = JSON.parse(JSON.stringify(json), keepDigits) as Yaml;
      const isEmpty = typeof written !== 'object' || written === null || Object.keys(written).length === 0;
      const text = isEmpty ? `${JSON.stringify(written)}\n` : write(written, '');
      assert.deepEqual(JSON.parse(JSON.stringify(parseYaml(text))), [value], text);
    }),
    { examples: [[[[9007199254740992]]]] },
  );
});

test('property: no text hangs or breaks the reader', () => {
  const piece = fc.constantFrom('a', ':', ' ', '  ', '\n', '- ', '|', '"', "'", '#', '[', '{', '---\n', 'x: y\n', '\\');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      try {
        parseYaml(pieces.join(''));
      } catch (error) {
        assert.equal((error as Error).name, 'YamlError');
      }
    }),
    { numRuns: 2000 },
  );
});
