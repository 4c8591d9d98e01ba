import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runCli } from '@haca/cli';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { fromHex, toHex, utf8Encode } from '@haca/primitives';
import { type DecreeAction, decreeMessage, measurementIdOf } from '@haca/protocol';
import { decreePower, signDecree, type ValidatorEntry, validatorAddressOf } from '@haca/sdk';
import { createTdxPlatform } from '@haca/testkit';

const folder = mkdtempSync(join(tmpdir(), 'haca-decree-'));
process.env['HACA_HOME'] = join(folder, 'nothing-runs-here');
after(() => rmSync(folder, { recursive: true, force: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await runCli(args, {
    out: (line) => void lines.out.push(line),
    err: (line) => void lines.err.push(line),
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

const platform = createTdxPlatform(1_800_000_000_000);
const registers = Object.fromEntries(
  platform.measurement.registers.map(({ register, value }) => [register, toHex(value)]),
);
const PROPOSAL = {
  kind: 'propose-measurement',
  measurement: { kind: 'tdx', name: 'kit-release', registers },
  release: { sourceCommit: 'ab'.repeat(20), recipe: 'build/image.nix', rebuilds: ['cd'.repeat(32)] },
};
const id = 'ef'.repeat(32);
const chip = { vendor: 'intel', id: '07'.repeat(16) };

const ACTIONS: readonly (readonly [object, DecreeAction])[] = [
  [
    { kind: 'disable-proof-kind', proofKind: 'zk' },
    { kind: 'disable-proof-kind', proofKind: 'zk' },
  ],
  [
    { kind: 'enable-proof-kind', proofKind: 'zk' },
    { kind: 'enable-proof-kind', proofKind: 'zk' },
  ],
  [
    PROPOSAL,
    {
      kind: 'propose-measurement',
      measurement: platform.measurement,
      release: {
        sourceCommit: 'ab'.repeat(20),
        recipe: 'build/image.nix',
        rebuilds: [fromHex('cd'.repeat(32))],
      },
      isEmergency: false,
    },
  ],
  [
    { kind: 'deprecate-measurement', measurementId: id.toUpperCase(), height: 9 },
    { kind: 'deprecate-measurement', measurementId: fromHex(id), height: 9 },
  ],
  [
    { kind: 'revoke-measurement', measurementId: id },
    { kind: 'revoke-measurement', measurementId: fromHex(id) },
  ],
  [
    { kind: 'revoke-certificate', issuer: '3000', serial: '0102' },
    { kind: 'revoke-certificate', certificate: { issuer: fromHex('3000'), serial: fromHex('0102') } },
  ],
  [
    { kind: 'set-tcb-floor', product: 'milan', floor: { bootloader: 4, tee: 0, snp: 22, microcode: 213 } },
    {
      kind: 'set-tcb-floor',
      product: 'milan',
      floor: { bootloader: 4, tee: 0, snp: 22, microcode: 213, fmc: null },
    },
  ],
  [
    { kind: 'set-tcb-floor', product: 'turin', floor: null },
    { kind: 'set-tcb-floor', product: 'turin', floor: null },
  ],
  [
    { kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses: ['SWHardeningNeeded', 'UpToDate'] },
    { kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses: ['UpToDate', 'SWHardeningNeeded'] },
  ],
  [
    { kind: 'register-hardware', hardware: chip, provider: 'Example DC 4' },
    {
      kind: 'register-hardware',
      hardware: { vendor: 'intel', id: fromHex(chip.id) },
      provider: 'Example DC 4',
    },
  ],
  [
    { kind: 'unregister-hardware', hardware: chip },
    { kind: 'unregister-hardware', hardware: { vendor: 'intel', id: fromHex(chip.id) } },
  ],
  [
    { kind: 'revoke-hardware', hardware: chip },
    { kind: 'revoke-hardware', hardware: { vendor: 'intel', id: fromHex(chip.id) } },
  ],
];

const make = (action: object | string) =>
  run(
    'decree',
    'make',
    '--chain-id',
    'haca-1',
    '--serial',
    '4',
    '--action',
    typeof action === 'string' ? action : JSON.stringify(action),
  );

test('every action is written down, and the message in the file is what the chain checks', async () => {
  for (const [json, action] of ACTIONS) {
    const { code, out, err } = await make(json);
    assert.equal(code, 0, err);
    const file = JSON.parse(out) as { message: string; action: object };
    assert.equal(file.message, toHex(decreeMessage({ chainId: 'haca-1', serial: 4, action })), action.kind);
    // What a file shows is an action again.
    const again = JSON.parse((await make(file.action)).out) as { message: string };
    assert.equal(again.message, file.message, action.kind);
  }
});

test('an action that is none says which member is wrong', async () => {
  const cases = [
    ['{', /JSON/],
    [{ kind: 'revoke-mesurement' }, /did you mean revoke-measurement\?/],
    [{}, /an action has a "kind"/],
    [{ kind: 'revoke-measurement', measurementId: 'ab' }, /measurementId/],
    [{ kind: 'revoke-measurement', measurementId: id, height: 1 }, /height/],
    [{ kind: 'deprecate-measurement', measurementId: id, height: -1 }, /height/],
    [{ kind: 'deprecate-measurement', measurementId: id, height: '9' }, /height/],
    [{ kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses: ['Revoked'] }, /statuses.0/],
    [{ kind: 'set-tcb-floor', product: 'rome', floor: null }, /product/],
    [{ kind: 'set-tcb-floor', product: 'milan', floor: { bootloader: 256 } }, /bootloader/],
    [{ kind: 'set-tcb-floor', product: 'milan' }, /floor/],
    [{ ...PROPOSAL, measurement: { ...PROPOSAL.measurement, registers: { mrtd: '00' } } }, /rtmr0/],
    [{ ...PROPOSAL, measurement: { ...PROPOSAL.measurement, kind: 'tpm' } }, /kind/],
    [{ ...PROPOSAL, release: { sourceCommit: 'x' } }, /recipe/],
    [{ ...PROPOSAL, isEmergency: 'no' }, /isEmergency/],
    [{ ...PROPOSAL, measurementId: id }, /measurementId/],
    [{ kind: 'register-hardware', hardware: { vendor: 'acme', id: '00' }, provider: 'x' }, /vendor/],
    [{ kind: 'revoke-certificate', file: join(folder, 'none.pem') }, /none\.pem/],
  ] as const;
  for (const [action, expected] of cases) {
    const { code, err } = await make(action);
    assert.equal(code, 2, JSON.stringify(action));
    assert.match(err, expected, JSON.stringify(action));
  }
});

test('a certificate to revoke may be given as a file', async () => {
  const [, { item }] = platform.collateral({ issuedMs: 1_800_000_000_000 }) as [
    unknown,
    { item: { issuerChain: Uint8Array[] } },
  ];
  const path = join(folder, 'ca.der');
  writeFileSync(path, item.issuerChain[1] as Uint8Array);
  const { code, out } = await make({ kind: 'revoke-certificate', file: path });
  assert.equal(code, 0);
  const { action } = JSON.parse(out) as { action: { issuer: string; serial: string } };
  assert.equal(action.serial, '02');
  assert.match(action.issuer, /^30/);
});

const signers = [1, 2, 3, 4, 5, 6].map((byte) => ed25519SignerFromSeed(new Uint8Array(32).fill(byte)));
const entries: readonly ValidatorEntry[] = signers.map(({ publicKey }) => ({
  address: validatorAddressOf(publicKey),
  record: {
    consensusKey: publicKey,
    operator: new Uint8Array(32),
    selfBond: 0n as ValidatorEntry['record']['selfBond'],
    power: 10,
    rewards: 0n as ValidatorEntry['record']['rewards'],
    unbondingDue: [],
  },
  unbonding: [],
}));

function keyFile(index: number): string {
  const path = join(folder, `key-${index}.json`);
  const seed = toHex(new Uint8Array(32).fill(index + 1));
  writeFileSync(path, JSON.stringify({ version: 1, kind: 'haca-validator', seed }), { mode: 0o600 });
  return path;
}

test('validators sign one after the other, each once, and what they sign is in the file', async () => {
  const path = join(folder, 'decree.json');
  const proposal = JSON.stringify(PROPOSAL);
  const flags = ['--chain-id', 'haca-1', '--serial', '4', '--action', proposal, '--out', path];
  assert.equal((await run('decree', 'make', ...flags)).code, 0);
  const again = await run('decree', 'make', ...flags);
  assert.notEqual(again.code, 0, 'a file that is there is not written over');
  for (const index of [0, 1, 1]) {
    const { code, out } = await run('decree', 'sign', '--key', keyFile(index), path);
    assert.equal(code, 0);
    assert.match(out, /propose-measurement/);
    assert.match(out, /kit-release/);
  }
  const file = JSON.parse(readFileSync(path, 'utf8')) as {
    signatures: { validator: string; signature: string }[];
    action: { measurementId: string };
  };
  assert.equal(file.action.measurementId, toHex(measurementIdOf(platform.measurement)));
  assert.equal(file.signatures.length, 2);
  const [, action] = ACTIONS[2] as (typeof ACTIONS)[number];
  const message = decreeMessage({ chainId: 'haca-1', serial: 4, action });
  for (const [i, { signature }] of file.signatures.entries())
    assert.ok(
      nodeCrypto.verifyEd25519(
        (signers[i] as (typeof signers)[number]).publicKey,
        message,
        fromHex(signature),
      ),
    );
});

test('a file whose message or action was changed after it was made is not signed', async () => {
  const path = join(folder, 'changed.json');
  const { out } = await make({ kind: 'revoke-measurement', measurementId: id });
  const changes: readonly ((doc: Record<string, unknown>) => unknown)[] = [
    (doc) => ({ ...doc, message: `00${(doc['message'] as string).slice(2)}` }),
    (doc) => ({ ...doc, serial: 5 }),
    (doc) => ({ ...doc, chainId: 'haca-2' }),
    (doc) => ({ ...doc, action: { kind: 'revoke-measurement', measurementId: 'aa'.repeat(32) } }),
    (doc) => ({ ...doc, kind: 'something' }),
    (doc) => ({ ...doc, more: 1 }),
    (doc) => ({ ...doc, signatures: [{ validator: 'ab', signature: 'cd' }] }),
  ];
  for (const change of changes) {
    writeFileSync(path, JSON.stringify(change(JSON.parse(out) as Record<string, unknown>)));
    const { code, err } = await run('decree', 'sign', '--key', keyFile(0), path);
    assert.equal(code, 2, err);
  }
});

test('power is counted as the chain counts it', () => {
  const revoke = { chainId: 'haca-1', serial: 4, action: (ACTIONS[4] as (typeof ACTIONS)[number])[1] };
  const [, proposal] = ACTIONS[2] as (typeof ACTIONS)[number];
  const fast = { ...revoke, action: { ...proposal, isEmergency: true } as DecreeAction };
  const sign = (decree: typeof revoke, count: number) =>
    decreePower(
      nodeCrypto,
      decree,
      signers.slice(0, count).map((signer) => signDecree(decree, signer)),
      entries,
    );
  assert.equal(sign(revoke, 4).isEnough, false);
  assert.equal(sign(revoke, 5).isEnough, true);
  assert.equal(sign(fast, 5).isEnough, false);
  assert.equal(sign(fast, 6).isEnough, true);
  const [signer] = signers as [(typeof signers)[number]];
  const own = signDecree(revoke, signer);
  const foreign = signDecree(revoke, ed25519SignerFromSeed(new Uint8Array(32).fill(99)));
  const other = signDecree({ ...revoke, serial: 5 }, signer);
  for (const [signatures, refused] of [
    [[own, own], 1],
    [[own, foreign], 1],
    [[other], 1],
    [[own], 0],
  ] as const) {
    const power = decreePower(nodeCrypto, revoke, signatures, entries);
    assert.equal(power.refused.length, refused);
    assert.ok(power.signed <= 10);
  }
});

test('commands of collateral, releases and decrees say what they need', async () => {
  const empty = join(folder, 'empty.txt');
  writeFileSync(empty, utf8Encode('nothing of use'));
  const cases = [
    [['collateral', 'post'], /what to post/],
    [['collateral', 'post', empty], /no collateral in these files/],
    [['collateral', 'post', join(folder, 'gone')], /no such file/],
    [['collateral', 'list'], /npm start/],
    [['collateral', 'pst'], /did you mean collateral post\?/],
    [['measurement', 'show'], /npm start|which one/],
    [['decree', 'make'], /--action is needed/],
    [
      ['decree', 'make', '--serial', 'x', '--action', '{"kind":"revoke-measurement","measurementId":"00"}'],
      /measurementId/,
    ],
    [['decree', 'sign', '--key', 'k'], /one decree file/],
    [['decree', 'submit', join(folder, 'gone.json')], /gone\.json/],
    [['query', 'key-standing', 'abc'], /64 hex digits/],
    [['query', 'hardware', 'acme', '00'], /intel/],
    [['query', 'colateral', id], /did you mean collateral\?/],
    [['chat', 'hi', '--min-tier', 'high', '--rpc', 'http://127.0.0.1:1', '--genesis', '/nowhere'], /nowhere/],
  ] as const;
  for (const [args, expected] of cases) {
    const { code, err } = await run(...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, expected, args.join(' '));
  }
});
