/** Collateral that the chain judges evidence by: posting what vendors signed, and seeing what is there. */
import { nodeCrypto } from '@haca/platform';
import { decode, toHex } from '@haca/primitives';
import {
  type ChainConfigRecord,
  type CollateralRef,
  collateralIdOf,
  formatOpg,
  keyEvidenceRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  tablePrefix,
} from '@haca/protocol';
import {
  appraisePieces,
  type CollateralEntry,
  type CollateralPiece,
  collateralNeeds,
  collateralTransactions,
  fetchBaseFee,
  type Haca,
  headerTimeMs,
  isPostable,
  listCollateral,
  listRecords,
  listRevokedCertificates,
  scopeText,
  sizeOfTransaction,
  subjectOf,
  type Wallet,
} from '@haca/sdk/node';
import { readCollateral } from '@haca/verifier';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, findWallet, NETWORK_FLAGS, openClient } from '../connection.ts';
import { readCollateralFiles } from '../evidence-inputs.ts';
import { checkLine, printable } from '../report.ts';

export const collateralPostCommand: Command = {
  name: 'collateral post',
  summary: `Brings TCB information, identities and revocation lists to the chain, where all evidence is judged by them.
Files and folders are read as by 'haca evidence verify --collateral': bundles, JSON, DER, PEM. Each piece authenticates itself,
so anybody may post it; only what is newer than the chain's own is, or than what counts of it where an issuer was taken back. Each is appraised here first, at the time of the newest block.
Exit code 0: posted, or nothing newer. 1: a piece that would be refused (the others are posted), or a transaction that failed.`,
  operands: 'FILE-OR-FOLDER...',
  flags: {
    wallet: { value: 'FILE', help: "who pays the fee (default: the devnet's wallet)" },
    'dry-run': { help: 'show what would be posted, and what it costs' },
    ...NETWORK_FLAGS,
  },
  examples: [
    'haca collateral post collateral/ --dry-run',
    'haca collateral post collateral.json --wallet ./operator.json',
    'haca collateral post tcbinfo.json qeidentity.json pck-crl.pem root-crl.der --json',
  ],
  run: runPost,
};

async function runPost(call: Call): Promise<number> {
  if (call.operands.length === 0)
    throw new CommandLineError('what to post? haca collateral post FILE-OR-FOLDER...');
  const library = readCollateral(readCollateralFiles(call.operands));
  if (library.signedJson.length + library.revocationLists.length === 0) {
    const ignored = library.ignored.slice(0, 5).map(({ name, reason }) => `${printable(name)}: ${reason}`);
    throw new CommandLineError(['there is no collateral in these files', ...ignored].join('\n'));
  }
  const network = await findNetwork(call);
  const isDryRun = call.has('dry-run');
  const haca = await openClient(call, network, isDryRun ? null : findWallet(call, network));
  try {
    const { record: config } = await haca.directory.config();
    const onChain = await listCollateral(haca.chain);
    const nowMs = headerTimeMs(haca.chain.head());
    const revoked = await listRevokedCertificates(haca.chain);
    const pieces = appraisePieces(library, { crypto: nodeCrypto, config, onChain, revoked, nowMs });
    if (!call.json) printPieces(call, pieces);
    const wanted = pieces.filter(isPostable).map(({ item }) => item);
    const transactions = collateralTransactions(wanted, haca.chain.chainId, config.params.gasTarget);
    const posted = isDryRun
      ? await estimate(haca, transactions)
      : await submitAll(haca.wallet as Wallet, transactions);
    const refused = pieces.filter(({ state }) => state === 'refused').length;
    if (call.json)
      call.out(
        JSON.stringify({ pieces: pieces.map(viewOf), dryRun: isDryRun, transactions: posted }, null, 2),
      );
    else printOutcome(call, isDryRun, pieces, posted);
    return refused > 0 || pieces.length === 0 ? 1 : 0;
  } finally {
    haca.close();
  }
}

interface Posted {
  readonly pieces: number;
  readonly gas: number;
  /** Of an estimate, at the base fee of the moment. */
  readonly feeNopg?: string;
  readonly height?: number;
  readonly txHash?: string;
}

