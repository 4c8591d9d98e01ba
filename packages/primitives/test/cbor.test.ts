import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cborg from 'cborg';
import fc from 'fast-check';
import {
  arrayOf,
  bool,
  byteSetOf,
  bytesOf,
  CBOR_DEPTH_MAX,
  CborReader,
  CborWriter,
  type Codec,
  decode,
  encode,
  field,
  fromHex,
  MalformedError,
  nullable,
  oneOf,
  optionalField,
  struct,
  textOf,
  toHex,
  UsageError,
  u64,
  uint,
  uintMapOf,
  union,
  variant,
  writeCbor,
} from '../src/index.ts';

const everything = struct({
  count: field(0, uint()),
  amount: field(1, u64),
  data: field(2, bytesOf(0, 300)),
  name: field(3, textOf(0, 300)),
  list: field(4, arrayOf(uint(), 40)),
  flag: field(5, bool),
  perhaps: field(6, nullable(textOf(0, 10))),
  extra: optionalField(7, uint(9)),
  totals: field(8, uintMapOf(0xffff, u64, 8)),
  method: field(9, oneOf('zk', 'tee')),
});

const anyEverything = fc.record(
  {
    count: fc.maxSafeNat(),
    amount: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    data: fc.uint8Array({ maxLength: 300 }),
    name: fc.string({ unit: 'grapheme', maxLength: 20 }),
    list: fc.array(fc.maxSafeNat(), { maxLength: 40 }),
    flag: fc.boolean(),
    perhaps: fc.option(fc.string({ maxLength: 10, unit: 'grapheme-ascii' }), { nil: null }),
    extra: fc.nat(9),
    totals: fc
      .uniqueArray(fc.tuple(fc.nat(0xffff), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })), {
        maxLength: 8,
        selector: ([key]) => key,
      })
      .map((entries) => entries.sort(([a], [b]) => a - b)),
    method: fc.constantFrom('zk' as const, 'tee' as const),
  },
  {
    noNullPrototype: true,
    requiredKeys: ['count', 'amount', 'data', 'name', 'list', 'flag', 'perhaps', 'totals', 'method'],
  },
);

function assertMalformed<T>(codec: Codec<T>, hex: string, code: string): void {
  assert.throws(
    () => decode(codec, fromHex(hex), 'x'),
    (error) => error instanceof MalformedError && error.code === code,
    `${hex} should be refused with ${code}`,
  );
}

test('CBOR-1 CBOR-2 an object has one encoding, and decoding gives it back', () => {
  fc.assert(
    fc.property(anyEverything, (value) => {
      const bytes = encode(everything, value);
      const again = decode(everything, bytes, 'x');
      assert.deepEqual(again, value);
      assert.deepEqual(encode(everything, again), bytes);
    }),
  );
});

test('CBOR-1 an independent encoder makes the same bytes', () => {
  fc.assert(
    fc.property(anyEverything, (value) => {
      const keys = [
        'count',
        'amount',
        'data',
        'name',
        'list',
        'flag',
        'perhaps',
        'extra',
        'totals',
        'method',
      ] as const;
      const plain = new Map<number, unknown>();
      keys.forEach((key, i) => {
        const member = value[key];
        if (member !== undefined)
          plain.set(i, key === 'totals' ? new Map(member as [number, bigint][]) : member);
      });
      assert.equal(toHex(encode(everything, value)), toHex(cborg.encode(plain)));
    }),
  );
});

test('CBOR-2 any bytes either decode to a value that encodes to them, or are malformed', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 80 }),
        anyEverything.map((v) => encode(everything, v)),
      ),
      fc.nat(),
      fc.nat(255),
      (bytes, at, byte) => {
        const changed = bytes.slice();
        if (changed.length > 0) changed[at % changed.length] = byte;
        let value: unknown;
        try {
          value = decode(everything, changed, 'x');
        } catch (error) {
          assert.ok(error instanceof MalformedError, String(error));
          return;
        }
        assert.deepEqual(encode(everything, value as never), changed);
      },
    ),
    { numRuns: 2000 },
  );
});

