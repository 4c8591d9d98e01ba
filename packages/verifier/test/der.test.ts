import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { concatBytes, fromHex, MalformedError, toHex, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { ecdsaSignatureFromDer } from '../src/der/ecdsa-signature.ts';
import { parseGeneralizedTime, parseUtcTime } from '../src/der/time.ts';
import {
  type Certificate,
  DerReader,
  parseCertificate,
  parseNitroEnvelope,
  parseNitroPayload,
} from '../src/index.ts';
import { readVectors, vectorsMissing } from './nitro-vectors.ts';

function codeOf(read: () => unknown): string {
  try {
    read();
    return 'accepted';
  } catch (error) {
    if (error instanceof MalformedError) return error.code;
    throw error;
  }
}

const reading = (hex: string, read: (reader: DerReader) => unknown): string =>
  codeOf(() => {
    const reader = new DerReader(fromHex(hex), 'test');
    read(reader);
    reader.end();
  });

type Case = readonly [hex: string, code: string];

function table(name: string, read: (reader: DerReader) => unknown, cases: readonly Case[]): void {
  test(`NITRO-9 DER ${name}`, () => {
    for (const [hex, code] of cases) assert.equal(reading(hex, read), code, hex);
  });
}

table('lengths', (reader) => reader.octetString('x'), [
  ['0400', 'accepted'],
  ['040101', 'accepted'],
  [`047f${'00'.repeat(127)}`, 'accepted'],
  [`048180${'00'.repeat(128)}`, 'accepted'],
  [`04820100${'00'.repeat(256)}`, 'accepted'],
  ['', 'der.tag'],
  ['04', 'der.truncated'],
  ['0402ff', 'der.truncated'],
  ['040100ff', 'der.trailing-bytes'],
  ['0480000000', 'der.length'],
  ['048101ff', 'der.length'],
  [`04817f${'00'.repeat(127)}`, 'der.length'],
  [`048200ff${'00'.repeat(255)}`, 'der.length'],
  ['0484ffffffff', 'der.length'],
  ['0483ffffff', 'der.truncated'],
  ['0482ff', 'der.truncated'],
  ['04ff', 'der.length'],
  ['2401ff', 'der.tag'],
  ['0c0161', 'der.tag'],
]);

table('high tags', (reader) => reader.any('x'), [
  ['1f8101', 'der.tag'],
  ['bf1f00', 'der.tag'],
  ['3f00', 'der.tag'],
  ['0500', 'accepted'],
]);

table('booleans', (reader) => reader.boolean('x'), [
  ['010100', 'accepted'],
  ['0101ff', 'accepted'],
  ['010101', 'der.boolean'],
  ['0100', 'der.boolean'],
  ['0102ffff', 'der.boolean'],
]);

table('integers', (reader) => reader.unsigned('x', 4), [
  ['020100', 'accepted'],
  ['02017f', 'accepted'],
  ['02020080', 'accepted'],
  ['020500ffffffff', 'accepted'],
  ['0200', 'der.integer'],
  ['020180', 'der.integer'],
  ['0202007f', 'der.integer'],
  ['02020000', 'der.integer'],
  ['02050100000000', 'der.integer'],
]);

table('bit strings', (reader) => reader.bitString('x'), [
  ['030100', 'accepted'],
  ['03020780', 'accepted'],
  ['0300', 'der.bit-string'],
  ['030101', 'der.bit-string'],
  ['03020880', 'der.bit-string'],
  ['03020181', 'der.bit-string'],
]);

table('object identifiers', (reader) => reader.oid('x'), [
  ['0603550413', 'accepted'],
  ['060155', 'accepted'],
  ['0600', 'der.oid'],
  ['06025580', 'der.oid'],
  ['0603558001', 'der.oid'],
  ['060481808001', 'accepted'],
  ['060455808001', 'der.oid'],
  ['06025581', 'der.oid'],
  [`0641${'55'.repeat(65)}`, 'der.oid'],
]);

test('object identifiers read in dotted form', () => {
  const dotted = (hex: string) => new DerReader(fromHex(hex), '').oid('');
  assert.equal(dotted('0603550413'), '2.5.4.19');
  assert.equal(dotted('06082a8648ce3d040303'), '1.2.840.10045.4.3.3');
  assert.equal(dotted('06052b81040022'), '1.3.132.0.34');
  assert.equal(dotted('0603883703'), '2.999.3');
  assert.equal(dotted('06012a'), '1.2');
  assert.equal(dotted('060127'), '0.39');
});

test('NITRO-9 nesting is bounded', () => {
  let reader = new DerReader(fromHex(nested(30)), '');
  assert.equal(
    codeOf(() => {
      for (let depth = 0; depth < 30; depth++) reader = reader.sequence('');
    }),
    'der.depth',
  );
});

function nested(depth: number): string {
  return depth === 0 ? '' : `30${(2 * (depth - 1)).toString(16).padStart(2, '0')}${nested(depth - 1)}`;
}

test('NITRO-10 times agree with the platform calendar, and dates that do not exist are none', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: Date.UTC(1950, 0, 1) / 1000, max: Date.UTC(2049, 11, 31) / 1000 }),
      (seconds) => {
        const digits = new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '');
        assert.equal(parseUtcTime(utf8Encode(`${digits.slice(2)}Z`)), seconds * 1000);
        assert.equal(parseGeneralizedTime(utf8Encode(`${digits}Z`)), seconds * 1000);
      },
    ),
  );
  for (let year = 1; year < 10_000; year += 1) {
    const text = `${`${year}`.padStart(4, '0')}`;
    const expected = Date.parse(`${text}-03-01T12:34:56Z`);
    assert.equal(parseGeneralizedTime(utf8Encode(`${text}0301123456Z`)), expected, text);
    const leapDay = parseGeneralizedTime(utf8Encode(`${text}0229123456Z`));
    const isLeap = new Date(Date.parse(`${text}-02-28T00:00:00Z`) + 86_400_000).getUTCMonth() === 1;
    assert.equal(leapDay, isLeap ? expected - 86_400_000 : null, text);
  }
  const bad = [
    '261301000000Z',
    '260001000000Z',
    '260100000000Z',
    '260132000000Z',
    '260431000000Z',
    '260230000000Z',
  ];
  bad.push(
    '260101240000Z',
    '260101006000Z',
    '260101000060Z',
    '2601010000Z',
    '260101000000',
    '260101000000+0000',
  );
  bad.push('26010100000:Z', '26010100000 Z', '260101000000z', '', 'Z', '2601010000000Z', '-10101000000Z');
  for (const text of bad) assert.equal(parseUtcTime(utf8Encode(text)), null, text);
  for (const text of bad) assert.equal(parseGeneralizedTime(utf8Encode(`20${text}`)), null, text);
  assert.equal(parseGeneralizedTime(utf8Encode('20260101000000.0Z')), null);
});

