/**
 * Which folder may import which: the arrows of docs/architecture.md as dependency-cruiser rules. A folder may import what stands in its
 * row and itself, and nothing else of this repository. bin/ and compat/ are composition roots and may import everything; so may tests.
 */
import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser';

/** Below everything: generated layouts and the declarations they come from. */
const GEN = ['src/gen', 'protocols'];
const BASE = ['src/base', ...GEN];
/** Protocols and flows know each other but nothing above. */
const FLOW = ['src/flow', 'src/openflow', 'src/wire', ...BASE];
/** The interfaces that providers implement. */
const INTERFACES = [
  'src/dpif/dpif.ts',
  // The words of the datapath's interface, and their text.
  'src/dpif/odp-action-parse.ts',
  'src/dpif/odp-action-text.ts',
  'src/dpif/odp-keys.ts',
  'src/dpif/odp-parse.ts',
  'src/dpif/odp-text.ts',
  'src/dpif/odp-tunnel-text.ts',
  'src/dpif/tunnel-geneve.ts',
  'src/dpif/dpctl.ts',
  'src/netdev/netdev.ts',
  'src/netdev/tunnel-config.ts',
  'src/offload/offload.ts',
  ...FLOW,
];
/** What the datapaths have in common. */
const DATAPATH = [
  'src/dpif/bonds.ts',
  'src/dpif/dp-config-log.ts',
  'src/dpif/dp-log.ts',
  'src/dpif/drop-names.ts',
  'src/dpif/dummy/flow-table.ts',
  'src/dpif/features.ts',
  'src/dpif/meters.ts',
  'src/dpif/odp-execute.ts',
  'src/dpif/packet-key.ts',
  'src/dpif/pmd-auto-lb.ts',
  'src/dpif/rxq-loads.ts',
  'src/dpif/rxq-schedule.ts',
  ...INTERFACES,
];
const OFPROTO = ['src/ofproto', ...INTERFACES];
const CONTROL = ['src/vswitchd', 'src/ovsdb', ...OFPROTO];

/** Folder (or file) → what it may import. The longest row that fits a file counts. */
export const ARROWS: Record<string, string[]> = {
  protocols: [],
  'src/gen': [],
  'src/base': GEN,
  'src/wire': FLOW,
  'src/flow': FLOW,
  'src/openflow': FLOW,
  'src/sys': BASE,
  'src/ovsdb': BASE,
  'src/wasmgen': FLOW,
  'src/fastpath': GEN,
  'src/dpif/dpif.ts': INTERFACES,
  'src/netdev/netdev.ts': INTERFACES,
  'src/netdev/tunnel-config.ts': INTERFACES,
  'src/offload/offload.ts': INTERFACES,
  'src/dpif/userspace': ['src/fastpath', 'src/wasmgen', 'src/sys', ...DATAPATH],
  'src/dpif': INTERFACES,
  'src/netdev': ['src/sys', 'src/keeper', ...INTERFACES],
  'src/offload': ['src/sys', ...INTERFACES],
  'src/keeper': ['src/sys', ...BASE],
  'src/virtio-user': ['src/sys', ...FLOW],
  'src/ofproto': OFPROTO,
  'src/vswitchd': CONTROL,
  'src/cli': [
    'src/virtio-user',
    'src/sys',
    'bench',
    'src/dpif/dpctl-devices.ts',
    'src/dpif/rxq-schedule.ts',
    'src/netdev/ovs-router.ts',
    'src/netdev/tnl-neigh-cache.ts',
    ...CONTROL,
  ],
};

/** Where the providers are put together; beside bin/ and compat/ these may import everything. */
const COMPOSITION_ROOTS = ['src/cli/datapath.ts', 'src/cli/switch-deps.ts', 'src/cli/dummy-commands.ts'];

/** What the rules speak about; npm packages and Node's own modules are not in it. */
const OURS = '^(src|protocols|tools|test|bench|fuzz|bin|compat)/';
const TESTS = '(\\.test\\.ts$|/testing/|^test/|^fuzz/)';

const pathOf = (place: string) => (place.endsWith('.ts') ? `^${quote(place)}$` : `^${quote(place)}/`);
const quote = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** One rule a row: everything of ours that is not in the row is forbidden. */
function arrowRule(folder: string, mayImport: string[]): IForbiddenRuleType {
  const longer = Object.keys(ARROWS).filter((other) => other !== folder && other.startsWith(`${folder}/`));
  return {
    name: `arrow ${folder}`,
    severity: 'error',
    from: { path: pathOf(folder), pathNot: [TESTS, ...[...longer, ...COMPOSITION_ROOTS].map(pathOf)] },
    to: { path: OURS, pathNot: [folder, ...mayImport].map(pathOf) },
  };
}

export function arrowRules(): IForbiddenRuleType[] {
  return [
    ...Object.entries(ARROWS).map(([folder, mayImport]) => arrowRule(folder, mayImport)),
    { name: 'no cycles', severity: 'error', from: { pathNot: TESTS }, to: { circular: true } },
    {
      name: 'koffi behind src/sys alone',
      severity: 'error',
      from: { pathNot: '^src/sys/' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'no test code in the program',
      severity: 'error',
      from: { path: '^(src|bin|compat|protocols)/', pathNot: TESTS },
      to: { path: TESTS },
    },
    { name: 'every import resolves', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ];
}

export interface ArrowReport {
  nModules: number;
  /** One line a forbidden import: rule, importer, imported. */
  violations: string[];
}

/** Reads all imports below `root` (type imports too) and judges them. `root` holds folders of the names above. */
export async function checkArrows(root: string, folders: string[]): Promise<ArrowReport> {
  const { output } = await cruise(folders, {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden: arrowRules() },
    tsPreCompilationDeps: true,
    parser: 'tsc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(src/fastpath|src/virtio-user/kernel|build)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  });
  const { summary } = output as ICruiseResult;
  const violations = summary.violations.map(
    (v) => `${v.rule.name}: ${v.from} → ${v.cycle?.map((c) => c.name).join(' → ') ?? v.to}`,
  );
  return { nModules: summary.totalCruised, violations };
}
