/** Answers of other verifiers to the same cases. Each is installed or built at first use, and none is a dependency. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseQuotePem } from '@haca/verifier';
import { DCAP_QVL, installDcapQvl, openDcapQvl } from '../peers/dcap-qvl/verify.ts';
import { type DifferentialCase, type IntelCase, pemOf } from './cases.ts';
import type { Answer } from './ours.ts';

export interface DifferentialPeer {
  readonly name: string;
  /** Null: this peer is not asked about such a case. */
  readonly answers: (cases: readonly DifferentialCase[]) => readonly (Answer | null)[];
}

export type OpenedPeer = DifferentialPeer | { readonly name: string; readonly missing: string };

/** The three peers; one that could not be had says why. */
export async function openPeers(): Promise<readonly OpenedPeer[]> {
  return [await openQvl(), ...openGoogle()];
}

async function openQvl(): Promise<OpenedPeer> {
  const name = `${DCAP_QVL} 0.3.9`;
  const reason = await installDcapQvl();
  if (reason !== undefined) return { name, missing: reason };
  const qvl = openDcapQvl();
  if ('missing' in qvl) return { name, missing: qvl.missing };
  const answer = (each: IntelCase): Answer => {
    try {
      const { status } = qvl.verify(each.quote, qvlCollateral(each), Math.floor(each.atMs / 1000));
      return { accepted: true, status, reason: '' };
    } catch (error) {
      return {
        accepted: false,
        status: null,
        reason: error instanceof Error ? error.message : String(error),
      };
    }
  };
  return { name, answers: (cases) => cases.map((each) => (each.kind === 'snp' ? null : answer(each))) };
}

const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString('hex');

function qvlCollateral({ collateral }: IntelCase): Readonly<Record<string, string>> {
  const { tcbInfo, qeIdentity, rootCrl, pckCrl, pckChain } = collateral;
  return {
    pck_crl_issuer_chain: pckChain,
    root_ca_crl: hex(rootCrl),
    pck_crl: hex(pckCrl),
    tcb_info_issuer_chain: tcbInfo.chain,
    tcb_info: tcbInfo.body,
    tcb_info_signature: tcbInfo.signature,
    qe_identity_issuer_chain: qeIdentity.chain,
    qe_identity: qeIdentity.body,
    qe_identity_signature: qeIdentity.signature,
  };
}

const SOURCE = join(import.meta.dirname, 'google-verifiers');
const BUILD = join(import.meta.dirname, '../../build/google-verifiers');
const BUILD_TIMEOUT_MS = 240_000;
const ANSWER_TIMEOUT_MS = 300_000;
const GO_PATHS = ['', '/usr/local/go/bin/'];

function openGoogle(): readonly OpenedPeer[] {
  const tdx = 'google/go-tdx-guest v0.3.1';
  const snp = 'google/go-sev-guest v0.15.0';
  const missing = buildGoogle();
  if (missing !== undefined)
    return [
      { name: tdx, missing },
      { name: snp, missing },
    ];
  // Version 0.3.1 knows version 4 of the quote and no other.
  const isAsked = (each: DifferentialCase): boolean => each.kind === 'tdx' && each.vector.startsWith('v4');
  return [
    { name: tdx, answers: (cases) => ask(cases, isAsked) },
    { name: snp, answers: (cases) => ask(cases, ({ kind }) => kind === 'snp') },
  ];
}

/** The reason where there is none. */
function buildGoogle(): string | undefined {
  if (existsSync(BUILD)) return undefined;
  mkdirSync(join(BUILD, '..'), { recursive: true });
  process.stderr.write('building the Go verifiers ...\n');
  for (const path of GO_PATHS) {
    const { status, error, stderr } = spawnSync(`${path}go`, ['build', '-buildvcs=false', '-o', BUILD, '.'], {
      cwd: SOURCE,
      encoding: 'utf8',
      timeout: BUILD_TIMEOUT_MS,
    });
    if (error !== undefined && 'code' in error && error.code === 'ENOENT') continue;
    return status === 0
      ? undefined
      : `go build failed: ${error?.message ?? stderr.trim().split('\n').at(-1)}`;
  }
  return 'Go is not installed';
}

function ask(
  cases: readonly DifferentialCase[],
  isAsked: (each: DifferentialCase) => boolean,
): readonly (Answer | null)[] {
  const asked = cases.filter(isAsked);
  const { status, stdout, stderr, error } = spawnSync(BUILD, [], {
    input: asked.map((each) => `${JSON.stringify(requestOf(each))}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: ANSWER_TIMEOUT_MS,
  });
  if (status !== 0) throw new Error(`the Go verifiers ended with ${error?.message ?? stderr}`);
  // A logger of theirs writes to the same stream.
  const lines = stdout.split('\n').filter((line) => line.startsWith('{"accepted"'));
  const answers = new Map(asked.map((each, at) => [each, answerOf(lines[at] ?? '')]));
  return cases.map((each) => answers.get(each) ?? null);
}

function answerOf(line: string): Answer {
  const { accepted, error } = JSON.parse(line) as { readonly accepted: boolean; readonly error: string };
  // It has judged everything by then, and takes no status but UpToDate.
  const status = /TCB Status is not "UpToDate", found "(\w+)"/.exec(error)?.[1];
  if (status !== undefined) return { accepted: true, status, reason: error };
  return { accepted, status: null, reason: error };
}

function requestOf(each: DifferentialCase): object {
  const base = { kind: each.kind, atSeconds: Math.floor(each.atMs / 1000) };
  if (each.kind === 'snp')
    return { ...base, evidence: base64(each.report), certificate: base64(each.certificate) };
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = each.collateral;
  const text = (name: string, { body, signature }: typeof tcbInfo): string =>
    base64(Buffer.from(`{"${name}":${body},"signature":"${signature}"}`));
  const resources = [
    {
      match: '/tcb?',
      header: { 'Tcb-Info-Issuer-Chain': encodeURIComponent(tcbInfo.chain) },
      body: text('tcbInfo', tcbInfo),
    },
    {
      match: '/qe/identity',
      header: { 'Sgx-Enclave-Identity-Issuer-Chain': encodeURIComponent(qeIdentity.chain) },
      body: text('enclaveIdentity', qeIdentity),
    },
    {
      match: '/pckcrl?',
      header: { 'Sgx-Pck-Crl-Issuer-Chain': encodeURIComponent(pckCaChain(each)) },
      body: base64(pckCrl),
    },
    { match: 'RootCA', header: {}, body: base64(rootCrl) },
  ];
  return {
    ...base,
    evidence: base64(each.quote),
    collateral: resources,
    revocations: rootCrl !== null && pckCrl !== null,
  };
}

function base64(bytes: Uint8Array | null): string {
  return Buffer.from(bytes ?? []).toString('base64');
}

/** The issuers of the PCK certificate as the quote as it was recorded carries them, PCK CA first. */
function pckCaChain({ collateral, quote }: IntelCase): string {
  if (collateral.pckChain !== '') return collateral.pckChain;
  const text = Buffer.from(quote).toString('latin1');
  const start = text.indexOf('-----BEGIN');
  const end = text.lastIndexOf('-----END CERTIFICATE-----') + 25;
  try {
    const [, ca, root] = parseQuotePem(quote.subarray(start, end));
    return ca === undefined || root === undefined ? '' : pemOf(ca) + pemOf(root);
  } catch {
    return '';
  }
}