type Transactions = ReturnType<typeof collateralTransactions>;

const countOf = (ops: Transactions[number]): number => ops.reduce((sum, { items }) => sum + items.length, 0);

async function estimate(haca: Haca, transactions: Transactions): Promise<readonly Posted[]> {
  const baseFee = await fetchBaseFee(haca.chain.rpc);
  return transactions.map((ops) => {
    const { gas } = sizeOfTransaction(ops, haca.chain.chainId);
    return { pieces: countOf(ops), gas, feeNopg: `${BigInt(gas) * baseFee}` };
  });
}

/** One after the other: later pieces rest on earlier ones. */
async function submitAll(wallet: Wallet, transactions: Transactions): Promise<readonly Posted[]> {
  const posted: Posted[] = [];
  for (const ops of transactions) {
    const { height, hash, gasUsed } = await wallet.submit(ops);
    posted.push({ pieces: countOf(ops), gas: gasUsed, height, txHash: toHex(hash) });
  }
  return posted;
}

function viewOf({ ref, facts, state, verdict, onChain }: CollateralPiece) {
  return {
    collateralId: toHex(collateralIdOf(ref)),
    kind: ref.kind,
    scope: scopeText(ref),
    state,
    simulated: facts?.simulated ?? null,
    number: facts?.version[0] ?? null,
    issuedMs: facts?.issuedMs ?? null,
    nextUpdateMs: facts?.nextUpdateMs ?? null,
    onChain: onChain === null ? null : { ...onChain.version, nextUpdateMs: onChain.nextUpdateMs },
    checks: verdict.checks,
  };
}

function printPieces(call: Call, pieces: readonly CollateralPiece[]): void {
  const rows = pieces.map(({ ref, facts, state, onChain }) => [
    ref.kind,
    printable(scopeText(ref)),
    facts === null ? '-' : dateText(facts.issuedMs),
    facts === null ? '-' : `${facts.version[0]}`,
    onChain === null ? '-' : `${onChain.version.number} of ${dateText(onChain.version.issuedMs)}`,
    state,
  ]);
  for (const line of table([['kind', 'about', 'issued', 'number', 'on chain', ''], ...rows])) call.out(line);
  for (const { ref, state, verdict } of pieces) {
    if (state !== 'refused') continue;
    const [problem] = verdict.checks.filter(({ status }) => status === 'failed' || status === 'skipped');
    if (problem !== undefined)
      call.out(`${ref.kind} ${printable(scopeText(ref))}: ${printable(checkLine(problem))}`);
  }
}

function printOutcome(
  call: Call,
  isDryRun: boolean,
  pieces: readonly CollateralPiece[],
  posted: readonly Posted[],
): void {
  const wanted = pieces.filter(isPostable).length;
  if (pieces.length === 0)
    call.out('nothing here hangs on a root that this network trusts, or on one that is at hand');
  else if (wanted === 0) call.out('nothing here is newer than what the chain has');
  for (const { pieces: count, gas, feeNopg, height, txHash } of posted) {
    call.out(
      isDryRun
        ? `would post ${count} pieces for ${gas} gas, ${formatOpg(BigInt(feeNopg ?? 0))} at the base fee of now`
        : `posted ${count} pieces at height ${height} for ${gas} gas: ${txHash}`,
    );
  }
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function dateText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}

export const collateralListCommand: Command = {
  name: 'collateral list',
  summary: `Shows the collateral that the chain judges evidence by: how old it is, until when it is good, and which keys need it.
Each row is proven by the light client; pieces that open keys need and the chain does not have are listed as missing.
Exit code 3: a piece that an open key needs is missing or past its next update.`,
  operands: '',
  flags: { ...NETWORK_FLAGS },
  examples: ['haca collateral list', 'haca collateral list --json'],
  run: async (call) => {
    const haca = await openClient(call, await findNetwork(call), null);
    try {
      return await showList(call, haca);
    } finally {
      haca.close();
    }
  },
};

interface Needed {
  readonly ref: CollateralRef;
  readonly keys: string[];
}

