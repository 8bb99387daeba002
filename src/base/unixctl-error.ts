/** Thrown by a control command's handler: the text becomes an error reply. */
export class UnixctlError extends Error {
  override name = 'UnixctlError';
}
