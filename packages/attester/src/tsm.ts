/**
 * Evidence through configfs-tsm, the interface of Linux 6.7 and later for confidential guests (kernel documentation,
 * ABI/testing/configfs-tsm): TDX quotes and SEV-SNP reports. An entry of its own for each request, removed afterwards.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { encode, toHex, UsageError } from '@haca/primitives';
import { snpDocumentCodec } from '@haca/protocol';
import {
  type Attester,
  AttesterError,
  messageOf,
  requireDocumentSize,
  requireRequest,
  systemCode,
} from './attester.ts';
import { type SnpCertificateSource, snpCertificateChain } from './snp-certificates.ts';
import { requireReportData, trimTdxQuote } from './tdx-quote.ts';
import { nodeTsmFiles, type TsmFiles } from './tsm-files.ts';

export const TSM_REPORT_ROOT = '/sys/kernel/config/tsm/report';

export interface TsmOptions {
  /** Which guest this is; what the kernel says must agree. */
  readonly kind: 'tdx' | 'snp';
  /** The folder of the interface; `TSM_REPORT_ROOT` without. */
  readonly root?: string;
  /** SNP: the VMPL to ask for, 0 to 3; the kernel's own choice without. */
  readonly privlevel?: number;
  /** SNP: a folder with certificates (ARK, ASK or ASVK, VCEK or VLEK; PEM or DER) for what the host does not bring. */
  readonly certificatesDir?: string;
  /** Pause before asking again where the kernel is busy, and how often; 200 ms and 5 without. */
  readonly retryPauseMs?: number;
  readonly triesMax?: number;
  readonly files?: TsmFiles;
}

/** The kernel gives out no more than 32 KiB of either. */
const BLOB_MAX_BYTES = 32 * 1024;
const TEXT_MAX_BYTES = 4_096;
const SNP_REPORT_BYTES = 1_184;
const SNP_REPORT_DATA_AT = 0x50;
const PROVIDERS = { tdx: 'tdx_guest', snp: 'sev_guest' } as const;
const PRIVLEVEL_MAX = 3;

export function openTsmAttester(options: TsmOptions): Attester {
  const { kind, privlevel, retryPauseMs = 200, triesMax = 5 } = options;
  if (privlevel !== undefined && (kind !== 'snp' || !isPrivlevel(privlevel)))
    throw new UsageError('a privilege level is 0 to 3, and of SNP guests');
  return {
    kind,
    isSimulated: false,
    attest: async (request) => {
      requireRequest(request);
      for (let tries = 1; ; tries++) {
        try {
          return requireDocumentSize(await askOnce(options, request.bindingHash));
        } catch (error) {
          if (!(error instanceof AttesterError) || error.code !== 'attester.unavailable') throw error;
          if (tries >= triesMax) throw error;
        }
        await delay(retryPauseMs);
      }
    },
  };
}

function isPrivlevel(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= PRIVLEVEL_MAX;
}

async function askOnce(options: TsmOptions, reportData: Uint8Array): Promise<Uint8Array> {
  const { root = TSM_REPORT_ROOT, files = nodeTsmFiles } = options;
  const entry = `${root}/haca-${toHex(randomBytes(12))}`;
  await files.makeFolder(entry).catch((error: unknown) => {
    throw entryError(root, error);
  });
  try {
    return await readReport(options, files, entry, reportData);
  } finally {
    await files.removeFolder(entry).catch(() => undefined);
  }
}

