/** Evidence through configfs-tsm, against kernels of the tests' own: in memory, and in a folder with the real file operations. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { decode, UsageError } from '@haca/primitives';
import { snpDocumentCodec } from '@haca/protocol';
import { AttesterError, type AttesterErrorCode, openTsmAttester, type TsmOptions } from '../src/index.ts';
import { type FakeGuest, folderTsm, makeFolder, memoryTsm, systemError } from './fake-tsm.ts';
import { ASKED, unsignedQuote, vector, vectorPath, vectorsMissing } from './real-vectors.ts';

const TDX: FakeGuest = { provider: 'tdx_guest', outblob: (inblob) => unsignedQuote(inblob, 4, 3_000) };

async function ask(guest: FakeGuest, options: Partial<TsmOptions> = {}, asked = ASKED): Promise<Uint8Array> {
  const tsm = memoryTsm(guest);
  const attester = openTsmAttester({
    kind: 'tdx',
    retryPauseMs: 1,
    files: tsm.files,
    root: tsm.root,
    ...options,
  });
  try {
    return await attester.attest(asked);
  } finally {
    assert.deepEqual(tsm.entries(), [], 'every entry is removed, whatever happened');
  }
}

async function refused(
  code: AttesterErrorCode,
  message: RegExp,
  guest: FakeGuest,
  options: Partial<TsmOptions> = {},
  asked = ASKED,
): Promise<void> {
  await assert.rejects(ask(guest, options, asked), (error: unknown) => {
    assert.ok(error instanceof AttesterError, `${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('a TDX quote comes without the padding of its host, of version 4 and 5', async () => {
  assert.deepEqual(await ask(TDX), unsignedQuote(ASKED.bindingHash));
  const five = { ...TDX, outblob: (inblob: Uint8Array) => unsignedQuote(inblob, 5, 7) };
  assert.deepEqual(await ask(five), unsignedQuote(ASKED.bindingHash, 5));
});

test('a TDX quote of version 5 has a report of TDX 1.0, 1.5 or 1.5ex, of its length', async () => {
  const lengths = [584, 648, 885];
  for (const [i, bodyBytes] of lengths.entries()) {
    const of = (type: number) => (inblob: Uint8Array) => unsignedQuote(inblob, 5, 9, 200, [type, bodyBytes]);
    const expected = unsignedQuote(ASKED.bindingHash, 5, 0, 200, [i + 2, bodyBytes]);
    assert.deepEqual(await ask({ ...TDX, outblob: of(i + 2) }), expected);
    for (const type of [1, 2, 3, 4, 5])
      if (type !== i + 2)
        await refused('attester.malformed', new RegExp(`type ${type} is no TD report`), {
          ...TDX,
          outblob: of(type),
        });
  }
});

test('the real file operations do the same in a folder', async () => {
  const tsm = folderTsm(TDX);
  try {
    const attester = openTsmAttester({ kind: 'tdx', root: tsm.root, files: tsm.files });
    assert.deepEqual([attester.kind, attester.isSimulated], ['tdx', false]);
    const both = await Promise.all([
      attester.attest(ASKED),
      attester.attest({ ...ASKED, bindingHash: new Uint8Array(64).fill(9) }),
    ]);
    assert.deepEqual(both, [unsignedQuote(ASKED.bindingHash), unsignedQuote(new Uint8Array(64).fill(9))]);
    assert.deepEqual(tsm.entries(), []);
  } finally {
    tsm.remove();
  }
});

test('where there is no such interface the error says what it takes', async () => {
  const attester = openTsmAttester({ kind: 'tdx', root: join(import.meta.dirname, 'no-such-folder') });
  await assert.rejects(attester.attest(ASKED), (error: unknown) => {
    assert.ok(error instanceof AttesterError);
    assert.equal(error.code, 'attester.missing');
    assert.match(error.message, /Linux 6\.7 or later.*tdx_guest/);
    return true;
  });
});

test('a report that somebody else could have asked for is not taken', async () => {
  await refused('attester.mismatch', /counts 2 writes to .* where 1 were made/, {
    ...TDX,
    meddle: (entry) => {
      entry.generation++;
    },
  });
  await refused('attester.mismatch', /the report is over 0909/, {
    ...TDX,
    outblob: () => unsignedQuote(new Uint8Array(64).fill(9)),
  });
});

test('a busy platform is asked again, and not for ever', async () => {
  const good = unsignedQuote(ASKED.bindingHash);
  assert.deepEqual(await ask({ ...TDX, failures: ['EBUSY', 'ETIMEDOUT', 'EINTR'] }), good);
  const failures = ['EBUSY', 'EBUSY', 'EBUSY'];
  await refused('attester.unavailable', /quote generation service/, { ...TDX, failures }, { triesMax: 2 });
  assert.equal(failures.length, 1);
  await refused('attester.refused', /EIO/, { ...TDX, failures: ['EIO'] });
  await refused('attester.denied', /as root/, { ...TDX, failures: ['EACCES'] });
});

test('the errors of making an entry tell what to do', async () => {
  const cases = [
    ['ENXIO', 'attester.missing', /load the module/],
    ['EPERM', 'attester.denied', /run as root/],
    ['EBUSY', 'attester.unavailable', /busy/],
    ['ENOSPC', 'attester.refused', /ENOSPC/],
  ] as const;
  for (const [system, code, message] of cases) {
    const files = {
      ...memoryTsm(TDX).files,
      makeFolder: () => Promise.reject(systemError(system)),
    };
    await refused(code, message, TDX, { files });
  }
});

test('a guest of another kind, and quotes that are none, are refused', async () => {
  await refused('attester.missing', /not a TDX guest.*sev_guest/, { ...TDX, provider: 'sev_guest' });
  await refused('attester.missing', /not an SEV-SNP guest/, TDX, { kind: 'snp' });
  const quote = unsignedQuote(ASKED.bindingHash);
  const change = (at: number, byte: number): Uint8Array => {
    const bytes = unsignedQuote(ASKED.bindingHash, 4, 10);
    bytes[at] = byte;
    return bytes;
  };
  const bad: readonly (readonly [Uint8Array, RegExp])[] = [
    [new Uint8Array(0), /0 bytes are no quote/],
    [quote.subarray(0, 100), /ends after 100 bytes/],
    [quote.subarray(0, quote.length - 1), /states 836 bytes and has 835/],
    [change(0, 3), /version 3/],
    [change(4, 0), /no TDX quote/],
    [change(quote.length + 3, 1), /something follows/],
    [unsignedQuote(ASKED.bindingHash, 5).with(48, 1), /type 1/],
    [unsignedQuote(ASKED.bindingHash, 5).with(50, 1), /type 3/],
  ];
  for (const [bytes, message] of bad)
    await refused('attester.malformed', message, { ...TDX, outblob: () => bytes });
  const long = { ...TDX, outblob: (inblob: Uint8Array) => unsignedQuote(inblob, 4, 0, 24_000) };
  await refused('attester.malformed', /no more than 24576 can be registered/, long);
  for (const generation of [Number.NaN, -1])
    await refused('attester.malformed', /generation/, {
      ...TDX,
      meddle: (entry) => {
        entry.generation = generation;
      },
    });
});

test('requests and options that cannot be are the fault of the caller', async () => {
  for (const [name, bytes] of Object.entries(ASKED))
    await assert.rejects(ask(TDX, {}, { ...ASKED, [name]: bytes.subarray(1) }), UsageError);
  for (const privlevel of [-1, 4, 0.5])
    assert.throws(() => openTsmAttester({ kind: 'snp', privlevel }), UsageError, `${privlevel}`);
  assert.throws(() => openTsmAttester({ kind: 'tdx', privlevel: 0 }), UsageError);
});

// ---- SEV-SNP ---------------------------------------------------------------------------------------------------------

const GUIDS = {
  vcek: '63da758de6644564adc5f4b93be8accd',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  ark: 'c0b406a4a803495297433fb6014cd0ae',
  other: '92f81bc358114d3d97ffd19f88dc67ea',
} as const;

/** The certificate table of the GHCB standardization. */
function certificateTable(entries: readonly (readonly [keyof typeof GUIDS, Uint8Array])[]): Uint8Array {
  const headBytes = 24 * (entries.length + 1);
  const table = new Uint8Array(headBytes + entries.reduce((sum, [, bytes]) => sum + bytes.length, 0));
  const view = new DataView(table.buffer);
  let offset = headBytes;
  for (const [i, [name, bytes]] of entries.entries()) {
    table.set(Buffer.from(GUIDS[name], 'hex'), 24 * i);
    view.setUint32(24 * i + 16, offset, true);
    view.setUint32(24 * i + 20, bytes.length, true);
    table.set(bytes, offset);
    offset += bytes.length;
  }
  return table;
}

