/** `haca evidence verify` as outsiders call it: exit codes, output for people and for machines, everything that can be mistyped. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { runCli } from '@haca/cli';
import type { Check, EvidenceKind } from '@haca/protocol';
import fc from 'fast-check';

const ROOT = resolve(import.meta.dirname, '../../..');
const VECTORS = join(process.env['HACA_VECTORS'] ?? join(ROOT, '../shared/vectors'), 'tee');
const skip = existsSync(VECTORS) ? false : `no genuine evidence at ${VECTORS}`;
const work = mkdtempSync(join(tmpdir(), 'haca-evidence-'));
after(() => rmSync(work, { recursive: true, force: true }));

const vector = (path: string): string => join(VECTORS, path);
const WAIVED = '{"others":"any"}';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: readonly string[]): Promise<Ran> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await runCli(['evidence', 'verify', ...args], {
    out: (line) => void lines.out.push(line),
    err: (line) => void lines.err.push(line),
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

interface View {
  readonly kind: string;
  readonly atMs: number;
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly measurement: string | null;
  readonly simulated: boolean | null;
  readonly claims: Readonly<Record<string, unknown>> | null;
  readonly collateral: {
    readonly used: readonly string[];
    readonly ignored: readonly { readonly name: string }[];
  };
  readonly notes: readonly string[];
}

async function runJson(...args: readonly string[]): Promise<View & { readonly code: number }> {
  const { code, out, err } = await run(...args, '--json');
  assert.equal(err, '');
  return { ...(JSON.parse(out) as View), code };
}

interface Manifest {
  readonly vectors: readonly {
    readonly id: string;
    readonly files: readonly { readonly file: string }[];
    readonly expect: Readonly<Record<string, unknown>>;
  }[];
}

function manifest(kind: EvidenceKind): Manifest['vectors'] {
  return (JSON.parse(readFileSync(vector(`${kind}/manifest.json`), 'utf8')) as Manifest).vectors;
}

/** A folder with these files and no others. */
function folderOf(paths: readonly string[]): string {
  const folder = mkdtempSync(join(work, 'own-'));
  for (const path of paths) cpSync(path, join(folder, path.slice(path.lastIndexOf('/') + 1)));
  return folder;
}

/** Exit codes at the recorded time with everything waived that a caller would have to know. 3: no revocation list is there. */
const EXPECTED: Readonly<Record<string, readonly [own: number, folder: number]>> = {
  'tdx v4-uptodate-2025-06': [0, 0],
  'tdx v5-uptodate-2026-02': [0, 0],
  'tdx v5-nomatch-2026-02': [1, 1],
  'tdx v4-outofdate-padded-2025-06': [1, 1],
  'tdx v4-nomatch-2023-06': [1, 1],
  'tdx v4-debug-2023': [1, 1],
  'tdx v4-azure-noseptve-2025-10': [1, 1],
  'tdx intel-sample-testroot': [1, 1],
  'sgx v3-confsw-2025-06': [1, 1],
  'sgx v3-swhardening-2025-08': [1, 1],
  'sgx v3-debug-2025-06': [1, 1],
  'snp milan-v2': [3, 3],
  'snp milan-v2-debug': [1, 1],
  'snp milan-v2-azure-wrongvcek-legacy': [1, 1],
  'nvidia hopper-550': [0, 0],
  'nvidia blackwell-575': [0, 0],
  'nvidia hopper-badsig': [1, 1],
  'nvidia hopper-590-json': [0, 0],
  'nvidia switch-ls10-json': [0, 0],
  'nvidia nras-eat-hopper-2025-06': [3, 3],
  'dstack quote-report': [3, 3],
  'azure snp-vtpm-2023': [3, 3],
  'azure tdx-vtpm-2023': [3, 3],
  'nitro prod-2022-10-pcr8': [0, 0],
  'nitro debug-2022-10': [1, 1],
  'nitro prod-2025-11-indef-pcr16': [0, 0],
  'nitro prod-2024-04': [0, 0],
  'nitro prod-2024-12': [0, 0],
  'nitro customroot-2024-12': [1, 1],
};
/** Statuses that recorded outcomes have and that a caller may choose to accept. */
const STATUSES: Readonly<Record<string, string>> = {
  'tdx v4-outofdate-padded-2025-06': 'OutOfDate',
  'tdx v4-azure-noseptve-2025-10': 'OutOfDate',
  'sgx v3-confsw-2025-06': 'ConfigurationAndSWHardeningNeeded',
  'sgx v3-swhardening-2025-08': 'SWHardeningNeeded',
};
const DATES: Readonly<Record<string, number>> = {
  'nvidia nras-eat-hopper-2025-06': 1_749_602_000_000,
  'dstack quote-report': 1_760_000_000_000,
};
const KINDS = ['nitro', 'tdx', 'sgx', 'snp', 'nvidia', 'dstack', 'azure'] as const;

