/** NVIDIA evidence as its tools write it: a report in hex or raw with its chain in another file, or JSON of all devices. */
import { bytesEqual, type CryptoProvider, MalformedError, toHex } from '@haca/primitives';
import { nvidiaDocumentCodec } from '@haca/protocol';
import type { CollateralLibrary } from '../collateral-files/library.ts';
import { isSelfIssued } from '../collateral-files/read-binary.ts';
import type { Certificate } from '../der/certificate.ts';
import type { EvidenceContext } from '../evidence.ts';
import { isJson, JSON_DEPTH_MAX, jsonElements, jsonMembers, jsonString } from '../file-forms/json-text.ts';
import { bytesOfText } from '../file-forms/text-forms.ts';
import type { Appraisal } from '../tee/check-run.ts';
import type { TeeClaims } from '../tee/claims.ts';
import type { Expected } from '../tee/expected.ts';
import {
  CMW_COLLECTION_MEMBER,
  type NvidiaEvidence,
  parseNvidiaEvidenceJson,
} from '../tee/nvidia/from-json.ts';
import { nrasKeyThumbprint } from '../tee/nvidia/nras-keys.ts';
import { appraiseNrasToken, type NrasKey } from '../tee/nvidia/nras-token.ts';
import { verifyNvidia } from '../tee/nvidia/verify.ts';
import { blobOfFile, jsonOf } from './blobs.ts';
import {
  type EvidenceDocument,
  type EvidenceReading,
  encodeDocument,
  oneDocument,
  type ReadingTrust,
} from './reading.ts';

/** Chains that are tried on a report. */
const CHAINS_MAX = 32;
const CHAIN_LENGTH_MAX = 8;
/** The nonce stands behind the four bytes of the request's head. */
const NONCE_AT = 4;
const NONCE_BYTES = 32;

interface Chain {
  /** DER, root first. */
  readonly certificates: readonly Uint8Array[];
  readonly origin: string;
}

