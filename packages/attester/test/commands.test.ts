/** What programs beside the node bring: the bridge to the Nitro Security Module, and the evidence of GPUs. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { decode, fromHex, toHex } from '@haca/primitives';
import { nvidiaDocumentCodec } from '@haca/protocol';
import * as cborg from 'cborg';
import fc from 'fast-check';
import {
  AttesterError,
  type AttesterErrorCode,
  encodeNsmRequest,
  openNitroAttester,
  openNvidiaAttester,
  parseNsmResponse,
  parseNvidiaEvidence,
} from '../src/index.ts';
import { ASKED, vectorPath, vectorsMissing } from './real-vectors.ts';

type Program = readonly [string, ...string[]];

/** A program of this runtime that runs the given statements; `input` is what came on standard input. */
function program(statements: string, ...args: readonly string[]): Program {
  const source = `const input = require('node:fs').readFileSync(0); ${statements}`;
  return [process.execPath, '-e', source, ...args];
}

const says = (bytes: Uint8Array): string => `process.stdout.write(Buffer.from('${toHex(bytes)}', 'hex'));`;

function isRefusal(code: AttesterErrorCode, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof AttesterError, `${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

const DOCUMENT = Uint8Array.from({ length: 300 }, (_, i) => i);
const RESPONSE = cborg.encode({ Attestation: { document: DOCUMENT } });

test('the Nitro request is the one of the module, and its document comes back', async () => {
  assert.deepEqual(cborg.decode(encodeNsmRequest(ASKED)), {
    Attestation: {
      user_data: ASKED.bindingHash,
      nonce: ASKED.refBlockHash,
      public_key: ASKED.signPublicKey,
    },
  });
  const hex = toHex(encodeNsmRequest(ASKED));
  const bridge = program(`if (input.toString('hex') !== '${hex}') process.exit(3); ${says(RESPONSE)}`);
  const attester = openNitroAttester({ bridge });
  assert.deepEqual([attester.kind, attester.isSimulated], ['nitro', false]);
  assert.deepEqual(await attester.attest(ASKED), DOCUMENT);
});

test('answers of the module are read strictly, with and without the lengths of their maps', () => {
  assert.deepEqual(parseNsmResponse(RESPONSE), DOCUMENT);
  const inner = cborg.encode({ document: DOCUMENT });
  const name = cborg.encode('Attestation');
  const open = Buffer.concat(
    [[0xbf], name, [0xbf], inner.subarray(1), [0xff, 0xff]].map((each) => Buffer.from(each)),
  );
  assert.deepEqual(parseNsmResponse(open), DOCUMENT);
  assert.throws(
    () => parseNsmResponse(cborg.encode({ Error: 'InvalidArgument' })),
    isRefusal('attester.refused', /InvalidArgument/),
  );
  const bad: readonly (readonly [Uint8Array, RegExp])[] = [
    [new Uint8Array(0), /ends after 0/],
    [RESPONSE.subarray(0, -1), /ends after/],
    [Buffer.concat([RESPONSE, Uint8Array.of(0)]), /1 bytes follow/],
    [open.subarray(0, -1), /ends after/],
    [open.with(open.length - 1, 0xf6), /more than one entry/],
    [cborg.encode({}), /no map of one entry/],
    [cborg.encode({ Attestation: { document: DOCUMENT }, b: 1 }), /no map of one entry/],
    [cborg.encode({ Other: { document: DOCUMENT } }), /"Other"/],
    [cborg.encode({ Attestation: { other: DOCUMENT } }), /no document/],
    [cborg.encode({ Attestation: { document: 'text' } }), /an item begins with/],
    [cborg.encode({ Attestation: { document: new Uint8Array(0) } }), /document is empty/],
    [cborg.encode(['Attestation']), /no map/],
    [Uint8Array.of(0xa1, 0x7b, 0, 0, 0, 0, 0, 0, 0, 1, 0x41), /a length/],
  ];
  for (const [bytes, message] of bad)
    assert.throws(() => parseNsmResponse(bytes), isRefusal('attester.malformed', message), toHex(bytes));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert.throws(() => parseNsmResponse(bytes), AttesterError);
    }),
    { numRuns: 300 },
  );
});

test('a program that is missing, fails, is silent or talks too much is an error of its own', async () => {
  const ask = (bridge: Program, timeoutMs = 20_000) => openNitroAttester({ bridge, timeoutMs }).attest(ASKED);
  await assert.rejects(
    ask(['/nowhere/nsm-bridge']),
    isRefusal('attester.missing', /build packages\/attester/),
  );
  await assert.rejects(ask([import.meta.filename]), isRefusal('attester.denied', /executable/));
  await assert.rejects(
    ask(program(`console.error('no device'); process.exit(4)`)),
    isRefusal('attester.refused', /status 4: no device/),
  );
  await assert.rejects(
    ask(program('setInterval(() => 0, 1000)'), 300),
    isRefusal('attester.unavailable', /300 ms/),
  );
  await assert.rejects(
    ask(program(`process.stdout.write('x'.repeat(100000)); setInterval(() => 0, 1000)`)),
    isRefusal('attester.malformed', /more than 12288 bytes/),
  );
  // What the program started holds its output open, in its group or out of it.
  for (const detached of [false, true]) {
    const sleeper = `require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(() => 0, 4000)'], { stdio: ['ignore', 'inherit', 'inherit'], detached: ${detached} }).unref(); process.exit(0)`;
    await assert.rejects(
      ask(program(sleeper), 700),
      isRefusal('attester.unavailable', /700 ms/),
      `${detached}`,
    );
  }
  await assert.rejects(ask(program('')), isRefusal('attester.malformed', /ends after 0/));
});

