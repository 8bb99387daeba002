import { dpifContract } from '../../test/contract/dpif.ts';
import { DummyDpif } from './dummy.ts';

dpifContract('dummy datapath', {
  make: (maxFlows) => Object.assign(new DummyDpif(() => performance.now()), { maxFlows }),
});
