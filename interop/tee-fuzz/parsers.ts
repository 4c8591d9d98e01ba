/** Every parser that reads bytes of others, with what it is fuzzed from. A test holds this table against the exported names. */
import { nodeCrypto } from '@haca/platform';
import {
  type Codec,
  type CryptoProvider,
  decode,
  encode,
  MalformedError,
  UsageError,
  utf8Encode,
} from '@haca/primitives';
import {
  azureDocumentCodec,
  collateralCodec,
  dstackDocumentCodec,
  EVIDENCE_KINDS,
  type EvidenceKind,
  nvidiaDocumentCodec,
  snpDocumentCodec,
} from '@haca/protocol';
import {
  AMD_DEVIATIONS,
  appraiseEvidenceFile,
  appraiseNrasToken,
  canonicalHclReport,
  DerReader,
  decodeTcb,
  likelyKind,
  NO_COLLATERAL,
  NVIDIA_RIM_ROOT,
  parseAzureJson,
  parseCertificate,
  parseCrl,
  parseDstackDocument,
  parseDstackJson,
  parseHclReport,
  parseNitroEnvelope,
  parseNitroPayload,
  parseNrasKeys,
  parseNvidiaChainPem,
  parseNvidiaEvidenceJson,
  parseNvidiaManifest,
  parseNvidiaReport,
  parseNvidiaReportHex,
  parsePckExtension,
  parsePemCertificates,
  parsePolicy,
  parseQeIdentity,
  parseQuote,
  parseQuotePem,
  parseRuntimeData,
  parseSnpReport,
  parseTcbInfo,
  parseTpmQuote,
  policyMembers,
  readCollateral,
  rescoreEvidence,
  snpVekExtensions,
  stripQuotePadding,
  vendorRoots,
  verifyNvidiaManifest,
} from '@haca/verifier';
import { appraiseGenuine, genuineDocuments } from '../tee-documents/genuine.ts';
import {
  certificatesOf,
  nitroPayloads,
  quotePemTexts,
  revocationLists,
  signedBodies,
  textOf,
  vectorFiles,
} from '../tee-documents/vector-files.ts';
import type { Form } from './trees.ts';

export interface FuzzedParser {
  readonly name: string;
  /** Names that `@haca/verifier` exports and this entry calls. */
  readonly exports: readonly string[];
  readonly form: Form;
  readonly seeds: () => readonly Uint8Array[];
  /** Returns for input it takes, throws `MalformedError` for all other; anything else is a fault. */
  readonly parse: (bytes: Uint8Array) => unknown;
  /** It refuses nothing: what is wrong is in what it returns. */
  readonly isTotal?: boolean;
  /** Slower ones get a smaller share of the inputs; 1 by default. */
  readonly share?: number;
}

const BLANK = new Uint8Array(64);
const WITHOUT_SIGNATURES: CryptoProvider = {
  ...nodeCrypto,
  verifyEcdsaP256: () => false,
  verifyEcdsaP384: () => false,
  verifyRsaPssSha384: () => false,
  verifyRsaPkcs1Sha256: () => false,
};

/** Genuine documents of these kinds; shapes of our own where there are none. */
function documentsOf(...kinds: readonly string[]): readonly Uint8Array[] {
  return genuineDocuments()
    .filter(({ kind }) => kinds.includes(kind))
    .map(({ bytes }) => bytes);
}

/** Reads as `codec` and demands that what was read is written as the same bytes. */
function canonical<T>(codec: Codec<T>): (bytes: Uint8Array) => T {
  return (bytes) => {
    const value = decode(codec, bytes, 'document');
    const again = encode(codec, value);
    if (again.length !== bytes.length || again.some((byte, at) => byte !== bytes[at]))
      throw new Error('two encodings of one document');
    return value;
  };
}

/** What a caller hands to the readers of JSON values; text that is no JSON never gets there. */
function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(bytes));
  } catch {
    throw new MalformedError('json.malformed', '', 'JSON', 'other text');
  }
}

function walkDer(reader: DerReader): number {
  let elements = 0;
  while (!reader.isAtEnd) {
    elements++;
    const element = reader.any('element');
    if ((element.tag & 0x20) !== 0) elements += walkDer(reader.inside(element, 'inside'));
    else readScalar(new DerReader(element.raw, 'scalar'), element.tag);
  }
  return elements;
}

