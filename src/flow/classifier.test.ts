import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Classifier, ClsRule } from './classifier.ts';
import { Flow, FlowWildcards, type Match } from './flow.ts';
import { newTrieMatch, PrefixTrie, trieMayMatch } from './prefix-trie.ts';

const matchOf = (set: (m: Match) => void): Match => {
  const m: Match = { flow: new Flow(), wc: new FlowWildcards() };
  set(m);
  m.flow.maskWith(m.wc);
  return m;
};

const prefixMask = (n: number): number => (n === 0 ? 0 : (0xffffffff << (32 - n)) >>> 0);

/** A small world, so that rules and packets meet often. */
const ip = fc
  .tuple(fc.constantFrom(10, 192), fc.constantFrom(0, 128), fc.constantFrom(0, 1), fc.nat(3))
  .map(([a, b, c, d]) => ((a << 24) | (b << 16) | (c << 8) | d) >>> 0);
const port = fc.constantFrom(0, 1, 0x50, 0x51, 0x1f90, 0xffff);
const ruleSpec = fc.record({
  priority: fc.nat(5),
  inPort: fc.option(fc.nat(2), { nil: undefined }),
  ip: fc.boolean(),
  dst: fc.tuple(ip, fc.constantFrom(0, 8, 16, 24, 31, 32)),
  src: fc.tuple(ip, fc.constantFrom(0, 8, 32)),
  tpDst: fc.option(fc.tuple(port, fc.constantFrom(0xffff, 0xff00, 0x00ff)), { nil: undefined }),
});
type RuleSpec = typeof ruleSpec extends fc.Arbitrary<infer T> ? T : never;

function specMatch(s: RuleSpec): Match {
  return matchOf(({ flow, wc }) => {
    if (s.inPort !== undefined) [flow.inPort, wc.inPort] = [s.inPort, 0xffffffff];
    if (!s.ip) return;
    [flow.dlType, wc.dlType] = [0x0800, 0xffff];
    [flow.nwDst, wc.nwDst] = [s.dst[0], prefixMask(s.dst[1])];
    [flow.nwSrc, wc.nwSrc] = [s.src[0], prefixMask(s.src[1])];
    if (s.tpDst) [flow.tpDst, wc.tpDst] = s.tpDst;
  });
}

const packet = fc.record({ inPort: fc.nat(2), ip: fc.boolean(), src: ip, dst: ip, tpDst: port }).map((p) => {
  const flow = new Flow();
  flow.inPort = p.inPort;
  flow.dlType = p.ip ? 0x0800 : 0x0806;
  flow.nwSrc = p.src;
  flow.nwDst = p.dst;
  if (p.ip) flow.tpDst = p.tpDst;
  return flow;
});

interface Entry {
  rule: ClsRule;
  match: Match;
}

/** The specification: the best matching rule by a walk over all of them. */
function best(entries: readonly Entry[], flow: Flow): number {
  let priority = -1;
  for (const { rule, match } of entries)
    if (flow.equalsMasked(match.flow, match.wc)) priority = Math.max(priority, rule.priority);
  return priority;
}

function fill(specs: readonly RuleSpec[]): { cls: Classifier; entries: Entry[] } {
  const cls = new Classifier();
  let entries: Entry[] = [];
  for (const spec of specs) {
    const entry = { rule: new ClsRule(spec.priority), match: specMatch(spec) };
    const old = cls.replace(entry.rule, entry.match);
    entries = entries.filter((e) => e.rule !== old);
    entries.push(entry);
  }
  return { cls, entries };
}