function recordedMs(name: string, expect: Readonly<Record<string, unknown>>): number {
  const { verify_at_ms: ms, verify_at_s: seconds } = expect;
  if (typeof ms === 'number') return ms;
  if (typeof seconds === 'number') return seconds * 1000;
  return DATES[name] ?? 1_750_000_000_000;
}

test(
  'every genuine vector of every kind gives its outcome, with its own files and with all of its kind',
  { skip },
  async () => {
    const seen: string[] = [];
    for (const kind of KINDS) {
      for (const { id, files, expect } of manifest(kind)) {
        const name = `${kind} ${id}`;
        const expected = EXPECTED[name];
        if (expected === undefined) continue;
        seen.push(name);
        const paths = files.map(({ file }) => vector(`${kind}/${file}`));
        const at = `${recordedMs(name, expect)}`;
        const base = ['--kind', kind, '--file', paths[0] as string, '--at', at];
        for (const [i, collateral] of [folderOf(paths), vector(kind)].entries()) {
          const { code, ok, checks } = await runJson(...base, '--collateral', collateral, '--policy', WAIVED);
          assert.equal(
            code,
            expected[i],
            `${name} ${collateral}: ${checks
              .filter(({ status }) => status === 'failed')
              .map((check) => check.id)
              .join(' ')}`,
          );
          assert.equal(ok, code === 0, name);
          const unexpected = await run(...base, '--collateral', collateral);
          assert.notEqual(unexpected.code, 0, `${name}: nothing is accepted without expectations`);
        }
        const accepted = STATUSES[name];
        if (accepted === undefined) continue;
        const policy = JSON.stringify({ others: 'any', tcbStatuses: [accepted] });
        const lenient = await runJson(...base, '--collateral', folderOf(paths), '--policy', policy);
        assert.ok(lenient.code === 0 || lenient.code === 3, `${name} ${lenient.code}`);
      }
    }
    assert.deepEqual(seen.toSorted(), Object.keys(EXPECTED).toSorted());
  },
);

const TDX = ['--kind', 'tdx', '--file', vector('tdx/v4-uptodate-2025-06.quote.bin'), '--at', '1750332747000'];
const BUNDLE = vector('tdx/v4-uptodate-2025-06.collateral.json');

