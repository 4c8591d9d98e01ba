/** The demonstration: fund a wallet, ask one question, have one digit classified with a proof, follow the receipt to finality, and account for every unit of money. */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { decode, toHex } from '@haca/primitives';
import {
  accountRecordCodec,
  NCR_PER_CREDIT,
  OPG_SUPPLY_NOPG,
  recordKey,
  type TotalsRecord,
  totalsRecordCodec,
} from '@haca/protocol';
import {
  type Answer,
  type Haca,
  openHaca,
  parseGenesisDocument,
  readWalletFile,
  submitOps,
} from '@haca/sdk/node';
import { classOf, DIGITS_SAMPLES, drawDigit, readDigit } from './digits.ts';
import { DEVNET_ASSET, DEVNET_ASSET_SYMBOL, type NetworkLayout } from './network-layout.ts';

const FUNDS = 20n * NCR_PER_CREDIT;
const DEPOSIT = 10n * NCR_PER_CREDIT;
const ALLOCATION = 2n * NCR_PER_CREDIT;
const DIGITS_NAME = 'digits';
const PAYOUT_TIMEOUT_MS = 30_000;

export interface ChatResultSummary {
  readonly model: string;
  readonly prompt: string;
  readonly text: string;
  readonly tokens: number;
  readonly answerMs: number;
  readonly verifyMs: number;
  readonly receiptId: string;
  readonly assurance: string;
  readonly lifecycle: readonly {
    readonly state: string;
    readonly height: number | null;
    readonly ms: number;
  }[];
}

/** One digit, classified by a node and proved to the chain. */
export interface ClassificationSummary {
  readonly model: string;
  /** The image in text. */
  readonly picture: readonly string[];
  readonly digit: number;
  readonly answer: number;
  readonly answerMs: number;
  readonly receiptId: string;
  /** What may be said of the answer at the end: `zk` after this client verified the proof. */
  readonly assurance: string;
  readonly lifecycle: ChatResultSummary['lifecycle'];
  readonly proof: {
    readonly inferences: number;
    readonly bytes: number;
    /** By the node's word. */
    readonly proveMs: number | null;
    readonly verifyMs: number;
  };
  readonly paidByUser: string;
  readonly receivedByNode: string;
  readonly burnedNopg: string;
}

export interface DemoSummary {
  readonly chat: ChatResultSummary;
  readonly money: {
    readonly feeAsset: string;
    /** Base units of the fee asset, decimal. */
    readonly paidByUser: string;
    readonly receivedByNode: string;
    readonly burnedNopg: string;
    readonly supplyBefore: string;
    readonly supplyAfter: string;
  };
  readonly classification: ClassificationSummary;
  readonly lightClient: { readonly verified: boolean; readonly height: number };
}

/** A client with the devnet's wallet: money is issued to it first, and the test enclave is accepted by name. */
export async function openDemoClient(layout: NetworkLayout, rpcUrl: string): Promise<Haca> {
  const genesis = parseGenesisDocument(readFileSync(layout.genesisFile));
  const wallet = readWalletFile(layout.walletFile);
  const haca = await openHaca({
    rpcUrl,
    trust: { genesis },
    wallet,
    policy: { minAssurance: 'tee', acceptSimulated: true },
    channel: { asset: DEVNET_ASSET, deposit: DEPOSIT, allocation: ALLOCATION },
  });
  if (layout.isNew) {
    await submitOps({
      rpc: haca.chain.rpc,
      chainId: layout.chainId,
      signer: readWalletFile(layout.faucetFile).signer,
      ops: [{ kind: 'issue', to: wallet.accountId, asset: DEVNET_ASSET, amount: FUNDS as never }],
    });
  }
  return haca;
}

export async function runDemo(
  haca: Haca,
  prompt: string,
  onText: (text: string) => void,
): Promise<DemoSummary> {
  const chat = await runChat(haca, prompt, onText);
  const classification = await runClassification(haca);
  const after = await readTotals(haca);
  const isFinal = chat.isFinal && classification.isFinal;
  return {
    chat: chat.summary,
    money: {
      ...chat.money,
      burnedNopg: `${burned(after) - chat.burnedBefore}`,
      supplyBefore: `${OPG_SUPPLY_NOPG - chat.burnedBefore}`,
      supplyAfter: `${OPG_SUPPLY_NOPG - burned(after)}`,
    },
    classification: classification.summary,
    lightClient: { verified: isFinal && haca.chain.headVerdict().ok, height: haca.chain.head().height },
  };
}

