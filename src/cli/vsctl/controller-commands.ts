import { atoi, lines } from './bridge-commands.ts';
import { bridgeRow, fetchBridges } from './cache.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { UNLIMITED_ARGS } from './command.ts';
import type { Model, Row } from './model.ts';

/** Controllers, managers and the SSL configuration (ovs-vsctl(8)). */

function verifyTargets(row: Row, column: string): void {
  row.verify(column);
  for (const target of row.refs(column)) target.verify('target');
}

const targets = (row: Row, column: string): string[] => row.refs(column).map((target) => target.string('target'));

/** New rows of `table`, with `--inactivity-probe` as asked for. */
function insertTargets(ctx: CtlContext, table: string, words: readonly string[]): Row[] {
  const probe = ctx.options.get('--inactivity-probe');
  return words.map((word) => {
    if (!/^p?(tcp|ssl|unix):/.test(word)) ctx.warn(`target type "${word}" is possibly erroneous`);
    const row = ctx.db.table(table).insert();
    row.set('target', word);
    if (probe !== undefined) row.set('inactivity_probe', atoi(probe));
    return row;
  });
}

function prepareControllers({ db }: { db: Model }): void {
  fetchBridges(db);
  db.fetch('Controller', 'target', 'inactivity_probe');
}

function getController(ctx: CtlContext): string {
  const row = bridgeRow(ctx.cache.populate().bridge(ctx.argv[1]!));
  verifyTargets(row, 'controller');
  return lines(targets(row, 'controller'));
}

function deleteController(ctx: CtlContext): undefined {
  const row = ctx.cache.populate().realBridge(ctx.argv[1]!);
  verifyTargets(row, 'controller');
  const controllers = row.refs('controller');
  if (controllers.length === 0) return;
  for (const controller of controllers) controller.delete();
  row.setRefs('controller', []);
}

function setController(ctx: CtlContext): undefined {
  const row = ctx.cache.populate().realBridge(ctx.argv[1]!);
  verifyTargets(row, 'controller');
  for (const controller of row.refs('controller')) controller.delete();
  row.setRefs('controller', insertTargets(ctx, 'Controller', ctx.argv.slice(2)));
}

function prepareManagers({ db }: { db: Model }): void {
  db.fetch('Open_vSwitch', 'manager_options');
  db.fetch('Manager', 'target', 'inactivity_probe');
}

function getManager({ ovs }: CtlContext): string {
  verifyTargets(ovs, 'manager_options');
  return lines(new Set(targets(ovs, 'manager_options')));
}

function deleteManager({ ovs }: CtlContext): undefined {
  verifyTargets(ovs, 'manager_options');
  for (const manager of ovs.refs('manager_options')) manager.delete();
  ovs.setRefs('manager_options', []);
}

function setManager(ctx: CtlContext): undefined {
  deleteManager(ctx);
  ctx.ovs.setRefs('manager_options', insertTargets(ctx, 'Manager', ctx.argv.slice(1)));
}

const prepareSsl = ({ db }: { db: Model }): void => db.fetch('Open_vSwitch', 'ssl');

const SSL_COLUMNS = {
  private_key: 'Private key',
  certificate: 'Certificate',
  ca_cert: 'CA Certificate',
  bootstrap_ca_cert: 'Bootstrap',
} as const;

function prepareGetSsl({ db }: { db: Model }): void {
  prepareSsl({ db });
  db.fetch('SSL', ...Object.keys(SSL_COLUMNS));
}

function getSsl({ ovs }: CtlContext): string {
  ovs.verify('ssl');
  const [ssl] = ovs.refs('ssl');
  if (!ssl) return '';
  for (const column of Object.keys(SSL_COLUMNS)) ssl.verify(column);
  return Object.entries(SSL_COLUMNS)
    .map(([column, label]) => `${label}: ${ssl.scalar(column)}\n`)
    .join('');
}

function deleteSsl({ ovs }: CtlContext): undefined {
  const [ssl] = ovs.refs('ssl');
  if (!ssl) return;
  ovs.verify('ssl');
  ssl.delete();
  ovs.setRefs('ssl', []);
}

function setSsl({ ovs, db, argv, options }: CtlContext): undefined {
  ovs.verify('ssl');
  ovs.refs('ssl')[0]?.delete();
  const ssl = db.table('SSL').insert();
  const [, privateKey, certificate, caCert] = argv as [string, string, string, string];
  ssl.set('private_key', privateKey);
  ssl.set('certificate', certificate);
  ssl.set('ca_cert', caCert);
  ssl.set('bootstrap_ca_cert', options.has('--bootstrap'));
  ovs.setRefs('ssl', [ssl]);
}

const none = { minArgs: 0, maxArgs: 0, args: '', options: '' };

export const CONTROLLER_COMMANDS: readonly CtlCommand[] = [
  {
    name: 'get-controller',
    minArgs: 1,
    maxArgs: 1,
    args: 'BRIDGE',
    options: '',
    writes: false,
    prepare: prepareControllers,
    run: getController,
  },
  {
    name: 'del-controller',
    minArgs: 1,
    maxArgs: 1,
    args: 'BRIDGE',
    options: '',
    writes: true,
    prepare: prepareControllers,
    run: deleteController,
  },
  {
    name: 'set-controller',
    minArgs: 1,
    maxArgs: UNLIMITED_ARGS,
    args: 'BRIDGE TARGET...',
    options: '--inactivity-probe=',
    writes: true,
    prepare: prepareControllers,
    run: setController,
  },
  { ...none, name: 'get-manager', writes: false, prepare: prepareManagers, run: getManager },
  { ...none, name: 'del-manager', writes: true, prepare: prepareManagers, run: deleteManager },
  {
    name: 'set-manager',
    minArgs: 1,
    maxArgs: UNLIMITED_ARGS,
    args: 'TARGET...',
    options: '--inactivity-probe=',
    writes: true,
    prepare: prepareManagers,
    run: setManager,
  },
  { ...none, name: 'get-ssl', writes: false, prepare: prepareGetSsl, run: getSsl },
  { ...none, name: 'del-ssl', writes: true, prepare: prepareSsl, run: deleteSsl },
  {
    name: 'set-ssl',
    minArgs: 3,
    maxArgs: 3,
    args: 'PRIVATE-KEY CERTIFICATE CA-CERT',
    options: '--bootstrap',
    writes: true,
    prepare: prepareSsl,
    run: setSsl,
  },
];
