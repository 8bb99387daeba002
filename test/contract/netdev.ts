import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Netdev } from '../../src/netdev/netdev.ts';

/** What every kind of device keeps to. `open` makes one of the name, configured well; the suite closes it. */
export function netdevContract(kind: string, open: (name: string) => Promise<Netdev> | Netdev): void {
  const withNetdev = (what: string, check: (netdev: Netdev) => Promise<void> | void): void => {
    test(`${kind}: ${what}`, async () => {
      const netdev = await open('ct0');
      try {
        await check(netdev);
      } finally {
        await netdev.close();
      }
    });
  };

  withNetdev('has its name and a unicast address that is not zero', (netdev) => {
    assert.equal(netdev.name, 'ct0');
    const mac = netdev.mac();
    assert.equal(mac.length, 6);
    assert.equal(mac[0]! & 1, 0);
    assert.ok(mac.some((byte) => byte !== 0));
  });

  withNetdev('takes a new address and tells so', (netdev) => {
    let told = 0;
    netdev.onChange(() => told++);
    const before = netdev.changeSeq();
    netdev.setMac(Uint8Array.of(2, 0, 0, 0, 0, 9));
    assert.deepEqual([...netdev.mac()], [2, 0, 0, 0, 0, 9]);
    assert.ok(netdev.changeSeq() > before);
    assert.ok(told >= 1);
    const after = netdev.changeSeq();
    netdev.setMac(Uint8Array.of(2, 0, 0, 0, 0, 9));
    assert.equal(netdev.changeSeq(), after, 'the same address is no change');
  });

  withNetdev('takes an MTU, refuses an absurd one and keeps what it had', (netdev) => {
    assert.equal(netdev.setMtu(1400), undefined);
    assert.equal(netdev.mtu(), 1400);
    assert.equal(typeof netdev.setMtu(1), 'string');
    assert.equal(netdev.mtu(), 1400);
  });

  withNetdev('has at least one queue each way, or is never seen by the datapath', (netdev) => {
    const { rx, tx } = netdev.queues();
    assert.ok(Number.isInteger(rx) && Number.isInteger(tx));
    if (netdev.io.kind !== 'none') assert.ok(rx >= 1 && tx >= 1);
  });

  withNetdev('counts in non-negative bigints and has text for its status', (netdev) => {
    const { custom, ...counters } = netdev.stats();
    for (const [name, value] of [...Object.entries(counters), ...(custom ?? [])]) {
      assert.equal(typeof value, 'bigint', name);
      assert.ok((value as bigint) >= 0n, name);
    }
    for (const [key, value] of netdev.status()) assert.deepEqual([typeof key, typeof value], ['string', 'string']);
  });

  withNetdev('a soft device takes a frame or says that it dropped it', (netdev) => {
    if (netdev.io.kind !== 'soft') return;
    netdev.io.attach(() => {});
    assert.equal(typeof netdev.io.send(new Uint8Array(60)), 'boolean');
  });

  test(`${kind}: can be closed twice, and made again under the same name`, async () => {
    const first = await open('ct0');
    await first.close();
    await first.close();
    const second = await open('ct0');
    assert.equal(second.name, 'ct0');
    await second.close();
  });
}