test('NITRO-15 ECDSA signatures have one DER form', () => {
  const raw = (hex: string) => toHex(ecdsaSignatureFromDer(fromHex(hex), 2, ''));
  assert.equal(raw('3006020101020102'), '00010002');
  assert.equal(raw('3008020200ff020200ff'), '00ff00ff');
  assert.equal(raw('300a02030080000203008000'), '80008000');
  const bad = [
    '',
    '30',
    '3000',
    '3003020101',
    '300602010102010200',
    '3009020101020102020103',
    '30800201010201020000',
  ];
  bad.push('300702020001020102', '3006020181020102', '300802030100000201', '308106020101020102');
  bad.push('3106020101020102', '3006030101020102', '3009020401000000020101');
  for (const hex of bad)
    assert.notEqual(
      codeOf(() => raw(hex)),
      'accepted',
      hex,
    );
});

const certificates = readVectors().flatMap(({ id, bytes }) => {
  const { cabundle, certificate } = parseNitroPayload(parseNitroEnvelope(bytes).payload);
  return [...cabundle, certificate].map((der, i) => ({ name: `${id} ${i}`, der }));
});

test('NITRO-10 certificates read as the platform reads them', { skip: vectorsMissing }, () => {
  assert.ok(certificates.length >= 25);
  for (const { name, der } of certificates) {
    const ours: Certificate = parseCertificate(der, name);
    const theirs = new X509Certificate(der);
    assert.equal(BigInt(`0x${toHex(ours.serial)}`), BigInt(`0x${theirs.serialNumber}`), name);
    assert.equal(ours.notBeforeMs, Date.parse(theirs.validFrom), name);
    assert.equal(ours.notAfterMs, Date.parse(theirs.validTo), name);
    assert.equal(ours.basicConstraints?.ca ?? false, theirs.ca, name);
    const spki = theirs.publicKey.export({ format: 'der', type: 'spki' });
    assert.equal(toHex(ours.publicKey), spki.subarray(-97).toString('hex'), name);
    assert.deepEqual(new Uint8Array(theirs.raw), ours.der);
  }
});