function readScalar(reader: DerReader, tag: number): unknown {
  switch (tag) {
    case 0x01:
      return reader.boolean('boolean');
    case 0x02:
      return reader.unsigned('integer', 64);
    case 0x03:
      return reader.bitString('bits');
    case 0x06:
      return reader.oid('oid');
    case 0x17:
    case 0x18:
      return reader.time('time');
    default:
      return null;
  }
}

const DER_PARSERS: readonly FuzzedParser[] = [
  {
    name: 'DER elements',
    exports: ['DerReader'],
    form: 'der',
    seeds: () => [
      ...certificatesOf('tdx', 'nitro', 'nvidia'),
      ...revocationLists(),
      Uint8Array.of(0x30, 3, 1, 1, 0xff),
    ],
    parse: (bytes) => walkDer(new DerReader(bytes, 'input')),
  },
  {
    name: 'certificate',
    exports: ['parseCertificate', 'parsePckExtension'],
    form: 'der',
    seeds: () => certificatesOf('tdx', 'nitro', 'nvidia', 'pck'),
    parse: (bytes) => {
      const certificate = parseCertificate(bytes, 'certificate');
      return isPck(certificate.extensions) ? parsePckExtension(certificate) : certificate;
    },
  },
  {
    name: 'AMD certificate',
    exports: ['AMD_DEVIATIONS', 'snpVekExtensions'],
    form: 'der',
    seeds: () => certificatesOf('snp'),
    parse: (bytes) => {
      const certificate = parseCertificate(bytes, 'certificate', AMD_DEVIATIONS);
      const isVek = certificate.serial.length === 1 && certificate.serial[0] === 0;
      return isVek ? snpVekExtensions(certificate) : certificate;
    },
  },
  {
    name: 'revocation list',
    exports: ['parseCrl'],
    form: 'der',
    seeds: revocationLists,
    parse: (bytes) => parseCrl(bytes, 'crl'),
  },
  {
    name: 'PEM certificates',
    exports: ['parsePemCertificates', 'parseNvidiaChainPem'],
    form: 'bytes',
    seeds: () => ['tdx', 'snp', 'nvidia'].flatMap((kind) => vectorFiles(kind, '.pem')),
    parse: (bytes) => [parsePemCertificates(textOf(bytes), 'pem'), parseNvidiaChainPem(textOf(bytes))],
  },
  {
    name: 'PEM of a quote',
    exports: ['parseQuotePem'],
    form: 'bytes',
    seeds: quotePemTexts,
    parse: parseQuotePem,
  },
];

const PCK_OID = '1.2.840.113741.1.13.1';

function isPck(extensions: readonly { readonly oid: string }[]): boolean {
  return extensions.some(({ oid }) => oid === PCK_OID);
}