test(
  'a bundle alone, its pieces in files, several flags, a folder below a folder: the same',
  { skip },
  async () => {
    const expected = await runJson(...TDX, '--collateral', BUNDLE, '--policy', WAIVED);
    assert.equal(expected.code, 0);
    const bundle = JSON.parse(readFileSync(BUNDLE, 'utf8')) as Record<string, string>;
    const folder = join(work, 'pieces');
    mkdirSync(join(folder, 'deep/er'), { recursive: true });
    const tcb = `{"tcbInfo":${bundle['tcb_info']},"signature":"${bundle['tcb_info_signature']}"}`;
    const qe = `{"enclaveIdentity":${bundle['qe_identity']},"signature":"${bundle['qe_identity_signature']}"}`;
    writeFileSync(join(folder, 'one'), tcb);
    writeFileSync(join(folder, 'deep/two'), qe);
    writeFileSync(join(folder, 'deep/er/three'), Buffer.from(bundle['root_ca_crl'] as string, 'hex'));
    writeFileSync(join(folder, 'deep/er/four'), bundle['pck_crl'] as string);
    writeFileSync(join(folder, 'five.txt'), bundle['tcb_info_issuer_chain'] as string);
    writeFileSync(join(folder, 'README.md'), 'about this folder');
    writeFileSync(join(folder, '.hidden'), 'left alone');
    symlinkSync('deep', join(folder, 'again'));
    symlinkSync('..', join(folder, 'deep/round'));
    symlinkSync('nowhere', join(folder, 'broken'));
    symlinkSync('self', join(folder, 'self'));
    const pieces = await runJson(...TDX, '--collateral', folder, '--policy', WAIVED);
    assert.deepEqual([pieces.code, pieces.checks], [0, expected.checks]);
    assert.deepEqual(
      pieces.collateral.ignored.map(({ name }) => name),
      ['README.md'],
    );
    const flags = ['one', 'deep/two', 'deep/er/three', 'deep/er/four', 'five.txt'].flatMap((name) => [
      '--collateral',
      join(folder, name),
    ]);
    assert.deepEqual((await runJson(...TDX, ...flags, '--policy', WAIVED)).checks, expected.checks);
  },
);

test('what has to match is matched, by name, and a waiver is not a pass', { skip }, async () => {
  const { claims } = await runJson(...TDX, '--collateral', BUNDLE, '--policy', WAIVED);
  const registers = claims?.['registers'] as Readonly<Record<string, string>>;
  const tuple = Object.fromEntries(
    ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'].map((name) => [name, registers[name]]),
  );
  const policy = (more: object): string[] => [
    '--collateral',
    BUNDLE,
    '--policy',
    JSON.stringify({ others: 'any', ...more }),
  ];
  const release = { name: 'release 7', registers: tuple };
  const matched = await runJson(
    ...TDX,
    ...policy({ measurements: [release], reportData: claims?.['reportData'] }),
  );
  assert.deepEqual([matched.code, matched.measurement], [0, 'release 7']);
  assert.equal(
    (
      await run(
        ...TDX,
        ...policy({ measurements: [{ ...release, registers: { ...tuple, rtmr3: 'ff'.repeat(48) } }] }),
      )
    ).code,
    1,
  );
  assert.equal((await run(...TDX, ...policy({ reportData: '00'.repeat(64) }))).code, 1);
  assert.equal((await run(...TDX, ...policy({ minTcbEvaluationDataNumber: 18 }))).code, 1);
  assert.equal((await run(...TDX, ...policy({ minTcbEvaluationDataNumber: 17 }))).code, 0);
  const file = join(work, 'policy.json');
  writeFileSync(file, `\ufeff${JSON.stringify({ others: 'any', measurements: [release] })}`);
  assert.equal((await runJson(...TDX, '--collateral', BUNDLE, '--policy', file)).measurement, 'release 7');
});

test(
  'output for people leads with the verdict, says what was not checked, and has no colours off a terminal',
  { skip },
  async () => {
    const accepted = await run(...TDX, '--collateral', BUNDLE, '--policy', WAIVED);
    const [first, second] = accepted.out.split('\n');
    assert.match(first ?? '', /^evidence +Intel TDX quote, version 4$/);
    assert.match(second ?? '', /^verdict +ACCEPTED: \d+ checks passed$/);
    assert.match(accepted.out, /^TCB +UpToDate, level of 2024-03-13/m);
    assert.match(accepted.out, /^measured +mrtd 91eb2b44/m);
    assert.ok(!accepted.out.includes('\u001b'));
    const expired = await run(...TDX.with(5, '1760000000000'), '--collateral', BUNDLE);
    assert.match(expired.out, /expected 2025-07-19T\S+ or earlier, got 2025-10-09T/);
    const open = await run(...TDX);
    assert.match(open.out, /^verdict +INCOMPLETE/m);
    assert.match(open.out, /^NOT checked +.*no revocation list/m);
    const rejected = await run(
      '--kind',
      'tdx',
      '--file',
      vector('tdx/v4-debug-2023.quote.bin'),
      '--at',
      '1773703290000',
      '--collateral',
      vector('tdx'),
    );
    assert.match(rejected.out, /^verdict +REJECTED/m);
    assert.match(
      rejected.out,
      /^✗ tdx\.debug {2}intel\.debug-mode: expected no debug bit, got 0100001000000000$/m,
    );
    const lines: string[] = [];
    await runCli(['evidence', 'verify', ...TDX], {
      out: (line) => void lines.push(line),
      err: () => {},
      isTerminal: true,
    });
    assert.ok(lines.some((line) => line.includes('\u001b[33m')));
  },
);

