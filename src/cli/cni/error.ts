/** The CNI specification's error codes (1.1.0, section 5), and from 100 on our own. */
export const CNI_INCOMPATIBLE_VERSION = 1;
export const CNI_UNSUPPORTED_FIELD = 2;
export const CNI_UNKNOWN_CONTAINER = 3;
export const CNI_INVALID_ENVIRONMENT = 4;
export const CNI_IO_FAILURE = 5;
export const CNI_DECODING_FAILURE = 6;
export const CNI_INVALID_CONFIG = 7;
export const CNI_TRY_AGAIN_LATER = 11;
export const CNI_NOT_AVAILABLE = 50;
export const CNI_LIMITED_CONNECTIVITY = 51;
/** The switch or its database refuses. */
export const CNI_SWITCH = 100;
/** The kernel refuses. */
export const CNI_KERNEL = 101;
/** A delegated plugin failed without saying how. */
export const CNI_DELEGATE = 102;
/** CHECK found something missing or changed. */
export const CNI_CHECK = 103;
/** The attachment is there already. */
export const CNI_ATTACHED = 104;

/** What becomes an error result. */
export class CniError extends Error {
  override name = 'CniError';
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = '', cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.details = details;
  }
}

export const invalidConfig = (details: string): CniError =>
  new CniError(CNI_INVALID_CONFIG, 'invalid network configuration', details);
