import { dpifContract } from '../../../test/contract/dpif.ts';
import { createUserspaceDpif } from './dpif-userspace.ts';

dpifContract('userspace datapath', { make: (maxFlows) => createUserspaceDpif({ maxFlows }) });
