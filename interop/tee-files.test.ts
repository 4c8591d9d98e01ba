/** Evidence of every test enclave through `haca evidence verify`: documents, collateral, roots and policies as files. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runCli } from '@haca/cli';
import { toHex } from '@haca/primitives';
import type { Check, Collateral } from '@haca/protocol';
import { parsePolicy } from '@haca/verifier';
import { ALL_COLLATERAL, intelCollateral, NOW_MS, POLICIES, ROOTS, SHAPES } from './tee-test-world.ts';

const folder = mkdtempSync(join(tmpdir(), 'haca-tee-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function pem(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${base64(der).replaceAll(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;
}

function writeCollateral(name: string, items: readonly Collateral[]): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [i, item] of items.entries()) {
    writeFileSync(
      join(path, `${i}-chain.pem`),
      item.issuerChain.map((der) => pem('CERTIFICATE', der)).join(''),
    );
    if (item.kind === 'intel-crl' || item.kind === 'amd-crl') {
      writeFileSync(join(path, `${i}.crl`), i % 2 === 0 ? item.crl : pem('X509 CRL', item.crl));
      continue;
    }
    const member = item.kind === 'intel-tcb-info' ? 'tcbInfo' : 'enclaveIdentity';
    const body = Buffer.from(item.body).toString();
    writeFileSync(join(path, `${i}.json`), `{"${member}":${body},"signature":"${toHex(item.signature)}"}`);
  }
  return path;
}

const ROOT_FILE = join(folder, 'roots.pem');
writeFileSync(
  ROOT_FILE,
  Object.values(ROOTS)
    .map(({ der }) => pem('CERTIFICATE', der))
    .join(''),
);
const COLLATERAL = writeCollateral('collateral', ALL_COLLATERAL);

/** A policy as a person would write it. */
function asJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (typeof value === 'bigint') return `${value}`;
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value !== 'object' || value === null) return value;
  const { registers, ...members } = value as {
    readonly registers?: readonly { register: string; value: Uint8Array }[];
  };
  const own = Object.fromEntries(Object.entries(members).map(([name, member]) => [name, asJson(member)]));
  if (registers === undefined) return own;
  return {
    ...own,
    registers: Object.fromEntries(registers.map(({ register, value: bytes }) => [register, toHex(bytes)])),
  };
}

interface View {
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly simulated: boolean | null;
  readonly measurement: string | null;
  readonly notes: readonly string[];
}

async function verify(...args: readonly string[]): Promise<View & { readonly code: number }> {
  const lines: string[] = [];
  const code = await runCli(['evidence', 'verify', ...args, '--json'], {
    out: (line) => void lines.push(line),
    err: () => {},
  });
  return { ...(JSON.parse(lines.join('\n')) as View), code };
}

const failures = ({ checks }: View): readonly string[] =>
  checks.filter(({ status }) => status === 'failed').map(({ id }) => id);

test('policies written as JSON are the policies they were written from', () => {
  for (const kind of ['nitro', 'tdx', 'sgx', 'dstack', 'snp', 'nvidia', 'azure'] as const)
    assert.deepEqual(
      parsePolicy(kind, JSON.parse(JSON.stringify(asJson(POLICIES[kind])))),
      POLICIES[kind],
      kind,
    );
});

for (const { name, kind, document } of SHAPES) {
  test(`${name}: accepted with the test roots and marked simulated, refused without`, async () => {
    const file = join(folder, 'document');
    writeFileSync(file, await document());
    const policy = JSON.stringify(asJson(POLICIES[kind as keyof typeof POLICIES]));
    const base = ['--kind', kind, '--file', file, '--at', `${NOW_MS}`, '--policy', policy];
    const accepted = await verify(...base, '--collateral', COLLATERAL, '--roots', ROOT_FILE);
    assert.deepEqual([accepted.code, failures(accepted)], [0, []]);
    assert.equal(accepted.simulated, true);
    assert.ok(accepted.notes.some((note) => note.includes('SIMULATED')));
    const production = await verify(...base, '--collateral', COLLATERAL);
    assert.equal(production.code, 1);
    assert.ok(
      failures(production).some((id) => id.endsWith('.chain.root')),
      failures(production).join(' '),
    );
    if (kind === 'nvidia') return;
    const late = base.with(5, `${NOW_MS + 400 * 86_400_000}`);
    assert.equal((await verify(...late, '--collateral', COLLATERAL, '--roots', ROOT_FILE)).code, 1);
    writeFileSync(file, await document({ debug: true }));
    const debug = await verify(...base, '--collateral', COLLATERAL, '--roots', ROOT_FILE);
    assert.ok(
      failures(debug).some((id) => id.endsWith('.debug')),
      failures(debug).join(' '),
    );
  });
}

test('a platform out of date and collateral behind what is known fail by their own checks', async () => {
  const file = join(folder, 'document');
  const shape = SHAPES.find(({ kind }) => kind === 'tdx');
  assert.ok(shape !== undefined);
  writeFileSync(file, await shape.document());
  const policy = JSON.stringify(asJson(POLICIES.tdx));
  const base = [
    '--kind',
    'tdx',
    '--file',
    file,
    '--at',
    `${NOW_MS}`,
    '--policy',
    policy,
    '--roots',
    ROOT_FILE,
  ];
  const outdated = writeCollateral('outdated', intelCollateral({ platformStatus: 'OutOfDate' }));
  assert.deepEqual(failures(await verify(...base, '--collateral', outdated)), ['tdx.tcb.status']);
  const older = await verify(
    ...base,
    '--collateral',
    writeCollateral('older', intelCollateral({ tcbEvaluationDataNumber: 16 })),
  );
  assert.deepEqual(failures(older), ['tdx.tcb.evaluation-number']);
  const both = await verify(...base, '--collateral', join(folder, 'older'), '--collateral', COLLATERAL);
  assert.equal(both.code, 0, 'of two that hold, the one with the higher evaluation number');
});
