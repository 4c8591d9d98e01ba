/**
 * Chooses from a library what fits a reference at a time. Whatever is chosen is verified afterwards, so a wrong choice can only
 * make a check fail. First comes what its issuer signed, then what holds at the time, then what is newest; where nothing fits,
 * the nearest is given, so that its failure says why.
 */
import { bytesEqual, type CryptoProvider, concatBytes, MalformedError, toHex } from '@haca/primitives';
import type { Collateral, CollateralKind, CollateralOf, CollateralRef } from '@haca/protocol';
import type { Certificate } from '../der/certificate.ts';
import { ecdsaSignatureFromDer } from '../der/ecdsa-signature.ts';
import type { CollateralSource } from '../tee/collateral.ts';
import type { CollateralLibrary, PieceFacts, RevocationListEntry, SignedJsonEntry } from './library.ts';
import { certificateOf, isSelfIssued, signedPartOf } from './read-binary.ts';

/** Signatures that choosing may cost. */
const SIGNATURES_MAX = 256;
const ECDSA_P256_BYTES = 64;

export interface ChosenCollateral {
  readonly source: CollateralSource;
  /** All that fits, best first: the first is what `source` gives. */
  readonly choices: (ref: CollateralRef) => readonly Collateral[];
  /** Where the pieces that were asked for stood, in the order in which they were first asked for. */
  readonly used: () => readonly string[];
}

export interface ChoiceContext {
  readonly crypto: CryptoProvider;
  readonly nowMs: number;
  /** Certificates that the evidence carries: they tell whose a list is. */
  readonly certificates?: readonly Certificate[];
}

/** A piece with what its rank depends on. */
interface Candidate<Entry> {
  readonly entry: Entry;
  readonly isSigned: boolean;
  readonly issuerChain: readonly Uint8Array[];
}

export function collateralSource(library: CollateralLibrary, context: ChoiceContext): ChosenCollateral {
  const used: string[] = [];
  const remembered = new Map<string, readonly Chosen[]>();
  const search = openSearch(library, context);
  const find = (ref: CollateralRef): readonly Chosen[] => {
    const key = `${ref.kind} ${toHex(concatBytes(ref.scope, ref.rootCertificate))}`;
    const known = remembered.get(key);
    if (known !== undefined) return known;
    const chosen = chooseFor(ref, search);
    remembered.set(key, chosen);
    const [best] = chosen;
    if (best !== undefined && !used.includes(best.origin)) used.push(best.origin);
    return chosen;
  };
  const source = <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) =>
    (find(ref)[0]?.item ?? null) as CollateralOf<K> | null;
  return { source, choices: (ref) => find(ref).map(({ item }) => item), used: () => used };
}

interface Search extends ChoiceContext {
  readonly library: CollateralLibrary;
  /** Each once. */
  readonly known: readonly Certificate[];
  /** Of signed JSON, among what is known. */
  readonly signersOf: (root: Certificate) => readonly Certificate[];
  signaturesLeft: number;
}

function openSearch(library: CollateralLibrary, context: ChoiceContext): Search {
  const own = library.certificates.map(({ certificate }) => certificate);
  const known = distinct([...own, ...(context.certificates ?? [])]);
  const signers = new Map<string, readonly Certificate[]>();
  const signersOf = (root: Certificate): readonly Certificate[] => {
    const name = toHex(root.subject);
    const found = signers.get(name) ?? signersBelow(root, known, context);
    signers.set(name, found);
    return found;
  };
  return { ...context, library, known, signersOf, signaturesLeft: SIGNATURES_MAX };
}

interface Chosen {
  readonly origin: string;
  readonly item: Collateral;
}

function chooseFor(ref: CollateralRef, search: Search): readonly Chosen[] {
  const { kind } = ref;
  switch (kind) {
    case 'intel-tcb-info':
    case 'intel-qe-identity':
      return ranked(signedJsonCandidates(ref, kind, search), search.nowMs).map(({ entry, issuerChain }) => {
        const { origin, body, signature } = entry;
        return { origin, item: { kind, body, signature, issuerChain } };
      });
    case 'intel-crl':
    case 'amd-crl':
      return ranked(listCandidates(ref, search), search.nowMs).map(
        ({ entry: { origin, crl }, issuerChain }) => ({
          origin,
          item: { kind, crl, issuerChain },
        }),
      );
  }
}

/** Of the scope asked for; where the files have only one of the kind at all, that one: it was meant. */
function signedJsonCandidates(
  ref: CollateralRef,
  kind: SignedJsonEntry['kind'],
  search: Search,
): readonly Candidate<SignedJsonEntry>[] {
  const ofKind = search.library.signedJson.filter((entry) => entry.kind === kind);
  const fitting = ofKind.filter(({ scope }) => scope === null || bytesEqual(scope, ref.scope));
  const entries = fitting.length === 0 && ofKind.length === 1 ? ofKind : fitting;
  const root = certificateOf(ref.rootCertificate);
  return entries.map((entry) => {
    const { signer, isSigned } = signerOf(entry, root, search);
    return { entry, isSigned, issuerChain: issuerChainFor(entry, signer, isSigned, ref) };
  });
}

/**
 * The chain that was given, unless it lacks the root or has more than it takes: then the signer below the root. A chain without
 * the signer, or with what is no certificate, stays as it is, so that it fails.
 */
function issuerChainFor(
  { issuerChain }: SignedJsonEntry,
  signer: Certificate | null,
  isSigned: boolean,
  { rootCertificate }: CollateralRef,
): readonly Uint8Array[] {
  const assembled = signer === null ? [] : [rootCertificate, signer.der];
  if (issuerChain === null || signer === null) return issuerChain ?? assembled;
  const hasSigner = isSigned && issuerChain.some((der) => bytesEqual(der, signer.der));
  return hasSigner && issuerChain.every((der) => certificateOf(der) !== null) ? assembled : issuerChain;
}

