/**
 * Collateral for the chain: what files hold, appraised as full nodes will appraise it, held against the rows that are there, and
 * what open keys are judged by.
 */
import { bytesEqual, type CryptoProvider, decode, MalformedError, toHex, UsageError } from '@haca/primitives';
import {
  type ChainConfigRecord,
  COLLATERAL_ITEMS_MAX,
  type Collateral,
  type CollateralKind,
  type CollateralOf,
  type CollateralRecord,
  type CollateralRef,
  collateralIdOf,
  collateralRecordCodec,
  type KeyEvidenceRecord,
  keyEvidenceHash,
  type NodeKeyRecord,
  nopg,
  OPS_MAX,
  type OpOf,
  recordKey,
  revokedCertificatesRecordCodec,
  signTransaction,
  TRANSACTION_MAX_BYTES,
  tablePrefix,
  transactionGas,
  type Verdict,
} from '@haca/protocol';
import {
  AMD_DEVIATIONS,
  appraisePosted,
  type Certificate,
  type CollateralFacts,
  type CollateralLibrary,
  type CollateralSource,
  collateralRoots,
  collateralSource,
  findTrustRoot,
  isDisowned,
  isNewer,
  parseCertificate,
  parseCrl,
  parseQeIdentity,
  parseTcbInfo,
  type RevokedCertificate,
  rescoreEvidence,
  rescoringContext,
  type TrustRoot,
  whatKeepsOut,
} from '@haca/verifier';
import { listRecords } from './chain/record-list.ts';
import type { ChainView } from './chain/view.ts';
import { evidenceRules, openEvidenceRecords } from './evidence-records.ts';

export interface CollateralEntry {
  readonly id: Uint8Array;
  readonly record: CollateralRecord;
}

/** Rows of the chain, each proven; which rows there are is the full node's word. */
export async function listCollateral(chain: ChainView): Promise<readonly CollateralEntry[]> {
  const listed = await listRecords(chain.rpc, tablePrefix('collateral'));
  const entries: CollateralEntry[] = [];
  for (const [key] of listed) {
    const { value } = await chain.record(key);
    if (value === null) continue;
    entries.push({ id: key.slice(1), record: decode(collateralRecordCodec, value, 'collateral') });
  }
  return entries;
}

/** Certificates that the chain took back by decree; proven. */
export async function listRevokedCertificates(chain: ChainView): Promise<readonly RevokedCertificate[]> {
  const { value } = await chain.record(recordKey.revokedCertificates());
  return value === null ? [] : decode(revokedCertificatesRecordCodec, value, 'revoked-certificates');
}

/** A reference as people read it: `TDX:90c06f000000`, `TD_QE`, or the common name of a list's issuer. */
export function scopeText({ kind, scope }: Pick<CollateralRef, 'kind' | 'scope'>): string {
  if (kind === 'intel-tcb-info' || kind === 'intel-qe-identity') return printable(scope);
  return commonName(scope) ?? toHex(scope);
}

const COMMON_NAME = '0603550403';

/** The first common name in DER of a Name, where it is a short string. */
function commonName(name: Uint8Array): string | null {
  const at = toHex(name).indexOf(COMMON_NAME);
  if (at < 0 || at % 2 !== 0) return null;
  const value = at / 2 + COMMON_NAME.length / 2;
  const length = name[value + 1] ?? 0x80;
  return length < 0x80 ? printable(name.subarray(value + 2, value + 2 + length)) : null;
}

function printable(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?')).join(
    '',
  );
}

/**
 * `new` and `newer` can be posted: the chain has none of the name, or none that counts and is as new. What it has counts for nothing once
 * its issuer was taken back, however high its number. `same` and `older` are kept out by what it has; `refused` says why in the
 * verdict.
 */
export type PieceState = 'new' | 'newer' | 'same' | 'older' | 'refused';

export interface CollateralPiece {
  readonly ref: CollateralRef;
  readonly item: Collateral;
  readonly verdict: Verdict;
  /** Null where it was refused. */
  readonly facts: CollateralFacts | null;
  readonly state: PieceState;
  readonly onChain: CollateralRecord | null;
}

export interface PieceContext {
  readonly crypto: CryptoProvider;
  readonly config: Pick<ChainConfigRecord, 'simulated' | 'testRoots'>;
  readonly onChain: readonly CollateralEntry[];
  /** Certificates that the chain took back by decree. */
  readonly revoked: readonly RevokedCertificate[];
  /** Block time to judge at. */
  readonly nowMs: number;
}

/**
 * The best piece that the files hold of each name, in an order in which each rests on those before it. What the chain holds
 * already counts: its certificates and lists need not be given again.
 */
