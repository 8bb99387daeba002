/** The worker thread of an lcore. Its parent posts LcoreCommands and then sets INTERRUPT; see traffic-engine.ts. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Lcore, type LcoreCommand, type LcoreConfig } from './lcore.ts';

const { config, controlFd } = workerData as { config: LcoreConfig; controlFd: number };
const port = parentPort!;
const lcore = new Lcore(config, controlFd, (event) => port.postMessage(event));
port.postMessage({ kind: 'ready', memory: lcore.driver.mem.memory });

do {
  if (!lcore.takeInterrupt()) continue;
  for (let m = receiveMessageOnPort(port); m; m = receiveMessageOnPort(port)) lcore.command(m.message as LcoreCommand);
} while (lcore.turn());
lcore.close();
