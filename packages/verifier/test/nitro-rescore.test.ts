import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import {
  AWS_NITRO_ROOT_G1,
  appraiseNitro,
  NO_COLLATERAL,
  parseCertificate,
  parseNitroEnvelope,
  parseNitroPayload,
  rescoreEvidence,
} from '../src/index.ts';
import { appraiseChanged, contextAt, failures, vector, vectorsMissing } from './nitro-vectors.ts';
import { HOPPER, mintDevice } from './nvidia-fixture.ts';

const skip = vectorsMissing;

interface Revoked {
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
}

function rescore(facts: Uint8Array, revoked: readonly Revoked[], kind = 'nitro' as const) {
  return rescoreEvidence(kind, facts, {
    crypto: nodeCrypto,
    nowMs: 0,
    revoked,
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
  });
}

test('NITRO-27 facts of a document are judged again when a certificate is taken back', { skip }, () => {
  const each = vector('prod-2024-12');
  const { cabundle, certificate } = parseNitroPayload(parseNitroEnvelope(each.bytes).payload);
  const facts = appraiseChanged(each, each.bytes).claims?.facts as Uint8Array;
  assert.ok(facts.length <= 4096);
  assert.equal(rescore(facts, []).verdict.ok, true);
  assert.equal(rescore(facts, []).collateralEndMs, null);
  for (const der of [...cabundle, certificate]) {
    const { issuer, serial } = parseCertificate(der, '');
    assert.deepEqual(failures(rescore(facts, [{ issuer, serial }])), [
      'nitro.chain.revocation:certificate.revoked',
    ]);
    assert.equal(rescore(facts, [{ issuer, serial: Uint8Array.of(1, ...serial) }]).verdict.ok, true);
  }
  for (let length = 0; length < facts.length; length++) {
    const { verdict } = rescore(facts.subarray(0, length), []);
    assert.equal(verdict.ok, false);
    assert.deepEqual(
      verdict.checks.map(({ id, status }) => [id, status]),
      [
        ['nitro.facts', 'failed'],
        ['nitro.chain.revocation', 'skipped'],
      ],
    );
  }
  assert.equal(rescore(concatBytes(facts, Uint8Array.of(0)), []).verdict.ok, false);
});

test('NITRO-27 kinds that are none are a failed check, whatever they are called', () => {
  for (const kind of ['toString', 'constructor', '__proto__', ''])
    assert.deepEqual(failures(rescore(new Uint8Array(0), [], kind as 'nitro')), [
      'evidence.kind:evidence.kind-unknown',
    ]);
});

test('NITRO-14 a serial is a number: the sign octet of its INTEGER does not save it', { skip }, () => {
  const each = vector('prod-2024-12');
  const { certificate } = parseNitroPayload(parseNitroEnvelope(each.bytes).payload);
  const { issuer, serial } = parseCertificate(certificate, '');
  const revoked = [{ issuer, serial: concatBytes(new Uint8Array(1), serial) }];
  const result = appraiseNitro(each.bytes, { ...contextAt(each.expect.verify_at_ms), revoked });
  assert.deepEqual(failures(result), ['nitro.chain.revocation:certificate.revoked']);
});

test('NITRO-27 the cloud is AWS under the root of AWS alone', { skip }, () => {
  const each = vector('prod-2024-12');
  assert.equal(appraiseChanged(each, each.bytes).claims?.cloud, 'aws');
  const foreign = vector('customroot-2024-12');
  const sha256 = fromHex('024a7c97261ad34de885537fa08b8bd35121a28d9dc2017e688e4813fda28c96');
  for (const simulated of [true, false]) {
    const context = contextAt(foreign.expect.verify_at_ms);
    const roots = [AWS_NITRO_ROOT_G1, { sha256, simulated }];
    const { claims } = appraiseNitro(foreign.bytes, { ...context, roots });
    assert.equal(claims?.isSimulated, simulated);
    assert.equal(claims?.cloud, null, 'somebody trusts it: that does not make it a data centre of AWS');
  }
});

test('NITRO-10 names that are too long to be named elsewhere are refused', () => {
  const withName = (length: number) => {
    const { certificates } = mintDevice({ ...HOPPER, model: 'x'.repeat(length) });
    return () => parseCertificate(certificates[3] as Uint8Array, '');
  };
  assert.doesNotThrow(withName(490));
  assert.throws(withName(500), { code: 'certificate.name' });
});

const P384_ORDER =
  0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n;

type Outcome = ReturnType<typeof appraiseNitro>;