export function appraisePieces(
  library: CollateralLibrary,
  context: PieceContext,
): readonly CollateralPiece[] {
  const { crypto, config, onChain, revoked, nowMs } = context;
  const roots = collateralRoots(config);
  const rows = new Map(onChain.map(({ id, record }) => [toHex(id), record]));
  const certificates = certificatesOf(onChain);
  const { choices } = collateralSource(library, { crypto, nowMs, certificates });
  const accepted = new Map<string, Collateral>();
  const source: CollateralSource = <K extends CollateralKind>(ref: CollateralRef & { readonly kind: K }) => {
    const name = toHex(collateralIdOf(ref));
    const item = accepted.get(name) ?? rows.get(name)?.item ?? null;
    return item?.kind === ref.kind ? (item as CollateralOf<K>) : null;
  };
  const appraise = (item: Collateral) =>
    appraisePosted(item, { crypto, nowMs, roots, collateral: source, revoked });
  const judge = (ref: CollateralRef, item: Collateral): CollateralPiece => {
    const { verdict, facts } = appraise(item);
    const onRow = rows.get(toHex(collateralIdOf(facts?.ref ?? ref))) ?? null;
    if (facts === null) return { ref, item, verdict, facts, state: 'refused', onChain: onRow };
    const state = stateOf(facts, onRow, (held) => isDisowned(appraise(held)));
    return { ref: facts.ref, item, verdict, facts, state, onChain: onRow };
  };
  const trusted = rootCertificates(library, certificates, roots, crypto);
  return namesOf(library, trusted).flatMap((name) => {
    const refs = trusted.filter((root) => fits(name, root)).map((root) => refOf(name, root));
    const judged = refs.flatMap((ref) => choices(ref).map((item) => judge(ref, item)));
    // By the name that it turned out to have: what brings its own chain is found under those of other roots too.
    const good = [...Map.groupBy(judged.filter(isGood), nameOf).values()].map(newestOf);
    for (const piece of good.filter(isPostable)) accepted.set(nameOf(piece), piece.item);
    return good.length > 0 ? good : judged.slice(0, 1);
  });
}

const nameOf = ({ ref }: CollateralPiece): string => toHex(collateralIdOf(ref));
const isGood = ({ state }: CollateralPiece): boolean => state !== 'refused';

/** Whether the chain would take it. */
export function isPostable({ state }: Pick<CollateralPiece, 'state'>): boolean {
  return state === 'new' || state === 'newer';
}

/** Of good ones: what was signed with a stolen key keeps nothing genuine out here either. */
function newestOf(pieces: readonly CollateralPiece[]): CollateralPiece {
  return pieces.reduce((best, each) =>
    each.facts !== null && best.facts !== null && isNewer(each.facts, best.facts) ? each : best,
  );
}

function stateOf(
  { version }: CollateralFacts,
  row: CollateralRecord | null,
  isOut: (item: Collateral) => boolean,
): PieceState {
  if (row === null) return 'new';
  const newest = whatKeepsOut(version, row, isOut);
  if (newest === null) return 'newer';
  const [number, issuedMs] = version;
  return newest.number === number && newest.issuedMs === issuedMs ? 'same' : 'older';
}

function certificatesOf(entries: readonly CollateralEntry[]): readonly Certificate[] {
  const ders = entries.flatMap(({ record }) => record.item.issuerChain);
  const distinct = new Map(ders.map((der) => [toHex(der), der]));
  return [...distinct.values()].flatMap((der) => certificateOf(der));
}

function certificateOf(der: Uint8Array): readonly Certificate[] {
  try {
    return [parseCertificate(der, 'certificate', AMD_DEVIATIONS)];
  } catch (error) {
    if (error instanceof MalformedError) return [];
    throw error;
  }
}

function rootCertificates(
  library: CollateralLibrary,
  certificates: readonly Certificate[],
  roots: readonly TrustRoot[],
  crypto: CryptoProvider,
): readonly Certificate[] {
  const known = [...library.certificates.map(({ certificate }) => certificate), ...certificates];
  const distinct = new Map(known.map((certificate) => [toHex(certificate.der), certificate]));
  return [...distinct.values()].filter(({ der }) => findTrustRoot(roots, crypto.sha256(der)) !== undefined);
}

interface PieceName {
  readonly kind: 'intel-tcb-info' | 'intel-qe-identity' | 'crl';
  readonly scope: Uint8Array;
}

/** Lists before what they may revoke the signer of: those of roots, those of others, signed objects. */
function namesOf(
  { revocationLists, signedJson }: CollateralLibrary,
  roots: readonly Certificate[],
): readonly PieceName[] {
  const all = [
    ...revocationLists.map(({ scope }) => ({ kind: 'crl' as const, scope })),
    ...signedJson.map(({ kind, scope }) => ({ kind, scope })),
  ];
  const named = all.flatMap(({ kind, scope }) => (scope === null ? [] : [{ kind, scope }]));
  const subjects = new Set(roots.map(({ subject }) => toHex(subject)));
  const rankOf = ({ kind, scope }: PieceName): number =>
    kind !== 'crl' ? 2 : subjects.has(toHex(scope)) ? 0 : 1;
  return [...new Map(named.map((name) => [`${name.kind} ${toHex(name.scope)}`, name])).values()].sort(
    (a, b) => rankOf(a) - rankOf(b),
  );
}