async function readReport(
  { kind, privlevel, certificatesDir }: TsmOptions,
  files: TsmFiles,
  entry: string,
  reportData: Uint8Array,
): Promise<Uint8Array> {
  const attribute = <T>(name: string, use: (path: string) => Promise<T>): Promise<T> =>
    use(`${entry}/${name}`).catch((error: unknown) => {
      throw attributeError(name, error);
    });
  const text = async (name: string): Promise<string> =>
    Buffer.from(await attribute(name, (path) => files.read(path, TEXT_MAX_BYTES)))
      .toString('latin1')
      .trim();
  const blob = (name: string): Promise<Uint8Array> =>
    attribute(name, (path) => files.read(path, BLOB_MAX_BYTES));
  const put = (name: string, bytes: Uint8Array): Promise<void> =>
    attribute(name, (path) => files.write(path, bytes));

  requireProvider(kind, await text('provider'));
  const before = generationOf(await text('generation'));
  await put('inblob', reportData);
  if (privlevel !== undefined) await put('privlevel', Buffer.from(`${privlevel}`));
  const report = await blob('outblob');
  const table = kind === 'snp' ? await optional(blob('auxblob')) : null;
  const after = generationOf(await text('generation'));
  const writes = privlevel === undefined ? 1 : 2;
  // One write too many means that the report may be over somebody else's data, one too few that it is not over ours.
  if (after !== before + writes)
    throw new AttesterError(
      'attester.mismatch',
      `the kernel counts ${after - before} writes to ${entry} where ${writes} were made: somebody else uses it, or one was not taken`,
    );
  return kind === 'tdx'
    ? trimTdxQuote(report, reportData)
    : snpDocument(report, reportData, { table, certificatesDir });
}

/** Hosts that have no certificates for their guests leave the attribute out or empty. */
async function optional(blob: Promise<Uint8Array>): Promise<Uint8Array | null> {
  try {
    const bytes = await blob;
    return bytes.length === 0 ? null : bytes;
  } catch (error) {
    if (error instanceof AttesterError && error.code === 'attester.missing') return null;
    throw error;
  }
}

function snpDocument(report: Uint8Array, reportData: Uint8Array, source: SnpCertificateSource): Uint8Array {
  if (report.length !== SNP_REPORT_BYTES)
    throw new AttesterError(
      'attester.malformed',
      `an SNP report has ${SNP_REPORT_BYTES} bytes, this has ${report.length}`,
    );
  requireReportData(report.subarray(SNP_REPORT_DATA_AT, SNP_REPORT_DATA_AT + 64), reportData);
  return encode(snpDocumentCodec, { report, certificates: [...snpCertificateChain(report, source)] });
}

function requireProvider(kind: TsmOptions['kind'], provider: string): void {
  if (provider === PROVIDERS[kind]) return;
  const is = kind === 'tdx' ? 'a TDX guest' : 'an SEV-SNP guest';
  throw new AttesterError(
    'attester.missing',
    `this is not ${is}: the kernel's provider is '${provider}', not '${PROVIDERS[kind]}'`,
  );
}

function generationOf(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text))
    throw new AttesterError('attester.malformed', `generation is '${text}', not a count`);
  return Number(text);
}

function entryError(root: string, error: unknown): AttesterError {
  const code = systemCode(error);
  if (code === 'ENOENT')
    return new AttesterError(
      'attester.missing',
      `there is no ${root}: this takes a confidential guest with Linux 6.7 or later, configfs mounted at /sys/kernel/config ` +
        'and the module tdx_guest or sev-guest loaded',
      error,
    );
  if (code === 'ENXIO' || code === 'EOPNOTSUPP')
    return new AttesterError(
      'attester.missing',
      'the kernel has no attestation provider: load the module tdx_guest or sev-guest',
      error,
    );
  if (code === 'EACCES' || code === 'EPERM')
    return new AttesterError(
      'attester.denied',
      `an entry in ${root} can't be made: run as root or give the folder to the node's user`,
      error,
    );
  if (code === 'EBUSY') return new AttesterError('attester.unavailable', `${root} is busy`, error);
  return new AttesterError('attester.refused', `no entry in ${root}: ${messageOf(error)}`, error);
}

function attributeError(name: string, error: unknown): AttesterError {
  if (error instanceof AttesterError) return error;
  const code = systemCode(error);
  const said = messageOf(error);
  if (code === 'ENOENT' || code === 'ENXIO')
    return new AttesterError('attester.missing', `the kernel's entry has no ${name}: ${said}`, error);
  if (code === 'EACCES' || code === 'EPERM')
    return new AttesterError('attester.denied', `${name} may not be used: run as root (${said})`, error);
  if (code === 'EBUSY' || code === 'ETIMEDOUT' || code === 'EINTR' || code === 'EAGAIN')
    return new AttesterError(
      'attester.unavailable',
      `the platform gave no report (${code}): for TDX see that the host runs a quote generation service`,
      error,
    );
  return new AttesterError('attester.refused', `${name} failed: ${said}`, error);
}