test('CBOR-3 forms that are not the shortest are malformed', () => {
  for (const hex of ['1817', '190017', '1900ff', '1a0000ffff', '1b00000000ffffffff']) {
    assertMalformed(uint(), hex, 'cbor.non-minimal');
  }
  assertMalformed(bytesOf(0, 9), '580101', 'cbor.non-minimal');
  assertMalformed(textOf(0, 9), '780161', 'cbor.non-minimal');
  assertMalformed(arrayOf(uint(), 9), '980100', 'cbor.non-minimal');
});

test('CBOR-3 indefinite lengths, reserved forms, tags, negative numbers, floats and undefined are malformed', () => {
  assertMalformed(bytesOf(0, 9), '5f4101ff', 'cbor.form');
  assertMalformed(arrayOf(uint(), 9), '9f00ff', 'cbor.form');
  for (const hex of ['1c', '1d', '1e']) assertMalformed(uint(), hex, 'cbor.form');
  for (const hex of ['c100', '20', 'f90000', 'fb0000000000000000', 'f7', 'f8ff'])
    assertMalformed(uint(), hex, 'cbor.type');
  assertMalformed(bool, 'f6', 'cbor.type');
});

test('CBOR-3 duplicate, unknown and disordered keys and trailing bytes are malformed', () => {
  const codec = struct({ a: field(0, uint()), b: optionalField(1, uint()) });
  assertMalformed(codec, 'a100', 'cbor.truncated');
  assertMalformed(codec, 'a10101', 'cbor.key');
  assertMalformed(codec, 'a20000010100', 'cbor.trailing-bytes');
  assertMalformed(codec, 'a200000000', 'cbor.unknown-key');
  assertMalformed(codec, 'a201000000', 'cbor.key');
  assertMalformed(codec, 'a200000200', 'cbor.unknown-key');
  assertMalformed(codec, 'a0', 'cbor.length');
  const totals = uintMapOf(9, uint(), 4);
  assertMalformed(totals, 'a201000000', 'cbor.key-order');
  assertMalformed(totals, 'a200000000', 'cbor.key-order');
});

test('CBOR-4 limits hold before memory is taken', () => {
  assertMalformed(bytesOf(0, 9), '5bffffffffffffffff', 'cbor.length');
  assertMalformed(bytesOf(0, 1000), '5901ff', 'cbor.truncated');
  assertMalformed(arrayOf(uint(), 4), '9affffffff', 'cbor.length');
  assertMalformed(uint(5), '06', 'cbor.range');
  assertMalformed(uint(), '1b0020000000000000', 'cbor.range');
  const reader = new CborReader(new Uint8Array(CBOR_DEPTH_MAX + 2).fill(0x81));
  assert.throws(() => {
    for (;;) reader.openArray(1, 1);
  }, /cbor\.depth/);
});

test('CBOR-5 text is strict UTF-8', () => {
  for (const hex of ['61ff', '62c080', '63eda080', '61c3'])
    assertMalformed(textOf(0, 9), hex, 'utf8.invalid');
  assert.throws(() => encode(textOf(0, 9), '\ud800'), MalformedError);
  assert.equal(decode(textOf(0, 9), fromHex('63efbbbf'), 'x'), '\ufeff');
});

test('CBOR-6 a union is a tag and its struct; unknown tags are malformed', () => {
  const codec = union({
    one: variant(1, struct({ a: field(0, uint()) })),
    two: variant(2, struct({ b: field(0, bool) })),
  });
  assert.equal(toHex(encode(codec, { kind: 'two', b: true })), '8202a100f5');
  assert.deepEqual(decode(codec, fromHex('8201a10007'), 'x'), { kind: 'one', a: 7 });
  assertMalformed(codec, '8203a10007', 'cbor.unknown-kind');
  assertMalformed(codec, '8301a1000700', 'cbor.length');
});

test('CBOR-7 a byte set has one order', () => {
  const codec = byteSetOf(bytesOf(1, 2), 4);
  assertMalformed(codec, '8241024101', 'cbor.set-order');
  assertMalformed(codec, '8241014101', 'cbor.set-order');
  assert.throws(() => encode(codec, [Uint8Array.of(2), Uint8Array.of(1)]), UsageError);
});