const DOCUMENT_PARSERS: readonly FuzzedParser[] = [
  {
    name: 'Nitro envelope',
    exports: ['parseNitroEnvelope'],
    form: 'cbor',
    seeds: () => documentsOf('nitro'),
    parse: parseNitroEnvelope,
  },
  {
    name: 'Nitro payload',
    exports: ['parseNitroPayload'],
    form: 'cbor',
    seeds: nitroPayloads,
    parse: parseNitroPayload,
  },
  {
    name: 'Intel quote',
    exports: ['parseQuote', 'stripQuotePadding'],
    form: 'bytes',
    seeds: () => documentsOf('tdx', 'sgx'),
    parse: (bytes) => parseQuote(stripQuotePadding(bytes)),
  },
  {
    name: 'SNP report',
    exports: ['parseSnpReport'],
    form: 'bytes',
    seeds: () => vectorFiles('snp', '.report.bin'),
    parse: parseSnpReport,
  },
  {
    name: 'SNP TCB version',
    exports: ['decodeTcb'],
    form: 'bytes',
    seeds: () => [Uint8Array.of(3, 0, 0, 0, 0, 0, 8, 115), Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 5)],
    parse: (bytes) => decodeTcb((bytes[1] ?? 0) > 0 ? 'turin' : 'milan', bytes, 'tcb'),
    share: 0.1,
  },
  {
    name: 'NVIDIA report',
    exports: ['parseNvidiaReport'],
    form: 'bytes',
    seeds: () =>
      documentsOf('nvidia').map((document) => decode(nvidiaDocumentCodec, document, 'seed').report),
    parse: parseNvidiaReport,
  },
  {
    name: 'HCL report',
    exports: ['parseHclReport', 'canonicalHclReport'],
    form: 'bytes',
    seeds: () => azureParts(({ hclReport }) => hclReport),
    parse: (bytes) => [canonicalHclReport(bytes), parseHclReport(bytes)],
  },
  {
    name: 'Azure runtime data',
    exports: ['parseRuntimeData'],
    form: 'json',
    seeds: () => azureParts(({ hclReport }) => parseHclReport(hclReport).runtimeData),
    parse: parseRuntimeData,
  },
  {
    name: 'TPM quote',
    exports: ['parseTpmQuote'],
    form: 'bytes',
    seeds: () => azureParts(({ tpmQuote }) => tpmQuote),
    parse: parseTpmQuote,
  },
  {
    name: 'SNP document',
    exports: [],
    form: 'cbor',
    seeds: () => documentsOf('snp'),
    parse: canonical(snpDocumentCodec),
  },
  {
    name: 'NVIDIA document',
    exports: [],
    form: 'cbor',
    seeds: () => documentsOf('nvidia'),
    parse: canonical(nvidiaDocumentCodec),
  },
  {
    name: 'dstack document',
    exports: ['parseDstackDocument'],
    form: 'cbor',
    seeds: () => documentsOf('dstack'),
    parse: (bytes) => [canonical(dstackDocumentCodec)(bytes), parseDstackDocument(bytes)],
  },
  {
    name: 'Azure document',
    exports: [],
    form: 'cbor',
    seeds: () => documentsOf('azure'),
    parse: canonical(azureDocumentCodec),
  },
  {
    name: 'collateral',
    exports: [],
    form: 'cbor',
    seeds: collateralSeeds,
    parse: canonical(collateralCodec),
  },
];

function azureParts(
  part: (document: ReturnType<typeof parseAzureJson>) => Uint8Array,
): readonly Uint8Array[] {
  return documentsOf('azure').map((document) => part(decode(azureDocumentCodec, document, 'seed')));
}

function collateralSeeds(): readonly Uint8Array[] {
  const signed = { body: utf8Encode('{"version":3}'), signature: BLANK, issuerChain: [BLANK, BLANK] };
  const list = { crl: BLANK, issuerChain: [] };
  return [
    encode(collateralCodec, { kind: 'intel-tcb-info', ...signed }),
    encode(collateralCodec, { kind: 'intel-qe-identity', ...signed }),
    encode(collateralCodec, { kind: 'intel-crl', ...list }),
    encode(collateralCodec, { kind: 'amd-crl', ...list }),
  ];
}

const TEXT_PARSERS: readonly FuzzedParser[] = [
  {
    name: 'TCB info',
    exports: ['parseTcbInfo'],
    form: 'json',
    seeds: () => signedBodies('tcbInfo'),
    parse: parseTcbInfo,
  },
  {
    name: 'QE identity',
    exports: ['parseQeIdentity'],
    form: 'json',
    seeds: () => signedBodies('enclaveIdentity'),
    parse: parseQeIdentity,
  },
  {
    name: 'dstack JSON',
    exports: ['parseDstackJson'],
    form: 'json',
    seeds: () => vectorFiles('dstack', '.json'),
    parse: (bytes) => parseDstackJson(textOf(bytes)),
    share: 0.3,
  },
  {
    name: 'Azure JSON',
    exports: ['parseAzureJson'],
    form: 'json',
    seeds: () => vectorFiles('azure', '.json'),
    parse: (bytes) => parseAzureJson(textOf(bytes)),
    share: 0.5,
  },
  {
    name: 'NVIDIA JSON',
    exports: ['parseNvidiaEvidenceJson', 'parseNvidiaReportHex'],
    form: 'json',
    seeds: nvidiaJsonSeeds,
    parse: (bytes) =>
      bytes[0] === 0x31 ? parseNvidiaReportHex(textOf(bytes)) : parseNvidiaEvidenceJson(textOf(bytes)),
    share: 0.3,
  },
  {
    name: 'collateral files',
    exports: ['readCollateral', 'likelyKind'],
    form: 'json',
    seeds: () => [
      ...['tdx', 'sgx'].flatMap((kind) => vectorFiles(kind, 'collateral.json')),
      ...signedFileSeeds(),
      ...revocationLists().slice(0, 2),
      ...manifestSeeds(),
      ...SERVICE_KEY_SEEDS,
    ],
    parse: (bytes) => [readCollateral([{ name: 'input', bytes }]), likelyKind(bytes)],
    isTotal: true,
    share: 0.2,
  },
  ...EVIDENCE_KINDS.map(
    (kind): FuzzedParser => ({
      name: `${kind} policy`,
      exports: ['parsePolicy'],
      form: 'json',
      seeds: () => policySeeds(kind),
      parse: (bytes) => parsePolicy(kind, jsonOf(bytes)),
      share: 0.3,
    }),
  ),
  {
    name: 'evidence files',
    exports: ['appraiseEvidenceFile'],
    form: 'json',
    seeds: () => [
      ...vectorFiles('azure', '.json'),
      ...vectorFiles('dstack', '.json'),
      ...nvidiaJsonSeeds(),
      ...documentsOf('tdx', 'snp', 'nitro'),
    ],
    parse: readEvidenceFile,
    isTotal: true,
    share: 0.05,
  },
];