function genuineSnp() {
  const report = vector('snp/milan-v2.report.bin');
  const [ask = '', ark = ''] =
    readFileSync(vectorPath('snp/chain-milan.pem'), 'latin1').match(
      /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g,
    ) ?? [];
  const der = (pem: string): Uint8Array => new Uint8Array(new X509Certificate(pem).raw);
  const chain = { ark: der(ark), ask: der(ask), vcek: vector('snp/milan-v2.vek.der') };
  const asked = { ...ASKED, bindingHash: report.slice(0x50, 0x90) };
  const guest: FakeGuest = { provider: 'sev_guest', hasPrivlevel: true, outblob: () => report };
  return {
    report,
    chain,
    asked,
    guest,
    document: { report, certificates: [chain.ark, chain.ask, chain.vcek] },
  };
}

test('an SNP report comes with the chain of the host', { skip: vectorsMissing }, async () => {
  const { chain, asked, guest, document } = genuineSnp();
  const auxblob = certificateTable([
    ['other', Uint8Array.of(1, 2, 3)],
    ['vcek', chain.vcek],
    ['ask', chain.ask],
    ['ark', chain.ark],
  ]);
  const whole = { ...guest, auxblob };
  assert.deepEqual(decode(snpDocumentCodec, await ask(whole, { kind: 'snp' }, asked), 'document'), document);
  const levels: (number | null)[] = [];
  const watched: FakeGuest = {
    ...whole,
    outblob: (inblob, privlevel) => {
      levels.push(privlevel);
      return guest.outblob(inblob, privlevel);
    },
  };
  await ask(watched, { kind: 'snp', privlevel: 2 }, asked);
  assert.deepEqual(levels, [2]);
  const tsm = folderTsm(whole);
  try {
    const attester = openTsmAttester({ kind: 'snp', root: tsm.root, files: tsm.files });
    assert.deepEqual(decode(snpDocumentCodec, await attester.attest(asked), 'document'), document);
  } finally {
    tsm.remove();
  }
});