async function runChat(haca: Haca, prompt: string, onText: (text: string) => void) {
  const before = await readTotals(haca);
  const payouts = await readPayouts(haca);
  const startedAt = performance.now();
  const { text, answer } = await haca.chat({ prompt, onText });
  const answerMs = performance.now() - startedAt;
  const { lifecycle, verdict } = await followToFinal(answer, startedAt, answerMs);
  const { amount } = answer.receipt.value;
  const receivedByNode = await waitForPayout(haca, answer, payouts);
  const summary: ChatResultSummary = {
    model: answer.modelName,
    prompt,
    text,
    tokens: answer.receipt.value.usage.outputTokens,
    answerMs: Math.round(answerMs),
    verifyMs: Math.round(answer.timing.verifyMs * 100) / 100,
    receiptId: answer.id,
    assurance: answer.assurance,
    lifecycle,
  };
  const money = {
    feeAsset: DEVNET_ASSET_SYMBOL,
    paidByUser: `${amount}`,
    receivedByNode: `${receivedByNode}`,
  };
  return { summary, money, burnedBefore: burned(before), isFinal: verdict.ok };
}

async function runClassification(haca: Haca) {
  const before = await readTotals(haca);
  const payouts = await readPayouts(haca);
  const digit = readDigit(DIGITS_SAMPLES, randomInt);
  const startedAt = performance.now();
  const { outputs, answer } = await haca.infer({ model: DIGITS_NAME, tensors: [digit.pixels] });
  const answerMs = performance.now() - startedAt;
  const { lifecycle, verdict, proof } = await followToFinal(answer, startedAt, answerMs);
  if (proof === null) throw new Error('a proved answer without its proof');
  const receivedByNode = await waitForPayout(haca, answer, payouts);
  const after = await readTotals(haca);
  const summary: ClassificationSummary = {
    model: answer.modelName,
    picture: drawDigit(digit),
    digit: digit.label,
    answer: classOf(outputs[0] ?? []),
    answerMs: Math.round(answerMs),
    receiptId: answer.id,
    assurance: answer.assurance,
    lifecycle,
    proof: {
      inferences: proof.batchSize,
      bytes: proof.proofBytes,
      proveMs: proof.proveMs,
      verifyMs: Math.round(proof.verifyMs * 10) / 10,
    },
    paidByUser: `${answer.receipt.value.amount}`,
    receivedByNode: `${receivedByNode}`,
    burnedNopg: `${burned(after) - burned(before)}`,
  };
  return { summary, isFinal: verdict.ok && proof.verdict.ok };
}

/** Until the light client has proved it; a claim that waits for its proof shows as `proving` or not at all. */
async function followToFinal(answer: Answer, startedAt: number, answerMs: number) {
  const lifecycle: { state: string; height: number | null; ms: number }[] = [];
  const { verdict, proof } = await answer.until('final', {
    onState: ({ state, height }) => {
      if (state === 'proving') return;
      const ms = state === 'executed' ? answerMs : performance.now() - startedAt;
      lifecycle.push({ state, height, ms: Math.round(ms) });
    },
  });
  return { lifecycle, verdict, proof };
}

/** A node's payout account, and what it held when nothing had been asked of it. */
interface Payout {
  readonly accountId: Uint8Array;
  readonly before: bigint;
}

/** Of every node, by its id in hex. */
async function readPayouts(haca: Haca): Promise<ReadonlyMap<string, Payout>> {
  await haca.chain.sync();
  const nodes = await haca.nodes();
  const payouts = nodes.map(async ({ nodeId, record }): Promise<readonly [string, Payout]> => {
    const { payout: accountId } = record;
    return [toHex(nodeId), { accountId, before: await creditsOf(haca, accountId) }];
  });
  return new Map(await Promise.all(payouts));
}

/** What arrived at the node that answered, once the charge was redeemed: proven records, not the node's word. */
async function waitForPayout(
  haca: Haca,
  answer: Answer,
  payouts: ReadonlyMap<string, Payout>,
): Promise<bigint> {
  const payout = payouts.get(toHex(answer.node.nodeId));
  if (payout === undefined) throw new Error('the node that answered is not in the chain records');
  const { amount } = answer.receipt.value;
  const deadline = performance.now() + PAYOUT_TIMEOUT_MS;
  for (;;) {
    await haca.chain.sync();
    const received = (await creditsOf(haca, payout.accountId)) - payout.before;
    if (received >= amount) return received;
    if (performance.now() > deadline) throw new Error(`the node received ${received} of ${amount} in time`);
    await new Promise((settle) => setTimeout(settle, 50));
  }
}

async function creditsOf(haca: Haca, accountId: Uint8Array): Promise<bigint> {
  const { value } = await haca.chain.record(recordKey.account(accountId));
  if (value === null) return 0n;
  const { credits } = decode(accountRecordCodec, value, 'account');
  return credits.find(([asset]) => asset === DEVNET_ASSET)?.[1] ?? 0n;
}

async function readTotals(haca: Haca): Promise<TotalsRecord> {
  await haca.chain.sync();
  const { value } = await haca.chain.record(recordKey.totals());
  if (value === null) throw new Error('the chain has no totals record');
  return decode(totalsRecordCodec, value, 'totals');
}

function burned({ burnedFees, burnedSlash, burnedDeposit }: TotalsRecord): bigint {
  return burnedFees + burnedSlash + burnedDeposit;
}
