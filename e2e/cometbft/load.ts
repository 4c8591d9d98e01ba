/**
 * Clients under load: accounts that send each other money, and inference nodes that settle batches of receipts, without the
 * inference. Each behaves as an inference node does: a transaction is sent, and sent again to one node after the other,
 * until it is in a block. What no fault may do is then easy to say: refuse it, lose it, or apply it twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto, RpcError } from '@haca/platform';
import { domainHash, merkleLeafHash, merkleRoot, toHex, utf8Encode } from '@haca/primitives';
import {
  channelIdOf,
  credit,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  NOPG_PER_OPG,
  nodeIdOf,
  nopg,
  type Op,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  STATEMENT,
  VOUCHER,
  ZERO_DIGEST,
} from '@haca/protocol';
import { randomStream } from '../random.ts';
import { type Account, type Actor, ASSET, openAccount, type SignedTx } from './actors.ts';
import type { CometNetwork, NetworkNode } from './network.ts';
import type { ChainObserver, IncludedTx } from './observer.ts';

/**
 * `known`: the node has it already. `not-ready`: CometBFT is not there, and the gateway says so. `catching-up`: it is there
 * and takes no transactions yet. `unreachable`: no connection, or no answer.
 */
export type Answer = 'accepted' | 'known' | 'refused' | 'not-ready' | 'catching-up' | 'unreachable' | 'error';

/** What a node said to one broadcast. */
export interface BroadcastRecord {
  readonly hash: string;
  readonly node: number;
  readonly answer: Answer;
  readonly text: string;
  readonly atMs: number;
  readonly tookMs: number;
}

export interface LoadReport {
  readonly transfers: number;
  readonly settlements: number;
  readonly receipts: number;
  /** Answers to broadcasts, by kind. */
  readonly answers: Readonly<Record<string, number>>;
  /** What nodes said that is no other kind of answer. */
  readonly errors: readonly string[];
  readonly resent: number;
}

export interface Load {
  readonly start: () => void;
  /** No new transactions; waits until those that were sent are in a block. */
  readonly pause: () => Promise<void>;
  readonly broadcasts: readonly BroadcastRecord[];
  /** Settles when every broadcast so far got its answer, or none for good. */
  readonly answered: () => Promise<void>;
  /** Transactions with the answer "accepted" from at least one node, by hash. */
  readonly accepted: ReadonlyMap<string, SentTx>;
  readonly keys: readonly SettlingKey[];
  readonly report: () => LoadReport;
  readonly violations: readonly string[];
  /** Signs and sends one transaction of somebody else, in the same way; settles when it is in a block. */
  readonly submit: (account: Account, ops: readonly Op[]) => Promise<IncludedTx>;
  readonly accountOf: (actor: Actor) => Account;
  /** As `submit`, for a transaction that is signed already. */
  readonly deliver: (tx: SignedTx, by: string) => Promise<IncludedTx>;
}

export interface SentTx {
  readonly kind: 'transfer' | 'settle' | 'other';
  readonly by: string;
  included: IncludedTx | undefined;
}

/** A node key and where its stream of receipts stands, as its node knows it. */
export interface SettlingKey {
  readonly operator: Account;
  readonly payer: Account;
  readonly keyId: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly signer: Ed25519Signer;
  readonly channelId: Uint8Array;
  readonly session: Ed25519Signer;
  seq: number;
  head: Uint8Array;
  running: bigint;
}

const RESEND_MS = 1_500;
const TURNED_DOWN_MS = 150;
/** In a network that works a transaction is in a block long before that, however slow the machine. */
const INCLUSION_TIMEOUT_MS = 180_000;
const RECEIPTS_PER_BATCH = 64;
const NCR_PER_BATCH = 5_000n;
const SESSION_BLOCKS = 2_000_000;
const MODEL: ModelManifest = {
  version: 1,
  name: 'model under test',
  task: 'chat',
  weights: { kind: 'sha256', digest: digest('weights') },
  tokenizerHash: null,
  methods: ['signed'],
  contextTokens: 512,
  license: 'Apache-2.0',
};

