/** The `--vdev net_virtio_user0,path=…` argument, in DPDK's syntax. */
import { parseMac } from './address.ts';

export interface VdevConfig {
  /** `net_virtio_user0`. */
  name: string;
  /** Socket of the switch, or where to listen for it. */
  path: string;
  mac?: Uint8Array;
  /** Descriptors a ring; a power of two, 1 to 32768. */
  queueSize?: number;
  /** True: this side listens and the switch connects (`dpdkvhostuserclient`). */
  server: boolean;
}

/** DPDK parameters that have no meaning here, or whose only supported value is the default; they are read over. */
const IGNORED = new Set(['queues', 'cq', 'mrg_rxbuf', 'in_order', 'packed_vq', 'vectorized', 'speed', 'iface']);

function parseQueueSize(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 32768 || (n & (n - 1)) !== 0) {
    throw new Error(`queue_size=${text}: not a power of two from 1 to 32768`);
  }
  return n;
}

function parseBit(key: string, text: string): boolean {
  if (text !== '0' && text !== '1') throw new Error(`${key}=${text}: not 0 or 1`);
  return text === '1';
}

/** Parses one vdev argument. Throws an Error that names the part that is wrong. */
export function parseVdev(text: string): VdevConfig {
  const [name, ...params] = text.split(',');
  if (!/^(net_|eth_)?virtio_user\d*$/.test(name!)) throw new Error(`--vdev ${name}: only net_virtio_user<n> is known`);
  const vdev: VdevConfig = { name: name!, path: '', server: false };
  for (const param of params) {
    const at = param.indexOf('=');
    const key = at < 0 ? param : param.slice(0, at);
    const value = at < 0 ? '' : param.slice(at + 1);
    if (key === 'path') vdev.path = value;
    else if (key === 'mac') vdev.mac = parseMac(value);
    else if (key === 'queue_size') vdev.queueSize = parseQueueSize(value);
    else if (key === 'server') vdev.server = parseBit(key, value);
    else if (key === 'packed_vq' && parseBit(key, value)) throw new Error('packed_vq=1 is not supported');
    else if (key === 'queues' && value !== '1') throw new Error('queues: only 1 is supported');
    else if (!IGNORED.has(key)) throw new Error(`--vdev ${name}: unknown parameter ${key}`);
  }
  if (vdev.path === '') throw new Error(`--vdev ${name}: path is missing`);
  return vdev;
}