async function showList(call: Call, haca: Haca): Promise<number> {
  const { record: config } = await haca.directory.config();
  const entries = await listCollateral(haca.chain);
  const needs = await neededBy(haca, config);
  const head = haca.chain.head();
  const nowMs = headerTimeMs(head);
  const rows = entries.map((entry) => rowOf(entry, needs.get(toHex(entry.id))?.keys ?? [], nowMs, config));
  const known = new Set(entries.map(({ id }) => toHex(id)));
  const missing = [...needs]
    .filter(([id]) => !known.has(id))
    .map(([collateralId, { ref, keys }]) => ({ collateralId, kind: ref.kind, scope: scopeText(ref), keys }));
  if (call.json) {
    call.out(JSON.stringify({ height: head.height, timeMs: nowMs, collateral: rows, missing }, null, 2));
  } else {
    const cells = rows.map((row) => [
      row.kind,
      `${printable(row.scope)}${row.simulated ? ' (test root)' : ''}`,
      `${row.number}`,
      `${daysText(row.ageMs)} old`,
      row.endsInMs > 0
        ? `next update in ${daysText(row.endsInMs)}`
        : `OVERDUE, good for ${daysText(row.graceLeftMs)}`,
      `${row.keys.length} keys`,
    ]);
    for (const line of table(cells)) call.out(line);
    for (const { kind, scope, keys } of missing) {
      call.out(`MISSING ${kind} ${printable(scope)}, needed by ${keys.length} keys`);
    }
    if (rows.length + missing.length === 0)
      call.out('the chain has no collateral, and no open key needs any');
  }
  const isShort = missing.length > 0 || rows.some(({ endsInMs, keys }) => endsInMs <= 0 && keys.length > 0);
  return isShort ? 3 : 0;
}

/** By collateral id: what open keys are judged by. Keys and their evidence are listed unproven. */
async function neededBy(haca: Haca, config: ChainConfigRecord): Promise<ReadonlyMap<string, Needed>> {
  const needs = new Map<string, Needed>();
  const { rpc, head } = haca.chain;
  const { height } = head();
  const keys = await listRecords(rpc, tablePrefix('nodeKey'));
  // After the keys, so that one that was just opened has its row.
  const rows = new Map(
    (await listRecords(rpc, tablePrefix('keyEvidence'))).map(([key, bytes]) => [
      toHex(key.slice(1)),
      decode(keyEvidenceRecordCodec, bytes, 'key-evidence'),
    ]),
  );
  for (const [key, bytes] of keys) {
    const record = decode(nodeKeyRecordCodec, bytes, 'node-key');
    if (!isOpen(record, height)) continue;
    const keyId = toHex(key.slice(1));
    for (const ref of collateralNeeds(nodeCrypto, config, record, rows.get(keyId) ?? null)) {
      const id = toHex(collateralIdOf(ref));
      const known = needs.get(id) ?? { ref, keys: [] };
      known.keys.push(keyId);
      needs.set(id, known);
    }
  }
  return needs;
}

function isOpen({ stop, closingAt, notAfter }: NodeKeyRecord, height: number): boolean {
  return stop === undefined && height < Math.min(closingAt ?? notAfter, notAfter);
}

function rowOf(
  { id, record }: CollateralEntry,
  keys: readonly string[],
  nowMs: number,
  config: ChainConfigRecord,
) {
  const { item, version, nextUpdateMs, simulated, height, superseded } = record;
  const { tcbGraceMs, collateralGraceMs } = config.params;
  return {
    collateralId: toHex(id),
    kind: item.kind,
    scope: subjectOf(item),
    number: version.number,
    issuedMs: version.issuedMs,
    nextUpdateMs,
    ageMs: nowMs - version.issuedMs,
    endsInMs: nextUpdateMs - nowMs,
    graceLeftMs: Math.max(0, nextUpdateMs + collateralGraceMs - nowMs),
    simulated,
    height,
    superseded: superseded.map((each) => ({ ...each.version, graceEndMs: each.atMs + tcbGraceMs })),
    keys,
  };
}

const DAY_MS = 86_400_000;

function daysText(ms: number): string {
  return ms < DAY_MS ? `${(ms / 3_600_000).toFixed(1)} h` : `${(ms / DAY_MS).toFixed(1)} days`;
}