/** As the kind it looks like, else any; the file may still say that it is of another. */
function readEvidenceFile(bytes: Uint8Array): unknown {
  const kind = likelyKind(bytes) ?? EVIDENCE_KINDS[bytes.length % EVIDENCE_KINDS.length] ?? 'tdx';
  try {
    return appraiseEvidenceFile({ crypto: nodeCrypto, kind, evidence: bytes, atMs: 1_760_000_000_000 });
  } catch (error) {
    if (error instanceof UsageError) throw new MalformedError('evidence.kind', '', kind, 'another kind');
    throw error;
  }
}

function nvidiaJsonSeeds(): readonly Uint8Array[] {
  return vectorFiles('nvidia', '-json.json').filter(({ length }) => length < 48 * 1024);
}

function signedFileSeeds(): readonly Uint8Array[] {
  return ['tdx', 'sgx'].flatMap((kind) => vectorFiles(kind, '-06.json', '-08.json'));
}

/** Those that have no member of another kind. */
function policySeeds(kind: EvidenceKind): readonly Uint8Array[] {
  const known = [...policyMembers(kind), 'others'];
  return POLICY_SEEDS.filter((text) =>
    Object.keys(JSON.parse(text) as object).every((name) => known.includes(name)),
  ).map((text) => utf8Encode(text));
}

const POLICY_SEEDS: readonly string[] = [
  '{"others":"any"}',
  `{"allowDebug":false,"others":"any","reportData":"${'00'.repeat(64)}","tcbStatuses":["UpToDate","SWHardeningNeeded"]}`,
  `{"nonce":"${'11'.repeat(32)}","maxAgeMs":60000,"userData":null,"measurements":[{"name":"a","registers":{"pcr0":"${'00'.repeat(48)}","pcr1":"${'11'.repeat(48)}","pcr2":"${'22'.repeat(48)}"}}]}`,
  '{"tcbFloors":[{"product":"milan","floor":{"fmc":null,"bootloader":1,"tee":2,"snp":3,"microcode":4}}],"vmpl":0}',
  '{"platform":{"required":[],"forbidden":[]},"minFirmware":{"major":1,"minor":2,"build":3},"mitigations":255}',
  '{"tdx":{"others":"any"},"snp":{"others":"any"},"secureBoot":true,"extraData":"00"}',
  `{"manifests":"required","serviceKeys":["${'ab'.repeat(32)}"],"others":"any"}`,
  '{"goldenMeasurements":[{"index":1,"values":["00"]}],"architectures":["hopper"],"modes":["spt"],"revocation":"any"}',
];

/** Facts of genuine evidence, judged again for its kind. */
const FACTS_PARSERS: readonly FuzzedParser[] = EVIDENCE_KINDS.map((kind) => ({
  name: `${kind} facts`,
  exports: ['rescoreEvidence'],
  form: 'cbor',
  seeds: () =>
    genuineDocuments()
      .filter((document) => document.kind === kind)
      .map((document) => appraiseGenuine(document, document.bytes, nodeCrypto).claims?.facts ?? BLANK),
  parse: (bytes) =>
    rescoreEvidence(kind, bytes, {
      crypto: WITHOUT_SIGNATURES,
      nowMs: 1_760_000_000_000,
      revoked: [],
      collateral: NO_COLLATERAL,
      collateralGraceMs: 0,
      [kind]: { roots: vendorRoots(kind), policy: parsePolicy(kind, { others: 'any' }) },
    }),
  isTotal: true,
  share: 0.3,
}));

