import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';

const FRAME = 'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x1234)';

describe('the bridges of a datapath', () => {
  let rig: OfprotoRig;
  beforeEach(async () => {
    rig = new OfprotoRig();
    await rig.bridge('br0', ['p1', 'p2']);
  });
  afterEach(() => rig.close());

  it('forward nothing while flows are being restored', () => {
    rig.backend.setFlowRestoreWait(true);
    rig.receive('p1', FRAME);
    assert.deepEqual(rig.takeSent(), {});
    assert.equal(rig.dpif.flowCount(), 0);
    rig.backend.setFlowRestoreWait(false);
    rig.receive('p1', FRAME);
    assert.deepEqual(rig.takeSent(), { p2: 1 });
  });

  it('lose a port that somebody else takes out of the datapath', async () => {
    const br0 = rig.backend.bridge('br0')!;
    const port = br0.portByName('p1')!;
    await rig.dpif.portDel(port.odpPort!);
    assert.equal(br0.portByName('p1'), undefined);
    assert.deepEqual(
      [...br0.netdevs()].map((n) => n.name),
      ['p2'],
    );
    assert.equal(port.bundle, undefined);
  });

  it('make flows without wildcards on demand', () => {
    rig.appctl('upcall/disable-megaflows');
    rig.receive('p1', FRAME);
    assert.match(
      rig.appctl('dpctl/dump-flows'),
      /eth\(src=00:00:00:00:00:01,dst=00:00:00:00:00:02\),eth_type\(0x1234\)/,
    );
    rig.appctl('upcall/enable-megaflows');
    assert.equal(rig.dpif.flowCount(), 0);
  });
});
