import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Flow } from '../flow/flow.ts';
import { RecircIds } from './recirc.ts';
import type { FrozenState, XBridge } from './xlate/types.ts';

const bridge = {} as XBridge;

function state(more: Partial<FrozenState> = {}): FrozenState {
  return {
    tableId: 0,
    bridge,
    metadata: new Flow(),
    stack: [],
    mirrors: 0,
    conntracked: false,
    wasMpls: false,
    xport: undefined,
    actions: [],
    actionSet: [],
    userdata: undefined,
    ...more,
  };
}

describe('recirculation ids', () => {
  it('are the same for equal states, and others for others', () => {
    const ids = new RecircIds(() => 0);
    const a = ids.alloc(state({ actions: [{ type: 'set_tunnel', tunId: 5n }], stack: [Uint8Array.of(1)] }));
    assert.equal(ids.alloc(state({ actions: [{ type: 'set_tunnel', tunId: 5n }], stack: [Uint8Array.of(1)] })), a);
    const others = [
      state({ actions: [{ type: 'set_tunnel', tunId: 6n }], stack: [Uint8Array.of(1)] }),
      state({ tableId: 1 }),
      state({ bridge: {} as XBridge }),
      state({ conntracked: true }),
      state({ userdata: Uint8Array.of(0) }),
    ].map((s) => ids.alloc(s));
    const metadata = new Flow();
    metadata.inPort = 7;
    others.push(ids.alloc(state({ metadata })));
    assert.equal(new Set([a, ...others]).size, others.length + 1);
    assert.equal(ids.size, others.length + 1);
  });

  it('are found while somebody holds them, and a moment longer', () => {
    let now = 0;
    const ids = new RecircIds(() => now);
    const id = ids.alloc(state());
    assert.equal(ids.ref(id), true);
    ids.unrefAll([id, id]);
    assert.equal(ids.size, 0);
    assert.notEqual(ids.find(id), undefined, 'packets that name it may be on their way');
    assert.equal(ids.ref(id), false, 'but it can not be taken up again');
    assert.notEqual(ids.alloc(state()), id);
    now = 10_000;
    ids.alloc(state({ tableId: 3 }));
    assert.equal(ids.find(id), undefined);
  });

  it('of their own belong to nobody else', () => {
    const ids = new RecircIds(() => 0);
    const a = ids.allocUnique(state());
    assert.notEqual(ids.allocUnique(state()), a);
    assert.notEqual(ids.alloc(state()), a);
    assert.equal(ids.find(a)?.tableId, 0);
  });
});