/** Registers nodes, keys, channels and allocations, and returns the clients, at rest. */
export async function openLoad(network: CometNetwork, observer: ChainObserver, seed: number): Promise<Load> {
  const random = randomStream(seed);
  const broadcasts: BroadcastRecord[] = [];
  const open = new Set<Promise<Answer>>();
  const sent = new Map<string, SentTx>();
  const accepted = new Map<string, SentTx>();
  const violations: string[] = [];
  const accounts = new Map<string, Account>();
  let resent = 0;

  const accountOf = (actor: Actor): Account => {
    const account = accounts.get(actor.name) ?? openAccount(network.chainId, actor);
    accounts.set(actor.name, account);
    return account;
  };
  const broadcast = async (node: NetworkNode, tx: SignedTx): Promise<Answer> => {
    const startedAt = performance.now();
    const { answer, text } = await broadcastTo(node, tx);
    const now = performance.now();
    broadcasts.push({
      hash: tx.hash,
      node: node.index,
      answer,
      text,
      atMs: now,
      tookMs: now - startedAt,
    });
    const record = sent.get(tx.hash);
    if (answer === 'accepted' && record !== undefined) accepted.set(tx.hash, record);
    return answer;
  };
  const send = async (tx: SignedTx, kind: SentTx['kind'], by: string): Promise<IncludedTx> => {
    const record: SentTx = { kind, by, included: undefined };
    sent.set(tx.hash, record);
    const deadline = performance.now() + INCLUSION_TIMEOUT_MS;
    let first = random.below(1024);
    for (let tries = 0; performance.now() < deadline; tries++) {
      const choice = network.nodes.filter((node) => node.state() !== 'stopped');
      const node = choice[first++ % Math.max(1, choice.length)];
      if (tries > 0) resent++;
      const answered = node === undefined ? undefined : broadcast(node, tx);
      if (answered !== undefined) {
        open.add(answered);
        void answered.then(() => open.delete(answered));
      }
      const included = await Promise.race([
        observer.whenIncluded(tx.hash, RESEND_MS),
        // A node that does not answer is no reason to wait with the next one, and one that will not have it is a reason not to.
        untilTurnedDown(answered),
      ]);
      if (included === undefined) continue;
      record.included = included;
      if (included.code !== 0)
        violations.push(`${by}: ${kind} failed in block ${included.height}: ${included.log}`);
      return included;
    }
    const last = broadcasts.filter(({ hash }) => hash === tx.hash).slice(-4);
    const told = last.map(({ node, answer, text }) => `node ${node + 1}: ${answer} ${text}`).join('; ');
    violations.push(`${by}: ${kind} is in no block after ${INCLUSION_TIMEOUT_MS / 1000} s (${told})`);
    throw new Error(`${kind} of ${by} was not included`);
  };
  const deliver: Load['deliver'] = (tx, by) => send(tx, 'other', by);
  const submit: Load['submit'] = (account, ops) =>
    deliver(account.sign(ops, observer.height()), account.actor.name);

  const keys = await openKeys(network, observer, accountOf, submit);

  let isRunning = false;
  let running: readonly Promise<void>[] = [];
  const counts = { transfers: 0, settlements: 0 };
  const transferLoop = async (actor: Actor, to: Actor): Promise<void> => {
    while (isRunning) {
      const amount = nopg(1_000n + BigInt(random.below(1_000_000)));
      const tx = accountOf(actor).sign([{ kind: 'transfer-opg', to: to.id, amount }], observer.height());
      await send(tx, 'transfer', actor.name);
      counts.transfers++;
    }
  };
  const settleLoop = async (key: SettlingKey): Promise<void> => {
    while (isRunning) {
      await send(nextSettlement(network.chainId, key, observer.height()), 'settle', key.operator.actor.name);
      counts.settlements++;
    }
  };
  return {
    start: () => {
      if (isRunning) return;
      isRunning = true;
      const { senders } = network.cast;
      const loops = [
        ...senders.map((actor, i) => transferLoop(actor, senders[(i + 1) % senders.length] as Actor)),
        ...keys.map(settleLoop),
      ];
      // What kept a client from going on is among the violations.
      running = loops.map((loop) => loop.catch(() => undefined));
    },
    pause: async () => {
      isRunning = false;
      await Promise.all(running);
    },
    broadcasts,
    answered: async () => {
      await Promise.all(open);
    },
    accepted,
    keys,
    violations,
    submit,
    deliver,
    accountOf,
    report: () => ({
      ...counts,
      receipts: keys.reduce((sum, { seq }) => sum + seq, 0),
      answers: countBy(broadcasts.map(({ answer }) => answer)),
      errors: [...new Set(broadcasts.filter(({ answer }) => answer === 'error').map(({ text }) => text))],
      resent,
    }),
  };
}

/** Settles a little after an answer that is no promise; never where it is one, or where there is none. */
async function untilTurnedDown(answered: Promise<Answer> | undefined): Promise<undefined> {
  const answer = await answered;
  if (answer === 'accepted' || answer === 'known') await new Promise(() => undefined);
  await sleep(TURNED_DOWN_MS);
}

async function broadcastTo(
  node: NetworkNode,
  tx: SignedTx,
): Promise<{ readonly answer: Answer; readonly text: string }> {
  try {
    const { code, log } = await node.rpc.broadcastTx(tx.bytes);
    return code === 0 ? { answer: 'accepted', text: '' } : { answer: 'refused', text: `code ${code} ${log}` };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (/already exists/.test(text)) return { answer: 'known', text: '' };
    if (/not ready/i.test(text)) return { answer: 'not-ready', text };
    if (/catching up/.test(text)) return { answer: 'catching-up', text };
    const isUnreachable = error instanceof RpcError && error.code === 'unreachable';
    return { answer: isUnreachable ? 'unreachable' : 'error', text };
  }
}