test('output for machines has one form', { skip }, async () => {
  const view = await runJson(...TDX, '--collateral', vector('tdx'));
  const { code, ...members } = view;
  assert.equal(code, 3);
  assert.deepEqual(Object.keys(members), [
    'kind',
    'atMs',
    'ok',
    'checks',
    'measurement',
    'simulated',
    'claims',
    'collateral',
    'notes',
  ]);
  assert.deepEqual(
    [view.kind, view.atMs, view.ok, view.measurement, view.simulated],
    ['tdx', 1_750_332_747_000, false, null, false],
  );
  assert.ok(view.collateral.used.includes('v4-uptodate-2025-06.collateral.json#tcb_info'));
  assert.ok(view.collateral.ignored.some(({ name }) => name === 'manifest.json'));
  assert.deepEqual(view.notes, ['stripped 70 zero bytes after the quote']);
  for (const { id, status } of view.checks) {
    assert.match(id, /^(evidence|tdx)\./);
    assert.ok(['passed', 'failed', 'skipped', 'not-applicable'].includes(status));
  }
});

test(
  'malformed evidence is a verdict with the check, what was expected and what came',
  { skip },
  async () => {
    const quote = readFileSync(TDX[3] as string);
    const cases: Readonly<Record<string, Uint8Array>> = {
      empty: new Uint8Array(0),
      cut: quote.subarray(0, 1000),
      'one byte more': Buffer.concat([quote.subarray(0, 4936), Buffer.from([1])]),
      text: Buffer.from('this is no quote'),
      'half hex': Buffer.from(quote.toString('hex').slice(1)),
      json: Buffer.from('{"quote": 7}'),
      'deep json': Buffer.from('['.repeat(100_000)),
      zeros: new Uint8Array(4936),
      large: new Uint8Array(4 * 1024 * 1024).fill(0x30),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      const file = join(work, 'malformed');
      writeFileSync(file, bytes);
      for (const kind of KINDS) {
        const { code, checks, ok, claims } = await runJson(
          '--kind',
          kind,
          '--file',
          file,
          '--at',
          '1750332747000',
        );
        const isQuoteInFront = name === 'one byte more' && kind === 'tdx';
        assert.deepEqual([code, ok], [1, false], `${name} as ${kind}`);
        assert.equal(
          claims !== null,
          isQuoteInFront,
          'only a whole quote is judged beside what is behind it',
        );
        const [failure] = checks.filter(({ status }) => status === 'failed');
        assert.ok(
          failure?.code !== undefined && failure.expected !== undefined && failure.got !== undefined,
          `${name} as ${kind}`,
        );
      }
    }
  },
);

