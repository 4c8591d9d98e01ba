/** What verifiers are asked about: recorded evidence as it is, and changed in ways that each verifier should notice. */
import { fromHex, utf8Encode } from '@haca/primitives';
import { parseCertificate, parseQuote } from '@haca/verifier';
import { pemChain, textOf, vectorFile, vectorManifest } from '../../interop/tee-documents/vector-files.ts';

/** A text that Intel signed, as it stands in files: hex signature, PEM chain, signer first. */
export interface SignedText {
  readonly body: string;
  readonly signature: string;
  readonly chain: string;
}

export interface IntelCollateral {
  readonly tcbInfo: SignedText;
  readonly qeIdentity: SignedText;
  /** DER; null where none was recorded. */
  readonly rootCrl: Uint8Array | null;
  readonly pckCrl: Uint8Array | null;
  /** PEM of the PCK CA and the root. */
  readonly pckChain: string;
}

export interface IntelCase {
  readonly kind: 'tdx' | 'sgx';
  readonly vector: string;
  /** What was changed; many cases share one. */
  readonly change: string;
  readonly quote: Uint8Array;
  readonly collateral: IntelCollateral;
  readonly atMs: number;
}

export interface SnpCase {
  readonly kind: 'snp';
  readonly vector: string;
  readonly change: string;
  readonly report: Uint8Array;
  readonly certificate: Uint8Array;
  readonly atMs: number;
}

export type DifferentialCase = IntelCase | SnpCase;

interface IntelExpectation {
  readonly verify_at_s?: number;
  readonly window_from: string;
  /** Length of the quote without what trails it. */
  readonly bytes_consumed: number;
}

const INTEL_VECTORS: readonly (readonly [kind: 'tdx' | 'sgx', id: string])[] = [
  ['tdx', 'v4-uptodate-2025-06'],
  ['tdx', 'v4-outofdate-padded-2025-06'],
  ['tdx', 'v4-azure-noseptve-2025-10'],
  ['tdx', 'v4-nomatch-2023-06'],
  ['tdx', 'v4-debug-2023'],
  ['tdx', 'v5-uptodate-2026-02'],
  ['tdx', 'v5-nomatch-2026-02'],
  ['sgx', 'v3-confsw-2025-06'],
  ['sgx', 'v3-swhardening-2025-08'],
];

/** Every case; flips at every `stride`-th byte. */
export function differentialCases(stride: number): readonly DifferentialCase[] {
  const intel = INTEL_VECTORS.map(([kind, id]) => recordedCase(kind, id));
  return [
    ...intel.flatMap((recorded) => [
      recorded,
      ...quoteChanges(recorded),
      ...collateralChanges(recorded),
      ...timeChanges(recorded),
      ...flips(recorded, stride),
    ]),
    ...snpCases(stride),
  ];
}

function recordedCase(kind: 'tdx' | 'sgx', id: string): IntelCase {
  const entry = vectorManifest<IntelExpectation>(kind).find((each) => each.id === id);
  if (entry === undefined) throw new RangeError(`no vector ${id}`);
  const { verify_at_s: atSeconds, window_from: from } = entry.expect;
  return {
    kind,
    vector: id,
    change: 'none',
    quote: vectorFile(kind, `${id}.quote.bin`).slice(0, entry.expect.bytes_consumed),
    collateral: recordedCollateral(
      kind,
      entry.files.map(({ file }) => file),
      atSeconds ?? 0,
    ),
    atMs: atSeconds === undefined ? Date.parse(from) : atSeconds * 1000,
  };
}

type Bundle = Readonly<Record<string, string>>;

const SIGNED = /^\{"(tcbInfo|enclaveIdentity)":(.*),"signature":"([0-9a-f]{128})"\}\s*$/s;
/** From here on the certificate of the signer is the one of 2025. */
const SIGNER_2025_SECONDS = 1_746_523_500;