test('an error names where in the object it is', () => {
  const codec = struct({ outer: field(0, arrayOf(struct({ inner: field(0, uint(3)) }), 4)) });
  assert.throws(
    () => decode(codec, fromHex('a10082a10001a10009'), 'thing'),
    (error) => error instanceof MalformedError && error.path === 'thing.outer.1.inner' && error.got === '9',
  );
});

test('RFC 8949 appendix A: the examples within the subset', () => {
  const writer = (write: (w: CborWriter) => void): string => {
    const w = new CborWriter(1);
    write(w);
    return toHex(w.finish());
  };
  const integers: readonly (readonly [number | bigint, string])[] = [
    [0, '00'],
    [1, '01'],
    [10, '0a'],
    [23, '17'],
    [24, '1818'],
    [25, '1819'],
    [100, '1864'],
    [1000, '1903e8'],
    [1000000, '1a000f4240'],
    [1000000000000, '1b000000e8d4a51000'],
    [18446744073709551615n, '1bffffffffffffffff'],
  ];
  for (const [value, hex] of integers)
    assert.equal(
      writer((w) => w.uint(value)),
      hex,
    );
  assert.equal(
    writer((w) => w.bytes(fromHex('01020304'))),
    '4401020304',
  );
  assert.equal(
    writer((w) => w.text('\u6c34')),
    '63e6b0b4',
  );
  assert.equal(
    writer((w) => w.text('')),
    '60',
  );
});

test('CBOR-1 an encoding within another, or after one that failed, leaves no trace in it', () => {
  const inner = (): Uint8Array => writeCbor((writer) => writer.text('inner'));
  const nested = writeCbor((writer) => {
    writer.arrayHead(2);
    writer.bytes(inner());
    writer.uint(7);
  });
  assert.equal(toHex(nested), '824665696e6e657207');
  assert.throws(() =>
    writeCbor((writer) => {
      writer.uint(1);
      writer.uint(-1);
    }),
  );
  const first = inner();
  assert.equal(toHex(inner()), '65696e6e6572');
  writeCbor((writer) => writer.bytes(new Uint8Array(50_000)));
  assert.equal(toHex(first), '65696e6e6572');
});

test('CBOR-1 heads at the edges of every width, as number and as bigint, and texts at the edge of the short form', () => {
  const edges = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
  for (const edge of edges) {
    const independent = toHex(cborg.encode(edge));
    assert.equal(toHex(writeCbor((writer) => writer.uint(edge))), independent);
    assert.equal(toHex(writeCbor((writer) => writer.uint(BigInt(edge)))), independent);
    assert.equal(decode(uint(), fromHex(independent), 'x'), edge);
  }
  for (const edge of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    const bytes = writeCbor((writer) => writer.uint(edge));
    assert.equal(toHex(bytes), toHex(cborg.encode(edge)));
    assert.equal(decode(u64, bytes, 'x'), edge);
  }
  for (const value of [2 ** 53, -1, 0.5, Number.NaN, 2n ** 64n, -1n]) {
    assert.throws(() => writeCbor((writer) => writer.uint(value)), UsageError);
  }
  for (const text of ['x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65), `${'x'.repeat(63)}ä`, 'ä'.repeat(64)]) {
    assert.equal(toHex(writeCbor((writer) => writer.text(text))), toHex(cborg.encode(text)));
  }
});

test('what was decoded shares no memory with the input, whatever class of byte array that is', () => {
  const encoded = encode(bytesOf(0, 100), new Uint8Array(40).fill(7));
  for (const input of [encoded, Buffer.from(encoded), new Uint8Array([9, ...encoded]).subarray(1)]) {
    const decoded = decode(bytesOf(0, 100), input, 'x');
    assert.equal(decoded.constructor, Uint8Array);
    input.fill(0);
    assert.deepEqual(decoded, new Uint8Array(40).fill(7));
    encoded.set(encode(bytesOf(0, 100), new Uint8Array(40).fill(7)));
  }
});