/** Who signed a piece, or else who might have: below the root, valid at the time before not valid. */
function signerOf(
  { body, signature, issuerChain }: SignedJsonEntry,
  root: Certificate | null,
  search: Search,
): { readonly signer: Certificate | null; readonly isSigned: boolean } {
  if (root === null) return { signer: null, isSigned: false };
  const given = (issuerChain ?? []).map(certificateOf).filter((certificate) => certificate !== null);
  const signers = [...signersBelow(root, given, search), ...search.signersOf(root)];
  const mightVerify = signature.length === ECDSA_P256_BYTES;
  for (const signer of mightVerify ? signers : []) {
    const holds =
      spend(search) &&
      search.crypto.verifyEcdsaP256(signer.publicKey, body, signature) &&
      spend(search) &&
      isIssuedBy(signer, root, search.crypto);
    if (holds) return { signer, isSigned: true };
  }
  return { signer: signers[0] ?? null, isSigned: false };
}

function signersBelow(
  root: Certificate,
  certificates: readonly Certificate[],
  { nowMs }: Pick<Search, 'nowMs'>,
): readonly Certificate[] {
  return certificates
    .filter(
      (each) =>
        bytesEqual(each.issuer, root.subject) && !isSelfIssued(each) && each.basicConstraints?.ca !== true,
    )
    .sort((a, b) => Number(isValid(b, nowMs)) - Number(isValid(a, nowMs)));
}

/**
 * Lists of the issuer asked for. A list that a bundle gives as that of the root or of the intermediate CA is taken for it
 * also where it cannot be told whose it is, or is another's.
 */
function listCandidates(ref: CollateralRef, search: Search): readonly Candidate<RevocationListEntry>[] {
  const root = certificateOf(ref.rootCertificate);
  const role = root !== null && bytesEqual(root.subject, ref.scope) ? 'root' : 'intermediate';
  const lists = search.library.revocationLists;
  const own = lists.filter(({ scope }) => scope !== null && bytesEqual(scope, ref.scope));
  const meant = lists.filter((entry) => entry.role === role || (entry.role === null && entry.scope === null));
  const isOneBundle = lists.filter((entry) => entry.role === role).length === 1;
  const fallback = meant.filter(({ scope }) => scope === null || isOneBundle);
  const issuers = distinct(root === null ? search.known : [root, ...search.known]).filter(({ subject }) =>
    bytesEqual(subject, ref.scope),
  );
  return (own.length > 0 ? own : fallback).map((entry) => {
    const issuer = issuers.find((each) => isListOf(entry, each, root, search));
    const chain = role === 'root' ? [ref.rootCertificate] : chainOf(issuer, ref.rootCertificate);
    return { entry, isSigned: issuer !== undefined, issuerChain: entry.issuerChain ?? chain };
  });
}

function chainOf(issuer: Certificate | undefined, rootCertificate: Uint8Array): readonly Uint8Array[] {
  return issuer === undefined ? [] : [rootCertificate, issuer.der];
}

function isListOf(
  { crl }: RevocationListEntry,
  issuer: Certificate,
  root: Certificate | null,
  search: Search,
): boolean {
  const isOfRoot =
    root !== null &&
    (bytesEqual(issuer.der, root.der) || (spend(search) && isIssuedBy(issuer, root, search.crypto)));
  return isOfRoot && spend(search) && isSignedDer(crl, issuer, search.crypto);
}

function isIssuedBy({ der, issuer }: Certificate, root: Certificate, crypto: CryptoProvider): boolean {
  return bytesEqual(issuer, root.subject) && isSignedDer(der, root, crypto);
}

/** Certificates and lists alike: what is signed, an algorithm, a signature. */
function isSignedDer(der: Uint8Array, { publicKey }: Certificate, crypto: CryptoProvider): boolean {
  const parts = signedPartOf(der);
  if (parts === null) return false;
  const { tbs, signature } = parts;
  if (publicKey.length !== 65) return crypto.verifyRsaPssSha384(publicKey, tbs, signature);
  try {
    return crypto.verifyEcdsaP256(publicKey, tbs, ecdsaSignatureFromDer(signature, 32, 'signature'));
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}

function spend(search: Search): boolean {
  search.signaturesLeft--;
  return search.signaturesLeft >= 0;
}

function distinct(certificates: readonly Certificate[]): readonly Certificate[] {
  return [...new Map(certificates.map((certificate) => [toHex(certificate.der), certificate])).values()];
}

function isValid({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): boolean {
  return notBeforeMs <= nowMs && nowMs <= notAfterMs;
}

function ranked<Entry extends { readonly facts: PieceFacts | null }>(
  candidates: readonly Candidate<Entry>[],
  nowMs: number,
): readonly Candidate<Entry>[] {
  const order = candidates.map((each) => ({
    each,
    rank: [each.isSigned ? 1 : 0, ...rankOf(each.entry.facts, nowMs)],
  }));
  return order.sort((a, b) => compareRanks(b.rank, a.rank)).map(({ each }) => each);
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : (a[at] as number) - (b[at] as number);
}

/** Current ones by version and issue; then those that ended, newest first; then those to come, next first. */
function rankOf(facts: PieceFacts | null, nowMs: number): readonly [number, number, number] {
  if (facts === null) return [0, 0, 0];
  const { issuedMs, nextUpdateMs, version } = facts;
  if (issuedMs > nowMs) return [1, -issuedMs, 0];
  return nowMs <= nextUpdateMs ? [3, version, issuedMs] : [2, issuedMs, 0];
}