/** What the manifest lists; a whole bundle fills in what has no file of its own. */
function recordedCollateral(kind: string, files: readonly string[], atSeconds: number): IntelCollateral {
  const bundleFile = files.find((file) => file.endsWith('.collateral.json'));
  const bundle =
    bundleFile === undefined ? undefined : (JSON.parse(textOf(vectorFile(kind, bundleFile))) as Bundle);
  const own = (name: string): SignedText | undefined =>
    files.flatMap((file) => signedFile(kind, file, name, atSeconds)).at(0);
  const list = (pattern: RegExp, member: string): Uint8Array | null => {
    const file = files.find((each) => pattern.test(each));
    if (file !== undefined) return vectorFile(kind, file);
    return bundle === undefined ? null : fromHex(bundle[member] ?? '');
  };
  const tcbInfo = own('tcbInfo') ?? signedMember(bundle, 'tcb_info');
  const qeIdentity = own('enclaveIdentity') ?? signedMember(bundle, 'qe_identity');
  return {
    tcbInfo,
    qeIdentity,
    rootCrl: list(/^rootcrl/, 'root_ca_crl'),
    pckCrl: list(/^pckcrl/, 'pck_crl'),
    pckChain: bundle?.['pck_crl_issuer_chain'] ?? '',
  };
}

function signedFile(kind: string, file: string, name: string, atSeconds: number): readonly SignedText[] {
  if (!file.endsWith('.json') || file.endsWith('.collateral.json')) return [];
  const [, found, body = '', signature = ''] = SIGNED.exec(textOf(vectorFile(kind, file))) ?? [];
  return found === name ? [{ body, signature, chain: signerChain(atSeconds) }] : [];
}

function signerChain(atSeconds: number): string {
  const signer =
    atSeconds >= SIGNER_2025_SECONDS
      ? vectorFile('tdx', 'intel-tcb-signing-2025.der')
      : (pemChain('tdx', 'intel-tcb-signing-2018.pem')[0] as Uint8Array);
  return pemOf(signer) + pemOf(intelRoot());
}

export function intelRoot(): Uint8Array {
  return vectorFile('tdx', 'intel-sgx-root.der');
}

function signedMember(bundle: Bundle | undefined, name: 'tcb_info' | 'qe_identity'): SignedText {
  if (bundle === undefined) throw new Error(`no ${name} was recorded`);
  return {
    body: bundle[name] ?? '',
    signature: bundle[`${name}_signature`] ?? '',
    chain: bundle[`${name}_issuer_chain`] ?? '',
  };
}

export function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function quoteChanges(recorded: IntelCase): readonly IntelCase[] {
  const behind = (change: string, ...bytes: readonly number[]): IntelCase => ({
    ...recorded,
    change,
    quote: Uint8Array.from([...recorded.quote, ...bytes]),
  });
  return [
    behind('a zero byte behind the quote', 0),
    behind('3,000 zero bytes behind the quote', ...Array<number>(3000).fill(0)),
    behind('another byte behind the quote', 7),
    { ...recorded, change: 'the last byte cut off', quote: recorded.quote.slice(0, -1) },
  ];
}

const GARBAGE = Uint8Array.of(0xde, 0xad, 0xbe, 0xef);

function lastByteChanged(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1;
  return changed;
}

