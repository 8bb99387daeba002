import { DAEMON_OPTIONS, DAEMON_SHORT_OPTIONS, Daemon } from '../../src/base/daemon.ts';
import { parseOptions } from '../../src/base/getopt.ts';
import { setProgramName } from '../../src/base/program.ts';
import { UnixctlServer } from '../../src/base/unixctl.ts';
import { vlog } from '../../src/base/vlog.ts';
import { lockFile, lockHolder } from '../../src/sys/file-lock.ts';

/** The smallest daemon there is, for tests of what every daemon does. `--fail` makes it die before it is ready, `--crash` by a signal. */
setProgramName('test-daemon');
try {
  const daemon = new Daemon({ lockFile, lockHolder });
  const long = { ...DAEMON_OPTIONS, fail: 'none', crash: 'none' } as const;
  const { options } = parseOptions(process.argv.slice(2), { long, short: DAEMON_SHORT_OPTIONS });
  for (const option of options) daemon.takeOption(option);
  await daemon.detach();
  daemon.start();
  if (options.some((o) => o.name === 'fail')) process.exit(7);
  if (options.some((o) => o.name === 'crash')) process.kill(process.pid, 'SIGKILL');
  const unixctl = new UnixctlServer();
  vlog.registerCommands(unixctl);
  unixctl.register('cwd', '', 0, 0, () => process.cwd());
  unixctl.register('throw', '', 0, 0, () => {
    setTimeout(() => {
      throw new Error('thrown by a test');
    });
    return '';
  });
  unixctl.register('exit', '', 0, 0, () => {
    setTimeout(() => process.exit(0), 10);
    return '';
  });
  await unixctl.listen();
  daemon.onTerminate(() => {});
  daemon.complete();
} catch (e) {
  process.stderr.write(`test-daemon: ${(e as Error).message}\n`);
  process.exit(1);
}
