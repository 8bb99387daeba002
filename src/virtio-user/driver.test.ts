import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Driver, FORWARD_MODES } from './driver.ts';
import { FakeDevice } from './fake-device.ts';
import { setMacs } from './generator.ts';
import { readStats } from './port-stats.ts';

/** A driver with two started ports and the device of each. */
function twoPorts(size = 64) {
  const driver = new Driver({ ports: [0, 1].map(() => ({ rxd: size, txd: size })) });
  const devices = [0, 1].map((port) => {
    driver.kernel.portStart(port);
    return new FakeDevice(driver.mem, port);
  });
  driver.setStreams([
    { rx: 0, tx: 1 },
    { rx: 1, tx: 0 },
  ]);
  return { driver, devices, run: (mode: keyof typeof FORWARD_MODES) => runMode(driver, mode) };
}

/** Runs until nothing moves; how many packets did. */
function runMode(driver: Driver, mode: keyof typeof FORWARD_MODES): number {
  let moved = 0;
  for (let n = -1; n !== 0; moved += n) n = driver.kernel.forward(FORWARD_MODES[mode], 2, 32, 4);
  return moved;
}

const frameOf = (size: number, seed = 1) => Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed) & 255);

describe('split rings', () => {
  it('fills the rx ring with buffers when a port starts', () => {
    const { devices } = twoPorts(64);
    assert.equal(devices[0]!.rx.waiting, 64);
    assert.equal(devices[0]!.tx.waiting, 0);
  });

  it('forwards a frame unchanged in mode io', () => {
    const { devices, run, driver } = twoPorts();
    assert.ok(devices[0]!.send(frameOf(60)));
    assert.equal(run('io'), 1);
    assert.deepEqual(devices[1]!.receive(), [frameOf(60)]);
    assert.equal(readStats(driver.mem.memory, 0).rxBytes, 60n);
    assert.equal(readStats(driver.mem.memory, 1).txPackets, 1n);
  });

  it('goes round the ring many times, both ways, and loses no buffer', () => {
    const { devices, run, driver } = twoPorts(64);
    const free = driver.kernel.poolFree();
    for (let i = 0; i < 3000; i++) {
      for (const d of [0, 1]) assert.ok(devices[d]!.send(frameOf(60 + (i % 900), i + d)));
      run('io');
      assert.deepEqual(devices[1]!.receive(), [frameOf(60 + (i % 900), i)]);
      assert.deepEqual(devices[0]!.receive(), [frameOf(60 + (i % 900), i + 1)]);
    }
    driver.kernel.portStop(0);
    driver.kernel.portStop(1);
    assert.equal(driver.kernel.poolFree(), free + 128);
    assert.equal(driver.broken(0), undefined);
  });

  it('joins a frame that came in several buffers and sends it as one chain', () => {
    const { devices, run } = twoPorts();
    const frame = frameOf(9000);
    assert.ok(devices[0]!.send(frame));
    run('io');
    assert.deepEqual(devices[1]!.receive(), [frame]);
  });

  it('drops by name when the tx ring is full', () => {
    const { devices, run, driver } = twoPorts(64);
    for (let i = 0; i < 64; i++) devices[0]!.send(frameOf(60));
    run('io');
    for (let i = 0; i < 40; i++) devices[0]!.send(frameOf(60));
    run('io');
    assert.equal(readStats(driver.mem.memory, 1).txPackets, 64n);
    assert.equal(readStats(driver.mem.memory, 1).txDropped, 40n);
    assert.equal(devices[1]!.receive().length, 64);
  });

  it('counts what was in the tx ring when the device goes away', () => {
    const { devices, run, driver } = twoPorts();
    for (let i = 0; i < 5; i++) devices[0]!.send(frameOf(60));
    run('io');
    driver.kernel.portStop(1);
    assert.equal(readStats(driver.mem.memory, 1).txAborted, 5n);
    driver.kernel.portStart(1);
    assert.equal(new FakeDevice(driver.mem, 1).rx.waiting, 64);
  });
});

describe('notifications', () => {
  it('kicks only when the device asks for it', () => {
    const { devices, run, driver } = twoPorts();
    const kicks: string[] = [];
    const take = () => driver.takeKicks((port, tx) => kicks.push(`${port}/${tx ? 'tx' : 'rx'}`));
    take();
    kicks.length = 0;
    for (const d of devices) d.tx.wantKicks(false);
    devices[0]!.send(frameOf(60));
    run('io');
    take();
    assert.deepEqual(kicks, []);
    devices[1]!.tx.wantKicks(true);
    devices[0]!.send(frameOf(60));
    run('io');
    take();
    assert.deepEqual(kicks, ['1/tx']);
  });

  it('keeps interrupts off until asked, and tells what came before they were on', () => {
    const { devices, driver } = twoPorts();
    assert.equal(devices[0]!.rx.interruptsOff, true);
    devices[0]!.send(frameOf(60));
    assert.equal(driver.kernel.rxInterrupts(0, 1), 1);
    assert.equal(devices[0]!.rx.interruptsOff, false);
    driver.kernel.rxInterrupts(0, 0);
    assert.equal(devices[0]!.rx.interruptsOff, true);
  });
});