test(
  'what is mistyped or unreadable is exit code 2, says what to do, and shows no stack',
  { skip },
  async () => {
    const [quote, at] = [TDX[3] as string, TDX[5] as string];
    const malformed = join(work, 'bad.json');
    writeFileSync(malformed, '{"measurements": [');
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [[], /--file is needed/],
      [['--file', quote, '--at', at], /--kind is needed; the file looks like tdx/],
      [['--kind', 'tdx', '--at', at], /--file is needed/],
      [['--kind', 'tdx', '--file', quote], /--at is needed/],
      [['--kind', 'tdxx', '--file', quote, '--at', at], /did you mean tdx\?/],
      [['--kind', 'sev', '--file', quote, '--at', at], /did you mean snp\?/],
      [['--kind', 'tdx', '--file', quote, '--at', '-1'], /--at/],
      [['--kind', 'tdx', '--file', quote, '--at', 'now'], /milliseconds since 1970/],
      [['--kind', 'tdx', '--file', quote, '--at', '2025-06-19T11:32:27Z'], /is 1750332747000/],
      [['--kind', 'tdx', '--file', quote, '--at', '1.5'], /digits only/],
      [['--kind', 'tdx', '--file', quote, '--at', '1e12'], /digits only/],
      [['--kind', 'tdx', '--file', quote, '--at', ''], /digits only/],
      [['--kind', 'tdx', '--file', join(work, 'nothing'), '--at', at], /there is no such file/],
      [['--kind', 'tdx', '--file', work, '--at', at], /it is a folder/],
      [['--kind', 'tdx', '--file', quote, quote, '--at', at], /one file of evidence at a time/],
      [
        ['--kind', 'tdx', '--file', quote, '--at', at, '--collateral', join(work, 'nothing')],
        /there is no such file/,
      ],
      [
        ['--kind', 'tdx', '--file', quote, '--at', at, '--roots', join(work, 'nothing')],
        /there is no such file/,
      ],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--roots', malformed], /certificates in PEM or DER/],
      [
        ['--kind', 'tdx', '--file', quote, '--at', at, '--policy', join(work, 'nothing')],
        /there is no such file/,
      ],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--policy', malformed], /policy.malformed/],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--policy', '{'], /a JSON object/],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--policy', '[]'], /a JSON object/],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--policy', '{"nonce":"00"}'], /reportData/],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--policy', '{"reportData":"00"}'], /64 bytes/],
      [
        [
          '--kind',
          'tdx',
          '--file',
          quote,
          '--at',
          at,
          '--policy',
          '{"measurements":[{"registers":{"mrtd":"00"}}]}',
        ],
        /no rtmr0/,
      ],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--time', at], /unknown flag --time/],
      [['--kind', 'tdx', '--file', quote, '--at', at, '--collaterals', work], /did you mean --collateral\?/],
      [['--kind', 'tdx', '--file', vector('azure/tdx-vtpm-2023.json'), '--at', at], /--kind azure/],
      [['--kind', 'snp', '--file', vector('azure/snp-vtpm-2023.json'), '--at', at], /--kind azure/],
      [['--kind', 'nitro', '--file', vector('dstack/quote-report.json'), '--at', at], /--kind dstack/],
    ];
    for (const [args, expected] of cases) {
      const { code, err, out } = await run(...args);
      assert.equal(code, 2, `${args.join(' ')}\n${out}${err}`);
      assert.match(err, expected);
      assert.ok(!/\n\s+at /.test(err), err);
      const json = await run(...args, '--json');
      assert.deepEqual([json.code, (JSON.parse(json.out) as { ok: boolean }).ok], [2, false]);
    }
  },
);

test(
  'the file may stand without its flag, and come from standard input; a device without an end is refused',
  { skip },
  async () => {
    const { code } = await run('--kind', 'tdx', TDX[3] as string, '--at', TDX[5] as string);
    assert.equal(code, 3);
    const main = join(ROOT, 'packages/cli/src/main.ts');
    const args = [
      main,
      'evidence',
      'verify',
      '--kind',
      'tdx',
      '--file',
      '-',
      '--at',
      TDX[5] as string,
      '--json',
    ];
    const piped = spawnSync(process.execPath, args, {
      input: readFileSync(TDX[3] as string),
      encoding: 'utf8',
    });
    assert.equal(piped.status, 3, piped.stderr);
    assert.equal((JSON.parse(piped.stdout) as View).kind, 'tdx');
    if (!existsSync('/dev/zero')) return;
    const endless = await run('--kind', 'tdx', '--file', '/dev/zero', '--at', '1');
    assert.equal(endless.code, 2);
    assert.match(endless.err, /more than/);
    assert.equal((await run(...TDX, '--collateral', '/dev/zero')).code, 2);
  },
);

