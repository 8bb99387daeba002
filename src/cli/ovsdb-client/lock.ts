import { UnixctlServer } from '../../base/unixctl.ts';
import { vlogModule } from '../../base/vlog.ts';
import type { Json } from '../../ovsdb/json.ts';
import { toText } from '../../ovsdb/json.ts';
import { RpcClient, RpcClosed } from '../../ovsdb/rpc-client.ts';
import type { ClientCall, OpenedSession } from './session.ts';
import { ClientError, checkResults, defaultRemote, jsonText } from './session.ts';

/** `lock`, `steal`, `unlock` and `wait`. */

type LockMethod = 'lock' | 'steal' | 'unlock';

/** Asks for the lock, then shows what is told of it until it is told to exit or the connection ends, which is an error. */
export function lockCommand(method: LockMethod): (opened: OpenedSession) => Promise<void> {
  return async ({ session, args: [name] }) => {
    const { rpc, settings, server } = session;
    const exit = Promise.withResolvers<void>();
    const say = (line: string) => process.stdout.write(`${line}\n`);
    // One request at a time.
    let last: Promise<void> = Promise.resolve();
    const ask = (wanted: LockMethod, lock: string) => {
      last = last.then(
        () =>
          new Promise((resolve) => {
            const take = (result: Json) => {
              say(jsonText(result, settings));
              settings.daemon.complete(true);
              resolve();
            };
            rpc.call(wanted, [lock], {
              resolve: (answer) => take('result' in answer ? answer.result : answer.error),
              reject: () => {},
            });
          }),
      );
    };
    rpc.onMessage = (message) => {
      if (message.kind === 'notification') say(`${message.method}\n${jsonText(message.params, settings)}`);
    };
    const unixctl = settings.daemon.detaching ? await listen(ask, exit.resolve) : undefined;
    ask(method, name!);
    const lost = rpc.closed.then((reason) => {
      throw new ClientError(`${server}: receive failed (${reason ?? 'End of file'})`);
    });
    await Promise.race([exit.promise, lost]);
    unixctl?.close();
  };
}

async function listen(ask: (method: LockMethod, lock: string) => void, exit: () => void): Promise<UnixctlServer> {
  const unixctl = new UnixctlServer(vlogModule('unixctl'));
  for (const method of ['unlock', 'steal', 'lock'] as const) {
    unixctl.register(method, 'LOCK', 1, 1, ([lock]) => {
      ask(method, lock!);
      return '';
    });
  }
  unixctl.register('exit', '', 0, 0, () => {
    setImmediate(exit);
    return '';
  });
  await unixctl.listen();
  return unixctl;
}

const RETRY_MS = 1000;

/** The "wait" operation on `_Server` for a database to come, to go or to be connected. */
function waitOperation(database: string, state: string): Json {
  const condition = { op: 'wait', table: 'Database', where: [['name', '==', database]], until: '==' };
  switch (state) {
    case 'connected':
      return { ...condition, columns: ['connected'], rows: [{ connected: true }] };
    case 'added':
      return { ...condition, columns: [], rows: [{}] };
    case 'removed':
      return { ...condition, columns: [], rows: [] };
    default:
      throw new ClientError(`${state}: unknown state`);
  }
}

/** `[SERVER] DATABASE STATE`. Connects again as often as it takes. */
export async function wait({ args, settings }: ClientCall): Promise<void> {
  const [database, state] = args.slice(-2) as [string, string];
  const operation = waitOperation(database, state);
  const remote = args.length > 2 ? args[0]! : defaultRemote();
  for (;;) {
    try {
      const rpc = await RpcClient.open(remote, settings.tls);
      const aware = await rpc.request('set_db_change_aware', [true]);
      if ('error' in aware) throw new ClientError(`${remote}: set_db_change_aware failed (${toText(aware.error)})`);
      const answer = await rpc.request('transact', ['_Server', operation]);
      checkResults('result' in answer ? answer.result : answer.error);
      rpc.close();
      return;
    } catch (error) {
      if (error instanceof ClientError || !(error instanceof RpcClosed || (error as NodeJS.ErrnoException).code)) {
        throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
