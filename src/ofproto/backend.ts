import { registerOfprotoCommands } from './appctl.ts';
import type { CreateOfprotoBackend } from './ofproto.ts';
import { OfprotoBackend } from './ofproto-backend.ts';

/** What a program is put together from. */

export const createOfprotoBackend: CreateOfprotoBackend = (dpif, deps) => new OfprotoBackend(dpif, deps);

export { registerOfprotoCommands };