describe('a device that breaks the rules', () => {
  const cases: [string, string, (d: FakeDevice) => void][] = [
    ['used id out of range', 'used element of a descriptor', (d) => d.rx.putUsed(64, 100)],
    ['used id twice', 'used element of a descriptor', (d) => [d.rx.putUsed(1, 100), d.rx.putUsed(1, 100)]],
    ['used length beyond the buffer', 'used length', (d) => d.rx.putUsed(0, 5000)],
    ['used length short of the header', 'used length', (d) => d.rx.putUsed(0, 11)],
    ['used index too far', 'used index', (d) => (d.rx.usedIdx = 65)],
  ];
  for (const [name, reason, misbehave] of cases) {
    it(`${name}: the queue is marked broken, the other port goes on`, () => {
      const { devices, run, driver } = twoPorts();
      misbehave(devices[0]!);
      devices[0]!.rx.publishUsed();
      run('io');
      assert.match(driver.broken(0) ?? '', new RegExp(`^rx ring: ${reason}`));
      assert.equal(readStats(driver.mem.memory, 0).rxErrors, 1n);
      devices[1]!.send(frameOf(60));
      run('io');
      assert.equal(devices[0]!.receive().at(-1)!.length, 60);
    });
  }

  it('num_buffers beyond what was used breaks the queue', () => {
    const { devices, run, driver } = twoPorts();
    const { rx } = devices[0]!;
    const head = rx.pop();
    new DataView(rx.bytes(rx.desc(head).addr, 12).buffer, rx.bytes(rx.desc(head).addr, 12).byteOffset).setUint16(
      10,
      9,
      true,
    );
    rx.putUsed(head, 72);
    rx.publishUsed();
    run('io');
    assert.match(driver.broken(0) ?? '', /num_buffers/);
  });
});

describe('forward modes', () => {
  const macs = () => {
    const t = twoPorts();
    setMacs(t.driver.mem, 0, Uint8Array.of(2, 0, 0, 0, 0, 1), Uint8Array.of(2, 0, 0, 0, 0, 0x11));
    setMacs(t.driver.mem, 1, Uint8Array.of(2, 0, 0, 0, 0, 2), Uint8Array.of(2, 0, 0, 0, 0, 0x22));
    return t;
  };

  it('macswap exchanges the addresses', () => {
    const { devices, run } = macs();
    devices[0]!.send(frameOf(60));
    run('macswap');
    const want = frameOf(60);
    want.set(frameOf(60).subarray(6, 12), 0);
    want.set(frameOf(60).subarray(0, 6), 6);
    assert.deepEqual(devices[1]!.receive(), [want]);
  });

  it('mac writes the tx port and its peer', () => {
    const { devices, run } = macs();
    devices[0]!.send(frameOf(60));
    run('mac');
    const want = frameOf(60);
    want.set([2, 0, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 2], 0);
    assert.deepEqual(devices[1]!.receive(), [want]);
  });

  it('rxonly consumes', () => {
    const { devices, run, driver } = macs();
    devices[0]!.send(frameOf(60));
    run('rxonly');
    assert.equal(devices[1]!.receive().length, 0);
    assert.equal(readStats(driver.mem.memory, 0).rxConsumed, 1n);
  });

  it('icmpecho answers ping', () => {
    const { devices, run } = macs();
    const request = Buffer.from(
      `020000000001020000000099${'0800'}4500001c000000004001${'0000'}0a0000020a000001${'0800'}f7ff${'00000000'}`,
      'hex',
    );
    devices[0]!.send(new Uint8Array(request));
    run('icmpecho');
    const [reply] = devices[0]!.receive();
    assert.equal(
      Buffer.from(reply!).toString('hex'),
      `020000000099020000000001${'0800'}4500001c000000004001${'0000'}0a0000010a000002${'0000'}ffff${'00000000'}`,
    );
  });

  it('icmpecho answers ARP with the address of the port, and nothing else', () => {
    const { devices, run, driver } = macs();
    const arp = (op: string, sender: string, target: string) => `08060001080006040${op}${sender}${target}`;
    const request = `ffffffffffff020000000099${arp('001', '0200000000990a000002', '0000000000000a000001')}`;
    devices[0]!.send(new Uint8Array(Buffer.from(request, 'hex')));
    devices[0]!.send(frameOf(60));
    run('icmpecho');
    const replies = devices[0]!.receive().map((f) => Buffer.from(f).toString('hex'));
    assert.deepEqual(replies, [
      `020000000099020000000001${arp('002', '0200000000010a000001', '0200000000990a000002')}`,
    ]);
    assert.equal(readStats(driver.mem.memory, 0).rxConsumed, 1n);
    assert.equal(readStats(driver.mem.memory, 0).txPackets, 1n);
  });
});