async function openKeys(
  network: CometNetwork,
  observer: ChainObserver,
  accountOf: (actor: Actor) => Account,
  submit: Load['submit'],
): Promise<readonly SettlingKey[]> {
  const { faucet, operators, payers } = network.cast;
  const bank = accountOf(faucet);
  await submit(bank, [{ kind: 'register-model', manifest: MODEL }]);
  const issues = payers.map((payer): Op => {
    return { kind: 'issue', to: payer.id, asset: ASSET, amount: credit(1_000_000_000_000n) };
  });
  await submit(bank, issues);
  return Promise.all(
    operators.map(async (actor, i) => {
      const operator = accountOf(actor);
      const payer = accountOf(payers[i] as Actor);
      const nodeId = nodeIdOf(network.chainId, actor.id, operator.nextNonce());
      await submit(operator, [
        {
          kind: 'register-node',
          name: actor.name,
          endpoint: 'http://127.0.0.1:1',
          payout: actor.id,
          bond: nopg(6_000n * NOPG_PER_OPG),
        },
      ]);
      const signer = ed25519SignerFromSeed(digest(`key of ${toHex(nodeId)}`));
      await submit(operator, [openKeyOp(network, observer, actor, nodeId, signer)]);
      const session = ed25519SignerFromSeed(digest(`session at ${toHex(nodeId)}`));
      const channelId = channelIdOf(network.chainId, payer.actor.id, ASSET, payer.nextNonce());
      await submit(payer, [
        { kind: 'open-channel', asset: ASSET, amount: credit(900_000_000_000n) },
        {
          kind: 'register-session',
          channelId,
          session: 0,
          publicKey: session.publicKey,
          expiryHeight: observer.height() + SESSION_BLOCKS,
        },
        { kind: 'allocate', channelId, nodeId, amount: credit(800_000_000_000n) },
      ]);
      const keyId = keyIdOf(network.chainId, nodeId, 1, signer.publicKey);
      const start = { seq: 0, head: ZERO_DIGEST, running: 0n };
      return { operator, payer, keyId, nodeId, signer, channelId, session, ...start };
    }),
  );
}

function openKeyOp(
  network: CometNetwork,
  observer: ChainObserver,
  operator: Actor,
  nodeId: Uint8Array,
  signer: Ed25519Signer,
): Op {
  const refHeight = observer.height();
  const modelId = modelIdOf(MODEL);
  const binding: RegistrationBinding = {
    chainId: network.chainId,
    operator: operator.id,
    nodeId,
    keyEpoch: 1,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot([merkleLeafHash(modelId)]),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight,
    refBlockHash: observer.blockHash(refHeight),
  };
  const possession = signer.sign(possessionMessage(registrationBindingHash(nodeCrypto, binding)));
  const fixed = { method: 'signed', modelId: null, modelIds: [modelId], evidence: null } as const;
  return { kind: 'open-key', binding, possession, ...fixed };
}

/** The next batch of receipts, with one charge line that pays for all of them. */
function nextSettlement(chainId: string, key: SettlingKey, height: number): SignedTx {
  const { keyId, channelId } = key;
  const firstSeq = key.seq + 1;
  const atSeq = key.seq + RECEIPTS_PER_BATCH;
  const lastReceiptHash = digest(`receipt ${toHex(keyId)} ${atSeq}`);
  const from = credit(key.running);
  const to = credit(key.running + NCR_PER_BATCH);
  const statement = STATEMENT.sign(
    {
      version: 1,
      chainId,
      keyId,
      batch: {
        firstSeq,
        count: RECEIPTS_PER_BATCH,
        prevReceiptHash: key.head,
        lastReceiptHash,
        receiptsRoot: digest(`root ${toHex(keyId)} ${atSeq}`),
        running: [[ASSET, to]],
      },
      charges: [{ channelId, lane: 0, fromSeq: firstSeq, atSeq, from, to }],
    },
    key.signer.sign,
  );
  const voucher = VOUCHER.sign(
    {
      version: 1,
      chainId,
      channelId,
      keyId,
      lane: 0,
      cumulative: to,
      requestHash: digest(`request ${atSeq}`),
      expiry: height + SESSION_BLOCKS / 2,
      session: 0,
    },
    key.session.sign,
  );
  key.seq = atSeq;
  key.head = lastReceiptHash;
  key.running = to;
  return key.operator.sign(
    [{ kind: 'settle', statement: statement.bytes, vouchers: [voucher.bytes] }],
    height,
  );
}

function digest(label: string): Uint8Array {
  return domainHash('haca/e2e/1', utf8Encode(label));
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
