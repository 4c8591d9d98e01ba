/** The demonstration: fund a wallet, ask one question, follow the receipt to finality, and account for every unit of money. */
import { readFileSync } from 'node:fs';
import { decode } from '@haca/primitives';
import {
  accountRecordCodec,
  allocationRecordCodec,
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
import { DEVNET_ASSET, DEVNET_ASSET_SYMBOL, type NetworkLayout } from './network-layout.ts';

const FUNDS = 20n * NCR_PER_CREDIT;
const DEPOSIT = 10n * NCR_PER_CREDIT;
const ALLOCATION = 2n * NCR_PER_CREDIT;
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
  const before = await readTotals(haca);
  const startedAt = performance.now();
  const { text, answer } = await haca.chat({ prompt, onText });
  const answerMs = performance.now() - startedAt;
  const payout = await payoutAccount(haca, answer);
  const lifecycle: { state: string; height: number | null; ms: number }[] = [];
  const { verdict } = await answer.until('final', {
    onState: (step) => {
      const ms = step.state === 'executed' ? answerMs : performance.now() - startedAt;
      lifecycle.push({ state: step.state, height: step.height, ms: Math.round(ms) });
    },
  });
  const { amount } = answer.receipt.value;
  const receivedByNode = await waitForPayout(haca, answer, payout);
  const after = await readTotals(haca);
  const head = haca.chain.head();
  return {
    chat: {
      model: answer.modelName,
      prompt,
      text,
      tokens: answer.receipt.value.usage.outputTokens,
      answerMs: Math.round(answerMs),
      verifyMs: Math.round(answer.timing.verifyMs * 100) / 100,
      receiptId: answer.id,
      assurance: answer.assurance,
      lifecycle,
    },
    money: {
      feeAsset: DEVNET_ASSET_SYMBOL,
      paidByUser: `${amount}`,
      receivedByNode: `${receivedByNode}`,
      burnedNopg: `${burned(after) - burned(before)}`,
      supplyBefore: `${OPG_SUPPLY_NOPG - burned(before)}`,
      supplyAfter: `${OPG_SUPPLY_NOPG - burned(after)}`,
    },
    lightClient: { verified: verdict.ok && haca.chain.headVerdict().ok, height: head.height },
  };
}

interface PayoutAccount {
  readonly accountId: Uint8Array;
  readonly before: bigint;
}

async function payoutAccount(haca: Haca, answer: Answer): Promise<PayoutAccount> {
  const node = (await haca.nodes()).find(({ nodeId }) => Buffer.compare(nodeId, answer.node.nodeId) === 0);
  if (node === undefined) throw new Error('the node that answered is not in the chain records');
  const accountId = node.record.payout;
  const { receipt } = answer;
  // Everything this node was ever paid came through allocations; what this channel had paid before is the zero line.
  const paidBefore = await paidFromAllocation(haca, receipt.value.channelId, receipt.value.nodeId);
  return { accountId, before: (await creditsOf(haca, accountId)) - paidBefore };
}

/** What arrived at the node for this channel, once the receipt's charge was redeemed: proven records, not the node's word. */
async function waitForPayout(haca: Haca, answer: Answer, payout: PayoutAccount): Promise<bigint> {
  const { channelId, nodeId, cumulative } = answer.receipt.value;
  const deadline = performance.now() + PAYOUT_TIMEOUT_MS;
  for (;;) {
    await haca.chain.sync();
    const paid = await paidFromAllocation(haca, channelId, nodeId);
    if (paid >= cumulative) return (await creditsOf(haca, payout.accountId)) - payout.before;
    if (performance.now() > deadline) throw new Error(`the node redeemed ${paid} of ${cumulative} in time`);
    await new Promise((settle) => setTimeout(settle, 50));
  }
}

async function paidFromAllocation(haca: Haca, channelId: Uint8Array, nodeId: Uint8Array): Promise<bigint> {
  const { value } = await haca.chain.record(recordKey.allocation(channelId, nodeId));
  return value === null ? 0n : decode(allocationRecordCodec, value, 'allocation').paid;
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