const P256_POINT_BYTES = 65;
const isIntel = ({ publicKey }: Certificate): boolean => publicKey.length === P256_POINT_BYTES;

/** AMD's lists are those of its roots; everything else is Intel's. */
function fits({ kind, scope }: PieceName, root: Certificate): boolean {
  return isIntel(root) || (kind === 'crl' && toHex(root.subject) === toHex(scope));
}

function refOf({ kind, scope }: PieceName, root: Certificate): CollateralRef {
  const listKind = isIntel(root) ? 'intel-crl' : 'amd-crl';
  return { kind: kind === 'crl' ? listKind : kind, rootCertificate: root.der, scope };
}

type PostCollateral = OpOf<'post-collateral'>;

/**
 * The operations of each transaction, as few transactions as fit: by bytes, and by half of the gas that a block has for them.
 * Their order is kept.
 */
export function collateralTransactions(
  items: readonly Collateral[],
  chainId: string,
  gasTarget: number,
): readonly (readonly PostCollateral[])[] {
  const transactions: PostCollateral[][] = [];
  let current: Collateral[] = [];
  for (const item of items) {
    const more = [...current, item];
    if (current.length > 0 && !fitsOne(postOps(more), chainId, gasTarget)) {
      transactions.push(postOps(current));
      current = [item];
    } else {
      current = more;
    }
  }
  return current.length === 0 ? transactions : [...transactions, postOps(current)];
}

function postOps(items: readonly Collateral[]): PostCollateral[] {
  const count = Math.ceil(items.length / COLLATERAL_ITEMS_MAX);
  return Array.from({ length: count }, (_, i) => ({
    kind: 'post-collateral' as const,
    items: items.slice(i * COLLATERAL_ITEMS_MAX, (i + 1) * COLLATERAL_ITEMS_MAX),
  }));
}

/** As admission class G has it: three eighths of the target a block, of which one transaction takes half. */
const GAS_SHARE = 3 / 16;

function fitsOne(ops: readonly PostCollateral[], chainId: string, gasTarget: number): boolean {
  if (ops.length > OPS_MAX) return false;
  const { bytes, gas } = sizeOfTransaction(ops, chainId);
  return bytes <= TRANSACTION_MAX_BYTES && gas <= GAS_SHARE * gasTarget;
}

/** Bytes and gas of a transaction with these operations, whoever signs it. */
export function sizeOfTransaction(
  ops: readonly PostCollateral[],
  chainId: string,
): { readonly bytes: number; readonly gas: number } {
  const number = 2 ** 32;
  const body = {
    version: 1 as const,
    chainId,
    sender: { algorithm: 'ed25519' as const, publicKey: new Uint8Array(32) },
    nonce: number,
    validUntil: number,
    maxFee: nopg(BigInt(number)),
    tipCap: nopg(0n),
    feePayer: null,
    ops,
  };
  try {
    const transaction = signTransaction(body, () => new Uint8Array(64));
    return { bytes: transaction.bytes.length, gas: transactionGas(transaction) };
  } catch (error) {
    if (!(error instanceof MalformedError) && !(error instanceof UsageError)) throw error;
    return { bytes: Number.POSITIVE_INFINITY, gas: Number.POSITIVE_INFINITY };
  }
}

/**
 * What a key is judged by, in the order in which it is asked for; found by judging its facts without any. Throws `MalformedError`
 * where `record` is not the row of evidence that the key's row names.
 */
export function collateralNeeds(
  crypto: CryptoProvider,
  config: ChainConfigRecord,
  { evidence }: Pick<NodeKeyRecord, 'evidence'>,
  record: KeyEvidenceRecord | null,
): readonly CollateralRef[] {
  if (evidence === null) return [];
  if (record === null || !bytesEqual(keyEvidenceHash(record), evidence.recordHash)) {
    const got = record === null ? 'none' : toHex(keyEvidenceHash(record));
    throw new MalformedError('key-evidence.hash', 'key-evidence', toHex(evidence.recordHash), got);
  }
  const needs = new Map<string, CollateralRef>();
  const rules = evidenceRules(openEvidenceRecords([]), config, 0);
  const context = rescoringContext(crypto, {
    ...rules,
    collateral: (ref) => {
      needs.set(toHex(recordKey.collateral(collateralIdOf(ref))), ref);
      return null;
    },
  });
  rescoreEvidence(evidence.kind, record.facts, context);
  return [...needs.values()];
}

/** What a piece that the chain accepted is about, as `scopeText` gives it for its reference. */
export function subjectOf(item: Collateral): string {
  switch (item.kind) {
    case 'intel-tcb-info': {
      const { id, fmspc } = parseTcbInfo(item.body);
      return `${id}:${toHex(fmspc)}`;
    }
    case 'intel-qe-identity':
      return parseQeIdentity(item.body).id;
    case 'intel-crl':
    case 'amd-crl':
      return scopeText({ kind: item.kind, scope: parseCrl(item.crl, 'crl').issuer });
  }
}