// ---- The bridge itself -----------------------------------------------------------------------------------------------

const GO = ['/usr/local/go/bin/go', '/usr/lib/go/bin/go', '/usr/bin/go'].find((path) => existsSync(path));
const BRIDGE = join(import.meta.dirname, '../nsm-bridge');

function buildBridge(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-nsm-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'nsm-bridge');
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' };
  execFileSync(GO as string, ['build', '-trimpath', '-o', path, '.'], { cwd: BRIDGE, env });
  return path;
}

test(
  'the bridge program builds, and says what is wrong',
  { skip: GO === undefined && 'no Go compiler here' },
  async (t) => {
    const path = buildBridge(t);
    const run = (input: Uint8Array, ...args: readonly string[]) => {
      const { status, stderr, stdout } = spawnSync(path, args, { input });
      return [status, stdout.length, stderr.toString()] as const;
    };
    const file = join(path, '../file');
    writeFileSync(file, '');
    const cases = [
      [run(RESPONSE, '/nowhere/nsm'), /is this a Nitro enclave/],
      [run(RESPONSE, file), /inappropriate ioctl/],
      [run(new Uint8Array(0), file), /has 0$/m],
      [run(new Uint8Array(0x1001), file), /has 4097/],
    ] as const;
    for (const [[status, length, complaint], message] of cases) {
      assert.deepEqual([status, length], [1, 0]);
      assert.match(complaint, message);
    }
    if (!existsSync('/dev/nsm'))
      await assert.rejects(
        openNitroAttester({ bridge: [path] }).attest(ASKED),
        isRefusal('attester.refused', /no Nitro Security Module/),
      );
  },
);

// ---- GPUs ------------------------------------------------------------------------------------------------------------

const HOPPER = vectorPath('nvidia/hopper-590-json.json');

interface GpuJson {
  readonly arch: string;
  readonly certificate: string;
  readonly evidence: string;
  readonly nonce: string;
}

function hopper(): GpuJson {
  return (JSON.parse(readFileSync(HOPPER, 'utf8')) as [GpuJson])[0];
}

test('the evidence of a real GPU comes as documents, root first', { skip: vectorsMissing }, async () => {
  const gpu = hopper();
  const nonce = fromHex(gpu.nonce);
  const print = `process.stdout.write(require('node:fs').readFileSync(${JSON.stringify(HOPPER)}));`;
  const asked = `if (input.toString() !== '${gpu.nonce}\\n' || process.argv[1] !== '${gpu.nonce}') process.exit(5);`;
  const attester = openNvidiaAttester({ command: program(asked + print, '{nonce}') });
  assert.equal(attester.isSimulated, false);
  const [document, ...others] = await attester.attest(nonce);
  assert.equal(others.length, 0);
  const { report, certificates } = decode(nvidiaDocumentCodec, document as Uint8Array, 'document');
  assert.deepEqual(Buffer.from(report).toString('base64'), gpu.evidence);
  assert.equal(certificates.length, 5);
  const pem = Buffer.from(gpu.certificate, 'base64').toString('latin1');
  const first = /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(pem)?.[1]?.replaceAll(/\s/g, '');
  assert.equal(Buffer.from(certificates[4] as Uint8Array).toString('base64'), first);
});

test('GPU evidence that cannot be used is refused', { skip: vectorsMissing }, () => {
  const gpu = hopper();
  const nonce = fromHex(gpu.nonce);
  const parse = (value: unknown, over = nonce) =>
    parseNvidiaEvidence(typeof value === 'string' ? value : JSON.stringify(value), over);
  assert.equal(parse([{ ...gpu, driver_version: '590.12' }]).length, 1);
  const swapped = Buffer.from(gpu.evidence, 'base64');
  swapped[4] = (swapped[4] as number) ^ 1;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const malformed: readonly (readonly [unknown, RegExp])[] = [
    ['', /not JSON/],
    [{}, /a list of/],
    [[], /a list of/],
    [Array.from({ length: 17 }, () => gpu), /a list of/],
    [[null], /GPU 0 is no object/],
    [[{ ...gpu, arch: undefined }], /no arch/],
    [[{ ...gpu, nonce: 7 }], /no arch or nonce/],
    [[{ ...gpu, evidence: '' }], /GPU 0: evidence/],
    [[{ ...gpu, evidence: `${gpu.evidence}\n` }], /not base64/],
    [[{ ...gpu, certificate: base64('nothing') }], /no chain/],
    [
      [{ ...gpu, certificate: base64('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----') }],
      /GPU 0/,
    ],
    [[gpu, gpu], /same document/],
  ];
  for (const [value, message] of malformed)
    assert.throws(() => parse(value), isRefusal('attester.malformed', message), `${message}`);
  const mismatch = isRefusal('attester.mismatch', /answered another nonce/);
  assert.throws(() => parse([gpu], new Uint8Array(32)), mismatch);
  assert.throws(() => parse([{ ...gpu, nonce: '00'.repeat(32) }]), mismatch);
  assert.throws(() => parse([{ ...gpu, evidence: swapped.toString('base64') }]), mismatch);
});