test(
  'NITRO-9 whatever certificate is accepted, no byte of it was left unread',
  { skip: vectorsMissing },
  () => {
    const { der } = certificates[1] as { readonly der: Uint8Array };
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.uint8Array({ minLength: 1, maxLength: 3 }), (at, put) => {
        const longer = new Uint8Array([...der.subarray(0, at), ...put, ...der.subarray(at)]);
        assert.notEqual(
          codeOf(() => parseCertificate(longer, '')),
          'accepted',
        );
        const shorter = new Uint8Array([...der.subarray(0, at), ...der.subarray(at + put.length)]);
        assert.notEqual(
          codeOf(() => parseCertificate(shorter, '')),
          'accepted',
        );
      }),
      { numRuns: 1000 },
    );
  },
);

interface Node {
  readonly tag: number;
  readonly content: Uint8Array | readonly Node[];
  /** Extension values other than basicConstraints and keyUsage are not looked into. */
  readonly isOpaque: boolean;
}

const LOOKED_INTO = ['551d0f', '551d13'];

/** The tree of a certificate; extension values and the signature, which hold DER themselves, are opened too. */
function treeOf(der: Uint8Array, isOpaque = false): readonly Node[] {
  const nodes: Node[] = [];
  const reader = new DerReader(der, 'tree');
  let isOpaqueValue = isOpaque;
  while (!reader.isAtEnd) {
    const { tag, content } = reader.any('node');
    if (tag === 0x06 && !LOOKED_INTO.includes(toHex(content))) isOpaqueValue = true;
    const isValue = tag === 0x04 && !isOpaque;
    const isOpen = (tag & 0x20) !== 0 || isValue;
    const inside = tag === 0x04 ? isOpaqueValue : isOpaque;
    nodes.push({ tag, content: isOpen ? treeOf(content, inside) : content, isOpaque: inside });
  }
  return nodes;
}

function written({ tag, content }: Node): Uint8Array {
  const body = content instanceof Uint8Array ? content : concatBytes(...content.map(written));
  const { length } = body;
  const head =
    length < 128
      ? [tag, length]
      : length < 256
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 255];
  return concatBytes(Uint8Array.from(head), body);
}

/** Every tree in which one element that is looked into has one more child behind the others. */
function* withOneMoreChild(node: Node, extra: Node): Generator<Node> {
  if (node.content instanceof Uint8Array || node.isOpaque) return;
  yield { ...node, content: [...node.content, extra] };
  for (const [i, child] of node.content.entries()) {
    for (const changed of withOneMoreChild(child, extra)) {
      yield { ...node, content: node.content.map((each, at) => (at === i ? changed : each)) };
    }
  }
}

test('NITRO-9 nothing may follow inside any element of a certificate', { skip: vectorsMissing }, () => {
  // None of these is a legitimate next element anywhere.
  const extras = [fromHex('0500'), fromHex('1e00'), fromHex('0000')];
  const sample = certificates.filter(({ name }) => name.startsWith('prod-2025') || name.startsWith('custom'));
  for (const { name, der } of sample) {
    const [tree] = treeOf(der) as [Node];
    assert.deepEqual(written(tree), der, name);
    let count = 0;
    for (const extra of extras) {
      const child: Node = { tag: extra[0] as number, content: extra.subarray(2), isOpaque: false };
      for (const changed of withOneMoreChild(tree, child)) {
        count++;
        const bytes = written(changed);
        assert.notEqual(
          codeOf(() => parseCertificate(bytes, '')),
          'accepted',
          `${name}: ${toHex(bytes)}`,
        );
      }
    }
    assert.ok(count > 50, `${count} changes of ${name}`);
  }
});

test('NITRO-1 random bytes never make the certificate parser throw anything but its own error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.notEqual(
        codeOf(() => parseCertificate(bytes, '')),
        'accepted',
      );
    }),
    { numRuns: 2000 },
  );
});