/** Throws `MalformedError` where the file is no evidence of any device. */
export function readNvidiaFile(
  file: Uint8Array,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading {
  const json = jsonOf(file);
  if (json !== null && isTokenList(json)) return readTokens(file, library);
  if (json !== null) return readDevices(json, library, trust);
  const { bytes, form } = blobOfFile(file);
  return withLibrary(bytes, form, library, trust);
}

function withLibrary(
  report: Uint8Array,
  form: string,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading {
  const chains = libraryChains(library);
  const { document, used } = withChain(report, chains, trust);
  const alone = "no certificate chain was given: --collateral takes the device's, in PEM";
  return oneDocument(document, form, chains.length === 0 ? [alone] : [], used);
}

/** An answer of NVIDIA's attestation service: `[["JWT", token], {...}]`. */
function isTokenList(json: string): boolean {
  const [first] = jsonElements(json) ?? [];
  return first !== undefined && jsonElements(first)?.[0] === '"JWT"';
}

/** Keys that stand among the files are no more trusted than the rest of them: the policy says which are. */
function readTokens(file: Uint8Array, { serviceKeys }: CollateralLibrary): EvidenceReading {
  const found = serviceKeys.flatMap(({ keys }) => keys);
  const appraise = ({ crypto, nowMs, nvidia }: EvidenceContext): Appraisal<TeeClaims> => {
    const { nonce = 'not-given', serviceKeys: trusted = 'not-given' } = nvidia?.policy ?? {};
    const keys = trustedKeys(found, trusted, crypto);
    return { ...appraiseNrasToken(file, { crypto, nowMs, nonce, keys }), claims: null };
  };
  const used = serviceKeys.map(({ origin }) => origin);
  return {
    form: "tokens of NVIDIA's attestation service",
    documents: [{ label: '', document: new Uint8Array(0), used, appraise }],
    notes: [
      "tokens are the word of an online service, and no evidence of a device: its keys are a JWK set in --collateral that the policy's serviceKeys trusts",
    ],
  };
}

/** Each once; the same `kid` for two keys stays, so that it fails. */
function trustedKeys(
  found: readonly NrasKey[],
  trusted: Expected<readonly Uint8Array[]>,
  crypto: CryptoProvider,
): readonly NrasKey[] | 'none' {
  if (found.length === 0 || trusted === 'not-given') return 'none';
  const distinct = found.filter(
    (key, i) =>
      found.findIndex((other) => other.kid === key.kid && bytesEqual(other.publicKey, key.publicKey)) === i,
  );
  if (trusted === 'allow-any') return distinct;
  return distinct.filter((key) => {
    const thumbprint = nrasKeyThumbprint(key, crypto);
    return trusted.some((each) => bytesEqual(each, thumbprint));
  });
}

function readDevices(json: string, library: CollateralLibrary, trust: ReadingTrust): EvidenceReading {
  const list = deviceList(json, 0);
  if (list === null)
    throw new MalformedError('nvidia.json', 'json', 'devices with evidence and certificate', 'JSON without');
  const bare = bareReport(list);
  if (bare !== null) {
    return withLibrary(bare, 'JSON of one device without its chain', library, trust);
  }
  const devices = parseNvidiaEvidenceJson(list);
  const documents = devices.map((device, i): EvidenceDocument => {
    checkNonce(device, `evidence.${i}.nonce`);
    const { report, certificates } = device;
    return {
      label: devices.length === 1 ? '' : `device-${i}`,
      document: encodeDocument(nvidiaDocumentCodec, { report, certificates }),
      used: [],
    };
  });
  const form = devices.length === 1 ? 'JSON of one device' : `JSON of ${devices.length} devices`;
  return { form, documents, notes: [] };
}

/** The text that lists devices: at the top, or where a service wraps it, also as JSON inside a string. */
function deviceList(text: string, depth: number): string | null {
  if (depth > JSON_DEPTH_MAX) return null;
  const string = jsonString(text);
  if (string !== null)
    return /^\s*[[{]/.test(string) && isJson(string) ? deviceList(string, depth + 1) : null;
  const elements = jsonElements(text);
  const members = jsonMembers(text);
  if (members?.has(CMW_COLLECTION_MEMBER) === true) return text;
  const isDevice = (each: string): boolean => {
    const evidence = jsonMembers(each)?.get('evidence');
    return evidence !== undefined && jsonString(evidence) !== null;
  };
  if (elements?.some(isDevice) === true || members?.has('evidence_list') === true || isDevice(text))
    return text;
  for (const each of elements ?? members?.values() ?? []) {
    const found = deviceList(each, depth + 1);
    if (found !== null) return found;
  }
  return null;
}

/** The report of a single device that has no chain beside it. */
function bareReport(list: string): Uint8Array | null {
  const elements = jsonElements(list) ?? [list];
  const members = elements.length === 1 ? jsonMembers(elements[0] as string) : null;
  const isWhole = ['certificate', 'evidence_list', CMW_COLLECTION_MEMBER].some((each) => members?.has(each));
  if (members === null || isWhole) return null;
  return bytesOfText(jsonString(members.get('evidence') ?? '') ?? '');
}

/** A nonce beside the evidence is no more than a claim about it, but one that has to be true. */
function checkNonce({ nonce, report }: NvidiaEvidence, path: string): void {
  const own = report.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES);
  if (nonce !== null && !bytesEqual(nonce, own))
    throw new MalformedError(
      'nvidia.json-nonce',
      path,
      `the nonce of the report, ${toHex(own)}`,
      toHex(nonce),
    );
}

/** Every chain that the certificates make: up from each that issued none of the others. */
function libraryChains({ certificates }: CollateralLibrary): readonly Chain[] {
  const leaves = certificates.filter(
    ({ certificate }) =>
      !isSelfIssued(certificate) &&
      certificate.basicConstraints?.ca !== true &&
      !certificates.some((other) => bytesEqual(other.certificate.issuer, certificate.subject)),
  );
  return leaves.slice(0, CHAINS_MAX).map(({ certificate, origin }) => {
    const own = certificates.filter((entry) => entry.origin === origin).map((entry) => entry.certificate);
    const all = [...own, ...certificates.map((entry) => entry.certificate)];
    return { origin, certificates: chainUp(certificate, all).map(({ der }) => der) };
  });
}

/** Root first. Certificates of the leaf's own file come first in `known`. */
function chainUp(leaf: Certificate, known: readonly Certificate[]): readonly Certificate[] {
  const chain = [leaf];
  while (chain.length < CHAIN_LENGTH_MAX) {
    const top = chain[0] as Certificate;
    const issuer = known.find(({ subject }) => bytesEqual(subject, top.issuer));
    if (isSelfIssued(top) || issuer === undefined || chain.includes(issuer)) break;
    chain.unshift(issuer);
  }
  return chain;
}

/** The report with the chain whose leaf fits it; where none does, with the one that gets furthest, so that its failure shows. */
function withChain(
  report: Uint8Array,
  chains: readonly Chain[],
  { crypto, nowMs, roots }: ReadingTrust,
): Pick<EvidenceDocument, 'document' | 'used'> {
  const none = encodeDocument(nvidiaDocumentCodec, { report, certificates: [] });
  let best = { document: none, used: [] as readonly string[], passed: -1 };
  for (const { certificates, origin } of chains) {
    const document = encodeDocument(nvidiaDocumentCodec, { report, certificates });
    if (chains.length === 1) return { document, used: [origin] };
    const { checks, claims } = verifyNvidia(document, { crypto, nowMs, roots, revoked: [] });
    if (claims !== null) return { document, used: [origin] };
    const passed = checks.filter(({ status }) => status === 'passed').length;
    if (passed > best.passed) best = { document, used: [origin], passed };
  }
  return best;
}