function collateralChanges(recorded: IntelCase): readonly IntelCase[] {
  const { collateral } = recorded;
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = collateral;
  const changed = (change: string, part: Partial<IntelCollateral>): IntelCase => ({
    ...recorded,
    change,
    collateral: { ...collateral, ...part },
  });
  const texts = (['tcbInfo', 'qeIdentity'] as const).flatMap((name) => {
    const text = collateral[name];
    const put = (change: string, part: Partial<SignedText>): IntelCase =>
      changed(`${name}: ${change}`, { [name]: { ...text, ...part } });
    return [
      put('signature changed', {
        signature: text.signature.replace(/^../, (two) => (two === '00' ? '01' : '00')),
      }),
      put('a later nextUpdate', { body: text.body.replace(/"nextUpdate":"20../, '"nextUpdate":"2099') }),
      put('white space added', { body: text.body.replace(',', ', ') }),
      put('chain of the root alone', { chain: pemOf(intelRoot()) }),
    ];
  });
  return [
    ...texts,
    changed('tcbInfo and qeIdentity in each other’s place', { tcbInfo: qeIdentity, qeIdentity: tcbInfo }),
    // With one list alone the Go verifier can not be asked to look at either.
    ...(rootCrl === null || pckCrl === null
      ? []
      : [
          changed('root CRL: garbage', { rootCrl: GARBAGE }),
          changed('root CRL: empty', { rootCrl: new Uint8Array(0) }),
          changed('root CRL: signature changed', { rootCrl: lastByteChanged(rootCrl) }),
          changed('PCK CRL: garbage', { pckCrl: GARBAGE }),
          changed('PCK CRL: empty', { pckCrl: new Uint8Array(0) }),
          changed('PCK CRL: signature changed', { pckCrl: lastByteChanged(pckCrl) }),
          changed('root CRL in the place of the PCK CRL', { pckCrl: rootCrl }),
        ]),
  ];
}

const DAY_MS = 86_400_000;

function timeChanges(recorded: IntelCase): readonly IntelCase[] {
  const dates = JSON.parse(recorded.collateral.tcbInfo.body) as { issueDate: string; nextUpdate: string };
  const at = (change: string, atMs: number): IntelCase => ({ ...recorded, change, atMs });
  return [
    at('a day before TCB info was issued', Date.parse(dates.issueDate) - DAY_MS),
    at('a day after TCB info ended', Date.parse(dates.nextUpdate) + DAY_MS),
    at('an hour after the recorded instant', recorded.atMs + DAY_MS / 24),
    at('in the year 2045', Date.UTC(2045, 0, 1)),
  ];
}

function flips(recorded: IntelCase, stride: number): readonly IntelCase[] {
  const regions = quoteRegions(recorded.quote);
  return Array.from({ length: Math.ceil(recorded.quote.length / stride) }, (_, i) => {
    const at = i * stride;
    const quote = recorded.quote.slice();
    quote[at] = (quote[at] as number) ^ 1;
    const region = regions.find(({ end }) => at < end)?.name ?? 'the rest';
    return { ...recorded, change: `a bit changed in ${region}`, quote };
  });
}

/** Parts of a quote (Intel's DCAP quoting library, appendix A.3 and A.4), in order. */
function quoteRegions(quote: Uint8Array): readonly { readonly name: string; readonly end: number }[] {
  const { header, body } = parseQuote(quote);
  const view = new DataView(quote.buffer, quote.byteOffset);
  const regions: { name: string; end: number }[] = [];
  let end = 0;
  const put = (name: string, length: number): void => {
    end += length;
    regions.push({ name, end });
  };
  put('the header', 48);
  if (header.version === 5) put('the body type and size', 6);
  put('the report', body.bytes.length);
  put('the length of the signature data', 4);
  put('the signature', 64);
  put('the attestation key', 64);
  if (header.version !== 3) put('the outer certification data header', 6);
  put('the QE report', 384);
  put("the QE report's signature", 64);
  const authBytes = view.getUint16(end, true);
  put('the length of the QE authentication data', 2);
  put('the QE authentication data', authBytes);
  put('the certification data header', 6);
  put('the PCK chain', quote.length - end);
  return regions;
}

function snpCases(stride: number): readonly SnpCase[] {
  return ['milan-v2', 'milan-v2-debug', 'milan-v2-azure-wrongvcek-legacy'].flatMap((vector) => {
    const report = vectorFile('snp', `${vector}.report.bin`);
    const certificate = vectorFile(
      'snp',
      vector === 'milan-v2-debug' ? `${vector}.vcek.der` : `${vector}.vek.der`,
    );
    const { notBeforeMs, notAfterMs } = parseCertificate(certificate, 'vek', ['zero-serial']);
    const recorded: SnpCase = {
      kind: 'snp',
      vector,
      change: 'none',
      report,
      certificate,
      atMs: notBeforeMs + DAY_MS,
    };
    const flip = (bytes: Uint8Array, at: number): Uint8Array => {
      const changed = bytes.slice();
      changed[at] = (changed[at] as number) ^ 1;
      return changed;
    };
    const every = (length: number): readonly number[] =>
      Array.from({ length: Math.ceil(length / stride) }, (_, i) => i * stride);
    return [
      recorded,
      { ...recorded, change: 'before the certificate', atMs: notBeforeMs - DAY_MS },
      { ...recorded, change: 'after the certificate', atMs: notAfterMs + DAY_MS },
      { ...recorded, change: 'a zero byte behind the report', report: Uint8Array.from([...report, 0]) },
      ...every(report.length).map((at) => ({
        ...recorded,
        change: `a bit changed in ${at < 0x2a0 ? 'the signed report' : at < 0x2a0 + 144 ? 'the signature' : 'the reserved tail'}`,
        report: flip(report, at),
      })),
      ...every(certificate.length).map((at) => ({
        ...recorded,
        change: 'a bit changed in the certificate',
        certificate: flip(certificate, at),
      })),
    ];
  });
}

export const bodyBytes = (text: SignedText): Uint8Array => utf8Encode(text.body);
