import assert from 'node:assert/strict';
import { test } from 'node:test';
import binaryen from 'binaryen';
import { inspectWasm, violations } from './wasm-inspect.ts';

/** Assembles text with every feature that the fast path uses, and GC to be able to forbid it. */
function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

const facts = (text: string) => inspectWasm(assemble(text));

test('an empty module is clean', () => {
  assert.deepEqual(violations(facts('(module)')), []);
});

test('an active data segment is found', () => {
  const found = facts('(module (memory 1) (data (i32.const 0) "x") (data (offset (i32.const 8)) "yz"))');
  assert.equal(found.nActiveData, 2);
  assert.match(violations(found).join(), /2 active data/);
});

test('a passive data segment is none, unless a start function could copy it', () => {
  const passive = '(memory 1) (data $d "x") (func $f (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))';
  const found = facts(`(module ${passive} (export "f" (func $f)))`);
  assert.deepEqual([found.nPassiveData, found.nActiveData, found.nMemoryInit], [1, 0, 1]);
  assert.deepEqual(violations(found), []);
  assert.match(violations(facts(`(module ${passive} (start $f))`)).join(), /start function/);
});

test('memory.grow is found in the middle of code, and its byte inside a constant is not', () => {
  const grows = facts(
    '(module (memory 1) (func (export "f") (result i32) (block (result i32) (memory.grow (i32.const 1)))))',
  );
  assert.equal(grows.nMemoryGrow, 1);
  const constant = facts('(module (func (export "f") (result i32) (i32.const 0x40404040)))');
  assert.equal(constant.nMemoryGrow, 0);
});

test('GC types are found', () => {
  const found = facts(
    '(module (type $s (struct (field i32))) (func (export "f") (result (ref $s)) (struct.new $s (i32.const 1))))',
  );
  assert.ok(found.nGc > 0);
});

test('SIMD, atomics, two memories and bulk memory are walked whole', () => {
  const found = facts(
    `(module
    (memory $a 1 1 shared) (memory $b 1 1 shared)
    (func (export "f") (param $p i32) (result i32) (local $v v128)
      (local.set $v (v128.load $b offset=16 (local.get $p)))
      (local.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get $v) (v128.const i32x4 64 64 64 64)))
      (v128.store $a (local.get $p) (i8x16.replace_lane 3 (local.get $v) (i32.const 64)))
      (memory.copy $a $b (i32.const 0) (i32.const 64) (i32.const 4))
      (atomic.fence)
      (i64.store $b (local.get $p) (i64.trunc_sat_f64_s (f64.const 64)))
      (drop (v128.load8_lane 1 (local.get $p) (local.get $v)))
      (block $x (block $y (br_table $x $y (local.get $p))))
      (i32.atomic.rmw.add $b offset=64 (local.get $p) (i32.const -64))))`,
  );
  assert.deepEqual(violations(found), []);
  assert.equal(found.nFunctions, 1);
});

test('what is no module, or is cut short, throws', () => {
  assert.throws(() => inspectWasm(new Uint8Array(7)), /not a module/);
  const whole = assemble('(module (func (export "f") (result i32) (i32.const 1)))');
  assert.throws(() => inspectWasm(whole.subarray(0, whole.length - 2)), /truncated/);
});