/** What to do for each recorded mutation, by the beginning of its text. */
const MUTATIONS: Readonly<Record<string, () => void>> = {
  'flip one bit in payload': () => {
    const { bytes } = genuine();
    for (const at of [12, 400, 2000, bytes.length - 300, bytes.length - 1]) {
      const changed = bytes.slice();
      changed[at] = (changed[at] as number) ^ 1;
      refused(judge(changed));
    }
  },
  'replace signature (r,s)': () => {
    const { bytes } = genuine();
    const s = P384_ORDER - BigInt(`0x${toHex(bytes.subarray(-48))}`);
    const twin = concatBytes(bytes.subarray(0, -48), fromHex(s.toString(16).padStart(96, '0')));
    const result = judge(twin);
    assert.equal(result.verdict.ok, true);
    assert.deepEqual(result.claims?.claimsDigest, judge(bytes).claims?.claimsDigest);
  },
  'append one byte': () => refused(judge(concatBytes(genuine().bytes, Uint8Array.of(0)))),
  'wrap in CBOR tag 18': () => refused(judge(concatBytes(Uint8Array.of(0xd2), genuine().bytes))),
  'protected header alg': () => {
    const rest = genuine().bytes.subarray(7);
    for (const head of ['8443a10126a0', '8440a1013822', '8446a20138220400a0', '8447a2013822028101a0'])
      refused(judge(concatBytes(fromHex(head), rest)));
  },
  'cabundle reordered': () => {
    const { bytes } = genuine();
    const { cabundle, certificate } = parseNitroPayload(parseNitroEnvelope(bytes).payload);
    const [root, second, third] = cabundle as readonly [Uint8Array, Uint8Array, Uint8Array];
    for (const other of [
      [second, root, third, ...cabundle.slice(3)],
      cabundle.slice(1),
      [...cabundle, certificate],
      [],
      Array.from({ length: 9 }, () => root),
    ])
      refusedBefore(judge(withCabundle(bytes, cabundle, other)));
  },
  'verify_at after': () => {
    const { bytes, expect } = genuine();
    for (const iso of [expect.chain_valid_from, expect.chain_valid_to]) {
      const isStart = iso === expect.chain_valid_from;
      refused(appraiseNitro(bytes, contextAt(Date.parse(iso) + (isStart ? -1 : 1))));
    }
  },
  'cabundle entry given as PEM': () => {
    const { bytes } = genuine();
    const { cabundle } = parseNitroPayload(parseNitroEnvelope(bytes).payload);
    const [root, second] = cabundle as readonly [Uint8Array, Uint8Array];
    const base64 = Buffer.from(second).toString('base64');
    const pem = utf8Encode(`-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
    for (const other of [pem, concatBytes(second, Uint8Array.of(0))])
      refusedBefore(judge(withCabundle(bytes, cabundle, [root, other, ...cabundle.slice(2)])));
  },
};

const genuine = () => vector('prod-2024-12');
const judge = (bytes: Uint8Array): Outcome => appraiseChanged(genuine(), bytes);

function refused({ verdict, claims }: Outcome): void {
  assert.equal(verdict.ok, false);
  assert.equal(claims, null);
  assert.equal(failures({ verdict }).length, 1);
}

/** Not for want of a signature: that the payload was changed is not what gives it away. */
function refusedBefore(result: Outcome): void {
  refused(result);
  assert.notEqual(failures(result)[0], 'nitro.signature:nitro.signature');
}

const byteString = (bytes: Uint8Array): Uint8Array => {
  const { length } = bytes;
  if (length < 24) return Uint8Array.of(0x40 | length, ...bytes);
  return length < 256
    ? Uint8Array.of(0x58, length, ...bytes)
    : concatBytes(Uint8Array.of(0x59, length >> 8, length & 0xff), bytes);
};

/** The document with another list of CA certificates in its payload: its signature no longer holds, which is not what refuses it. */
function withCabundle(bytes: Uint8Array, from: readonly Uint8Array[], to: readonly Uint8Array[]): Uint8Array {
  const { payload, signature } = parseNitroEnvelope(bytes);
  const items = (list: readonly Uint8Array[]) => list.map((der) => toHex(byteString(der))).join('');
  const hex = toHex(payload);
  const list = hex.indexOf(items(from));
  assert.ok(list > 2, 'the list is found');
  const isIndefinite = hex.slice(list - 2, list) === '9f';
  const head = isIndefinite ? '9f' : (0x80 | to.length).toString(16);
  const changed = `${hex.slice(0, list - 2)}${head}${items(to)}${hex.slice(list + items(from).length)}`;
  return concatBytes(fromHex('8444a1013822a0'), byteString(fromHex(changed)), fromHex('5860'), signature);
}

test('NITRO-4 NITRO-8 NITRO-23 every recorded mutation has its answer', { skip }, () => {
  const folder =
    process.env['HACA_VECTORS'] ?? new URL('../../../../shared/vectors', import.meta.url).pathname;
  assert.ok(existsSync(folder));
  const { mutations } = JSON.parse(readFileSync(`${folder}/tee/mutations.json`, 'utf8')) as {
    readonly mutations: readonly { readonly kind: string; readonly op: string }[];
  };
  const ops = mutations.filter(({ kind }) => kind.split(',').includes('nitro')).map(({ op }) => op);
  assert.ok(ops.length >= Object.keys(MUTATIONS).length);
  for (const op of ops) {
    const name = Object.keys(MUTATIONS).find((each) => op.startsWith(each));
    assert.ok(name !== undefined, `nothing is done about: ${op}`);
    MUTATIONS[name]?.();
  }
});