const TOKEN_PARSERS: readonly FuzzedParser[] = [
  {
    name: 'NRAS token',
    exports: ['appraiseNrasToken'],
    form: 'json',
    seeds: () => vectorFiles('nvidia', 'nras-eat-hopper-2025-06.json'),
    parse: (bytes) =>
      appraiseNrasToken(bytes, { crypto: WITHOUT_SIGNATURES, nowMs: 0, nonce: 'allow-any', keys: 'none' }),
    isTotal: true,
    share: 0.5,
  },
  {
    name: 'NVIDIA manifest',
    exports: ['parseNvidiaManifest'],
    form: 'bytes',
    seeds: manifestSeeds,
    parse: parseNvidiaManifest,
    share: 0.5,
  },
  {
    name: 'NVIDIA manifest, judged',
    exports: ['verifyNvidiaManifest'],
    form: 'bytes',
    seeds: manifestSeeds,
    parse: (bytes) =>
      verifyNvidiaManifest(bytes, {
        crypto: WITHOUT_SIGNATURES,
        nowMs: 0,
        roots: [NVIDIA_RIM_ROOT],
        revoked: [],
      }),
    isTotal: true,
    share: 0.3,
  },
  {
    name: 'NRAS keys',
    exports: ['parseNrasKeys'],
    form: 'json',
    seeds: () => SERVICE_KEY_SEEDS,
    parse: (bytes) => parseNrasKeys(textOf(bytes)),
    share: 0.3,
  },
];

const SERVICE_KEY_SEEDS: readonly Uint8Array[] = [
  utf8Encode(
    `{"keys":[{"kty":"EC","crv":"P-384","kid":"k","alg":"ES384","use":"sig","x":"${'A'.repeat(64)}","y":"${'b'.repeat(64)}"}]}`,
  ),
  utf8Encode(
    `{"keys":[{"kty":"RSA","kid":"r"},{"kty":"EC","crv":"P-384","kid":"k","x":"${'-'.repeat(64)}","y":"${'_'.repeat(64)}"}]}`,
  ),
];

/** The genuine one, and a short one that a change hits where it matters. */
function manifestSeeds(): readonly Uint8Array[] {
  return [...vectorFiles('nvidia', '.swidtag'), utf8Encode(SHORT_MANIFEST)];
}

const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd';
const OPAQUE = 'https://docs.nvidia.com/attestation/specs/latest/opaque-data.html';
const SHORT_MANIFEST = `<SoftwareIdentity xmlns="${SWID}" xmlns:n="http://www.w3.org/2001/04/xmlenc#sha384" xmlns:o="${OPAQUE}" tagId="t">
<Entity name="a"/><Meta colloquialVersion="96.00.5E.00.01" product="GH100"/><Payload>
<Resource type="Measurement" index="0" active="True" alternatives="2" n:Hash0="00" n:Hash1="01" name="m" size="1"/>
<Resource type="Measurement" index="4100" active="True" o:minSvn="3" name="s"/></Payload>
<d:Signature xmlns:d="http://www.w3.org/2000/09/xmldsig#"><d:SignedInfo><d:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"/><d:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/><d:Reference URI=""><d:Transforms><d:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/><d:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"/></d:Transforms><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/><d:DigestValue>${'A'.repeat(64)}</d:DigestValue></d:Reference></d:SignedInfo><d:SignatureValue>${'A'.repeat(128)}</d:SignatureValue><d:KeyInfo><d:X509Data>${'<d:X509Certificate>AAAA</d:X509Certificate>'.repeat(4)}</d:X509Data></d:KeyInfo></d:Signature></SoftwareIdentity>
`;

export const PARSERS: readonly FuzzedParser[] = [
  ...DER_PARSERS,
  ...DOCUMENT_PARSERS,
  ...TEXT_PARSERS,
  ...FACTS_PARSERS,
  ...TOKEN_PARSERS,
];

/** Whether an exception is how parsers say no. */
export function isRefusal(error: unknown): error is MalformedError {
  return error instanceof MalformedError;
}
