import { decode, encode } from '../../openflow/codec.ts';
import type { BundleControlType, Message } from '../../openflow/messages.ts';
import { BF_ATOMIC, BF_ORDERED } from '../../openflow/messages.ts';
import { ofpToString } from '../../openflow/print/ofp-print.ts';
import { encodeRequest } from './client.ts';
import { err, errMessage, type OfctlContext } from './context.ts';
import { fatalErrno } from './fatal.ts';
import { namesToShow } from './names.ts';
import { type Vconn, VconnError } from './vconn.ts';
import { nextXid, xidOf } from './xid.ts';

/** Bundles: several changes, all of them or none (OpenFlow 1.4, and 1.3 with ONF's extension). */

const FLAGS = BF_ORDERED | BF_ATOMIC;

/** Runs the messages as one bundle. Errors are printed with the messages that they are about, and end the program. */
export async function bundleTransact(c: OfctlContext, vconn: Vconn, requests: readonly Uint8Array[]): Promise<void> {
  const errors: Uint8Array[] = [];
  let failure: string | undefined;
  try {
    failure = await runBundle(vconn, requests, errors);
  } catch (e) {
    if (!(e instanceof VconnError)) throw e;
    failure = e.code;
  }
  await printErrors(c, vconn, errors, requests);
  if (failure !== undefined) throw fatalErrno(failure, `talking to ${vconn.name}`);
}

/** Returns why it failed, as an errno's name. */
async function runBundle(
  vconn: Vconn,
  requests: readonly Uint8Array[],
  errors: Uint8Array[],
): Promise<string | undefined> {
  if (!(await control(vconn, 'open', errors))) return 'EPROTO';
  for (const message of requests) {
    const add: Message = { type: 'bundle_add_message', bundleId: 0, flags: FLAGS, message };
    vconn.send(encode(add, vconn.version, xidOf(message))[0]);
    while (vconn.pending > 0) takeError(await vconn.recv(), errors);
    await vconn.drained();
  }
  // A message that fails is left out of the bundle: nothing may be committed then.
  const barrier = encodeRequest(vconn, { type: 'barrier_request' });
  vconn.send(barrier);
  await vconn.recvXid(xidOf(barrier), errors);
  if (errors.length === 0) return (await control(vconn, 'commit', errors)) ? undefined : 'EPROTO';
  await control(vconn, 'discard', errors);
  return 'EPROTO';
}

function takeError(msg: Uint8Array, errors: Uint8Array[]): void {
  const result = decode(msg);
  if (result.ok && result.value.message.type === 'error') errors.push(msg);
}

/** One step of the bundle; false when it is refused. */
async function control(vconn: Vconn, step: 'open' | 'commit' | 'discard', errors: Uint8Array[]): Promise<boolean> {
  const request: Message = { type: 'bundle_control', bundleId: 0, control: `${step}_request`, flags: FLAGS };
  const bytes = encode(request, vconn.version, nextXid())[0];
  vconn.send(bytes);
  const reply = await vconn.recvXid(xidOf(bytes), errors);
  const result = decode(reply);
  if (!result.ok) return false;
  const { message } = result.value;
  if (message.type === 'error') errors.push(reply);
  const wanted: BundleControlType = `${step}_reply`;
  return message.type === 'bundle_control' && message.bundleId === 0 && message.control === wanted;
}

async function printErrors(
  c: OfctlContext,
  vconn: Vconn,
  errors: readonly Uint8Array[],
  requests: readonly Uint8Array[],
): Promise<void> {
  if (errors.length === 0) return;
  const names = await namesToShow(c, vconn.name);
  let from = 0;
  for (const error of errors) {
    const result = decode(error);
    if (!result.ok || result.value.message.type !== 'error') {
      err('***decode error***');
      continue;
    }
    const { error: what, data } = result.value.message;
    // An error has the beginning of its message alone; here the whole is known. They come in the order of the messages.
    const at = requests.findIndex((r, i) => i >= from && xidOf(r) === xidOf(error));
    if (at >= 0) from = at + 1;
    errMessage(`Error ${what.name} for: ${ofpToString(at >= 0 ? requests[at] : data, c.options.verbosity + 1, names)}`);
  }
}