describe('Classifier', () => {
  it('finds what a walk over all rules finds', () => {
    fc.assert(
      fc.property(fc.array(ruleSpec, { maxLength: 40 }), fc.array(packet, { minLength: 5 }), (specs, packets) => {
        const { cls, entries } = fill(specs);
        assert.equal(cls.size, entries.length);
        for (const flow of packets) {
          assert.equal(cls.lookup(flow)?.priority ?? -1, best(entries, flow));
          assert.equal(cls.lookup(flow, new FlowWildcards())?.priority ?? -1, best(entries, flow));
        }
      }),
    );
  });

  it('unwildcards enough: every packet of a megaflow gets the same rule', () => {
    fc.assert(
      fc.property(
        fc.array(ruleSpec, { maxLength: 40 }),
        packet,
        fc.array(packet, { minLength: 20 }),
        (specs, flow, others) => {
          const { cls } = fill(specs);
          const wc = new FlowWildcards();
          wc.dlType = 0xffff;
          const priority = cls.lookup(flow, wc)?.priority;
          for (const other of others) {
            // The other packet, forced into the megaflow.
            for (let i = 0; i < other.u32.length; i++)
              other.u32[i] = (other.u32[i] & ~wc.u32[i]) | (flow.u32[i] & wc.u32[i]);
            assert.equal(cls.lookup(other)?.priority, priority);
          }
        },
      ),
    );
  });

  it('is as it was after removals', () => {
    fc.assert(
      fc.property(fc.array(ruleSpec, { maxLength: 40 }), fc.array(packet, { minLength: 5 }), (specs, packets) => {
        const { cls, entries } = fill(specs);
        const keep = entries.filter((_, i) => i % 2 === 0);
        for (const { rule } of entries.filter((_, i) => i % 2 === 1)) assert.ok(cls.remove(rule));
        for (const flow of packets)
          assert.equal(cls.lookup(flow, new FlowWildcards())?.priority ?? -1, best(keep, flow));
        for (const { rule, match } of keep) assert.equal(cls.findExactly(match, rule.priority), rule);
        for (const { rule } of keep) assert.ok(cls.remove(rule));
        assert.equal(cls.size, 0);
        assert.equal(cls.nSubtables, 0);
      }),
    );
  });

  it('iterates the rules that are as specific as a target', () => {
    fc.assert(
      fc.property(fc.array(ruleSpec, { maxLength: 40 }), ruleSpec, (specs, target) => {
        const { cls, entries } = fill(specs);
        const want = specMatch(target);
        const covered = entries.filter(
          ({ match }) =>
            match.flow.equalsMasked(want.flow, want.wc) && want.wc.u32.every((w, i) => (w & ~match.wc.u32[i]) === 0),
        );
        assert.deepEqual(new Set(cls.matching(want)), new Set(covered.map((e) => e.rule)));
      }),
    );
  });

  it('gives a rule its match back', () => {
    fc.assert(
      fc.property(ruleSpec, (spec) => {
        const { cls, entries } = fill([spec]);
        const m = entries[0].rule.match();
        assert.ok(m.flow.equals(entries[0].match.flow) && m.wc.equals(entries[0].match.wc));
        assert.equal(cls.nSubtables, 1);
      }),
    );
  });

  it('finds an overlap exactly when a packet could match both', () => {
    const cls = new Classifier();
    const a = matchOf(({ flow, wc }) => {
      [flow.inPort, wc.inPort] = [1, 0xffffffff];
    });
    cls.replace(new ClsRule(7), a);
    const b = matchOf(({ flow, wc }) => {
      [flow.dlType, wc.dlType] = [0x800, 0xffff];
    });
    assert.ok(cls.findOverlap(b, 7));
    assert.equal(cls.findOverlap(b, 6), undefined);
    [b.flow.inPort, b.wc.inPort] = [2, 0xffffffff];
    assert.equal(cls.findOverlap(b, 7), undefined);
  });

  it('needs few address bits to tell prefixes apart', () => {
    const cls = new Classifier();
    for (const [dst, plen] of [
      [0x0a000000, 8],
      [0xc0a80000, 16],
    ] as const) {
      cls.replace(
        new ClsRule(1),
        matchOf(({ flow, wc }) => {
          [flow.dlType, wc.dlType, flow.nwDst, wc.nwDst] = [0x800, 0xffff, dst, prefixMask(plen)];
        }),
      );
    }
    const flow = new Flow();
    flow.dlType = 0x800;
    flow.nwDst = 0x50000000;
    const wc = new FlowWildcards();
    assert.equal(cls.lookup(flow, wc), undefined);
    assert.equal(wc.nwDst, 0xc0000000);
  });
});

describe('PrefixTrie', () => {
  const prefix = fc.tuple(fc.nat(0xffffffff), fc.integer({ min: 1, max: 64 })).map(([v, plen]) => {
    const value = Uint32Array.of(v & 0xc3, v);
    if (plen <= 32) [value[0], value[1]] = [value[0] & prefixMask(plen), 0];
    else value[1] &= prefixMask(plen - 32);
    return { value, plen };
  });
  const agree = (a: Uint32Array, b: Uint32Array, n: number) => {
    for (let i = 0; i < n; i++) if (((a[i >> 5] ^ b[i >> 5]) >>> (31 - (i & 31))) & 1) return false;
    return true;
  };

  it('names exactly the prefix lengths that match, and is empty after removals', () => {
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 30 }), prefix, (prefixes, target) => {
        const trie = new PrefixTrie();
        for (const p of prefixes) trie.insert(p.value, p.plen);
        const out = newTrieMatch();
        trie.lookup(target.value, 64, out);
        for (let plen = 1; plen <= out.maskBits; plen++)
          assert.equal(
            trieMayMatch(out, plen),
            prefixes.some((p) => p.plen === plen && agree(p.value, target.value, plen)),
          );
        for (const p of prefixes) trie.remove(p.value, p.plen);
        assert.ok(trie.empty);
      }),
    );
  });
});