test(
  'what the host does not bring comes from the folder of the operator',
  { skip: vectorsMissing },
  async () => {
    const { chain, asked, guest, document } = genuineSnp();
    const certificatesDir = makeFolder();
    try {
      writeFileSync(join(certificatesDir, 'chain.pem'), readFileSync(vectorPath('snp/chain-milan.pem')));
      writeFileSync(join(certificatesDir, 'genoa.pem'), readFileSync(vectorPath('snp/chain-genoa.pem')));
      writeFileSync(join(certificatesDir, 'notes.txt'), 'no certificate');
      const options = { kind: 'snp', certificatesDir } as const;
      await refused(
        'attester.certificates',
        /<Milan or Genoa>\/d49554ec[0-9a-f]{120}\?blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115\)/,
        guest,
        options,
        asked,
      );
      const auxblob = certificateTable([['vcek', chain.vcek]]);
      assert.deepEqual(
        decode(snpDocumentCodec, await ask({ ...guest, auxblob }, options, asked), 'document'),
        document,
      );
      writeFileSync(join(certificatesDir, 'vcek.der'), chain.vcek);
      for (const auxblob of [undefined, new Uint8Array(0)]) {
        const given = auxblob === undefined ? guest : { ...guest, auxblob };
        assert.deepEqual(decode(snpDocumentCodec, await ask(given, options, asked), 'document'), document);
      }
      writeFileSync(join(certificatesDir, 'broken.crt'), 'broken');
      await refused('attester.certificates', /broken\.crt holds no certificate/, guest, options, asked);
    } finally {
      rmSync(certificatesDir, { recursive: true, force: true });
    }
  },
);

test('SNP evidence that is not whole is refused with the reason', { skip: vectorsMissing }, async () => {
  const { report, chain, asked, guest } = genuineSnp();
  const snp = { kind: 'snp' } as const;
  await refused('attester.certificates', /gives no certificates, no folder/, guest, snp, asked);
  const withTable = (auxblob: Uint8Array): FakeGuest => ({ ...guest, auxblob });
  const two = certificateTable([
    ['vcek', chain.vcek],
    ['ark', chain.ark],
  ]);
  await refused('attester.certificates', /ASK or ASVK/, withTable(two), snp, asked);
  const rootless = certificateTable([
    ['vcek', chain.vcek],
    ['ask', chain.ask],
  ]);
  await refused('attester.certificates', /ARK of the product line/, withTable(rootless), snp, asked);
  await refused('attester.malformed', /inside its list/, withTable(two.subarray(0, 20)), snp, asked);
  await refused('attester.malformed', /reaches beyond/, withTable(two.subarray(0, 100)), snp, asked);
  const endless = Uint8Array.from({ length: 24 * 40 }, (_, i) => (i % 24 < 16 ? 1 : 0));
  await refused('attester.malformed', /more than 32/, withTable(endless), snp, asked);
  const short = { ...guest, outblob: () => report.subarray(1) };
  await refused('attester.malformed', /has 1183/, short, snp, asked);
  await refused('attester.mismatch', /the report is over/, guest, snp);
  await refused(
    'attester.certificates',
    /VCEK: https/,
    { ...withTable(two), outblob: () => report.with(0x90, 1) },
    snp,
    asked,
  );
});
