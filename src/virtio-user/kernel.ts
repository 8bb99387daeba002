/** Loads the driver's WebAssembly module; the calls are described in kernel/main.ts. One instance serves one thread. */
import { readFileSync } from 'node:fs';

export interface Kernel {
  poolInit(base: number, count: number, stack: number, meta: number): void;
  queueInit(port: number, tx: 0 | 1, size: number, desc: number, avail: number, used: number, arrays: number): void;
  portStart(port: number): void;
  portStop(port: number): void;
  rxInterrupts(port: number, on: 0 | 1): number;
  forward(mode: number, nStreams: number, burst: number, passes: number): number;
  generate(nPorts: number, burst: number, passes: number): number;
  txPending(port: number): number;
  poolFree(): number;
}

const file = new URL('../../build/virtio-user.wasm', import.meta.url);

export function loadKernel(memory: WebAssembly.Memory): Kernel {
  const module = new WebAssembly.Module(readFileSync(file));
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernel;
}