test('roots of others are trusted only aloud', { skip }, async () => {
  const document = vector('nitro/customroot-2024-12.bin');
  const base = [
    '--kind',
    'nitro',
    '--file',
    document,
    '--at',
    '1734080745008',
    '--policy',
    '{"others":"any","allowDebug":true}',
  ];
  assert.equal((await runJson(...base)).code, 1);
  const pem = join(work, 'root.pem');
  writeFileSync(pem, rootOf(readFileSync(document)));
  const trusted = await runJson(...base, '--roots', pem);
  assert.deepEqual([trusted.code, trusted.simulated], [0, true]);
  assert.match(
    (await run(...base, '--roots', pem)).out,
    /SIMULATED[\s\S]*tee-simulated|tee-simulated[\s\S]*SIMULATED/,
  );
});

/** The first certificate of the document's bundle, in PEM. */
function rootOf(document: Uint8Array): string {
  const bytes = Buffer.from(document);
  const at = bytes.indexOf('cabundle') + 'cabundle'.length;
  const start = bytes.indexOf(Buffer.from([0x30, 0x82]), at);
  const der = bytes.subarray(start, start + 4 + bytes.readUInt16BE(start + 2));
  const lines = der.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

test('any arguments end in an exit code, without a stack', { skip }, async () => {
  const word = fc.oneof(
    fc.constantFrom(
      ...KINDS,
      '--kind',
      '--file',
      '--at',
      '--collateral',
      '--roots',
      '--policy',
      '--json',
      '-',
      '',
      '0',
      '{}',
      '{"others":"any"}',
      '\u0000',
      '../',
      work,
      TDX[3] as string,
      BUNDLE,
    ),
    fc.string({ maxLength: 6 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 8 }), async (words) => {
      const args = words.filter((each, i) => each !== '-' && !(words[i - 1] === '--file' && each === '-'));
      const { code, err } = await run(...args);
      assert.ok([0, 1, 2, 3].includes(code));
      assert.ok(!/\n\s+at .*\.ts:/.test(err), err);
    }),
    { numRuns: 200 },
  );
});

test('manifests of NVIDIA are taken from --collateral, and what does not fit is said', { skip }, async () => {
  const base = ['--kind', 'nvidia', '--file', vector('nvidia/hopper-550.report.hex.txt')];
  const manifest = vector('nvidia/rim-vbios-1010_0200_882_96005E0001.swidtag');
  const collateral = ['--collateral', vector('nvidia/hopper-550.chain.pem'), '--collateral', manifest];
  const asked = ['--policy', '{"manifests":"required","others":"any"}'];
  const view = await runJson(...base, '--at', `${Date.UTC(2024, 0, 1)}`, ...collateral, ...asked);
  assert.equal(view.code, 1);
  const statusOf = (id: string): string | undefined => view.checks.find((check) => check.id === id)?.status;
  assert.equal(statusOf('nvidia.rim.vbios.authentic'), 'passed');
  assert.equal(statusOf('nvidia.rim.vbios.product'), 'passed');
  assert.equal(statusOf('nvidia.rim.vbios.version'), 'failed');
  assert.equal(statusOf('nvidia.rim.vbios.window'), 'passed');
  assert.equal(statusOf('nvidia.rim.driver.authentic'), 'skipped');
  assert.equal(statusOf('nvidia.rim.measurements'), 'skipped');
  assert.ok(view.collateral.used.some((name) => name.endsWith('.swidtag')));
  const late = await run(...base, '--at', `${Date.UTC(2026, 10, 20)}`, ...collateral, ...asked);
  assert.equal(late.code, 1);
  assert.match(late.out, /nvidia\.rim\.vbios\.version.*96\.00\.9F\.00\.01.*96\.00\.5E\.00\.01/);
  assert.match(late.out, /nvidia\.rim\.vbios\.window.*certificate\.expired: expected 2026-11-11T23:59:59/);
  assert.match(late.out, /no manifest for driver 550\.90\.07 of GH100/);
  const waived = await runJson(
    ...base,
    '--at',
    `${Date.UTC(2026, 10, 20)}`,
    ...collateral,
    '--policy',
    WAIVED,
  );
  assert.equal(waived.code, 0);
});
