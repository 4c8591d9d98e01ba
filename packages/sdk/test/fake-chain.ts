/**
 * A chain in memory for tests of clients: real headers, commits and state proofs, made with the contract's and the light
 * client's own encoders, over a toy state machine that knows the few operations a payer sends.
 */
import {
  BLOCK_PROTOCOL,
  blockIdOf,
  commitHash,
  dataHash,
  EMPTY_COMMIT,
  EMPTY_HASH,
  encodeHeaderJson,
  encodeSignedHeaderJson,
  encodeStoreProof,
  encodeValidatorJson,
  evidenceHash,
  type Header,
  headerHash,
  precommitSignBytes,
  type SignedHeader,
  type StoreProofEnd,
  timestampFromMs,
  validatorAddress,
  validatorSetHash,
  validatorSetOf,
  ZERO_BLOCK_ID,
} from '@haca/light-client';
import { ed25519SignerFromSeed } from '@haca/platform';
import { type RpcClient, RpcError, type RpcTxResult } from '@haca/platform/rpc';
import {
  compareBytes,
  concatBytes,
  decode,
  domainHash,
  encode,
  fromHex,
  sha256,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import {
  accountIdOf,
  accountRecordCodec,
  allocationRecordCodec,
  channelIdOf,
  channelRecordCodec,
  credit,
  decodeTransaction,
  nopg,
  type Op,
  RECORD_LIST_MAX,
  recordKey,
  recordListCodec,
  sessionRecordCodec,
  transactionHash,
} from '@haca/protocol';

const EMPTY = new Uint8Array(32);
const LEAF_TAG = domainHash('haca/state-leaf/1', new Uint8Array(0));
type Entry = { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array };
type State = ReadonlyMap<string, Uint8Array>;

const bitAt = (hash: Uint8Array, depth: number): number =>
  ((hash[depth >> 3] as number) >> (7 - (depth & 7))) & 1;
const leaf = ({ keyHash, valueHash }: Entry): Uint8Array => sha256(concatBytes(LEAF_TAG, keyHash, valueHash));

function subtree(entries: readonly Entry[], depth: number): Uint8Array {
  if (entries.length === 0) return EMPTY;
  if (entries.length === 1) return leaf(entries[0] as Entry);
  const side = (bit: number) =>
    subtree(
      entries.filter(({ keyHash }) => bitAt(keyHash, depth) === bit),
      depth + 1,
    );
  return sha256(concatBytes(side(0), side(1)));
}

function entriesOf(state: State): Entry[] {
  return [...state].map(([key, value]) => ({ keyHash: sha256(fromHex(key)), valueHash: sha256(value) }));
}

function proofOf(state: State, key: Uint8Array): Uint8Array {
  const wanted = sha256(key);
  const siblings: Uint8Array[] = [];
  let entries = entriesOf(state);
  for (let depth = 0; entries.length > 1; depth++) {
    const bit = bitAt(wanted, depth);
    siblings.push(
      subtree(
        entries.filter(({ keyHash }) => bitAt(keyHash, depth) !== bit),
        depth + 1,
      ),
    );
    entries = entries.filter(({ keyHash }) => bitAt(keyHash, depth) === bit);
  }
  const [last] = entries;
  const end: StoreProofEnd =
    last === undefined
      ? { kind: 'absent-empty' }
      : compareBytes(last.keyHash, wanted) === 0
        ? { kind: 'member' }
        : { kind: 'absent-other', ...last };
  return encodeStoreProof({ end, siblings });
}

export interface FakeChain {
  readonly chainId: string;
  readonly rpc: RpcClient;
  readonly genesis: unknown;
  readonly timeMs: () => number;
  readonly height: () => number;
  readonly header: (height: number) => Header;
  readonly get: (key: Uint8Array) => Uint8Array | undefined;
  /** Block time goes on by so much more from the next block on. */
  readonly pass: (ms: number) => void;
  /** Makes a block with these changes, and the block that proves it; null removes a row. */
  readonly change: (changes: readonly (readonly [Uint8Array, Uint8Array | null])[]) => number;
  /** Changes an answer of the RPC; for tests of lying servers. */
  tamper: ((method: string, params: Readonly<Record<string, unknown>>, answer: unknown) => unknown) | null;
  readonly txs: Op[][];
}

export const GENESIS_MS = 1_800_000_000_000;
const BLOCK_MS = 1_000;
const HASH = /^[0-9a-f]*$/;

export function startFakeChain(
  chainId: string,
  app: unknown,
  initial: readonly (readonly [Uint8Array, Uint8Array])[],
): FakeChain {
  const validator = ed25519SignerFromSeed(new Uint8Array(32).fill(9));
  const set = validatorSetOf([{ publicKey: validator.publicKey, power: 10n }]);
  const signed: SignedHeader[] = [];
  const states: State[] = [new Map(initial.map(([key, value]) => [toHex(key), value]))];
  const results = new Map<string, RpcTxResult>();
  let passedMs = 0;
  const timeOf = (height: number): number => GENESIS_MS + height * BLOCK_MS + passedMs;
  const txs: Op[][] = [];

  const seal = (changes: readonly (readonly [Uint8Array, Uint8Array | null])[]): void => {
    const height = signed.length + 1;
    const before = states[height - 1] as State;
    const previous = signed.at(-1);
    const header: Header = {
      version: { block: BLOCK_PROTOCOL, app: 1 },
      chainId,
      height,
      time: timestampFromMs(timeOf(height)),
      lastBlockId: previous?.commit.blockId ?? ZERO_BLOCK_ID,
      lastCommitHash: commitHash(previous?.commit ?? EMPTY_COMMIT),
      dataHash: dataHash([]),
      validatorsHash: validatorSetHash(set),
      nextValidatorsHash: validatorSetHash(set),
      consensusHash: sha256(utf8Encode('parameters')),
      appHash: subtree(entriesOf(before), 0),
      lastResultsHash: EMPTY_HASH,
      evidenceHash: evidenceHash([]),
      proposerAddress: validatorAddress(validator.publicKey),
    };
    const blockId = blockIdOf({
      header,
      txs: [],
      evidence: [],
      lastCommit: previous?.commit ?? EMPTY_COMMIT,
    });
    const timestamp = timestampFromMs(timeOf(height) + BLOCK_MS);
    const subject = { height, round: 0, blockId };
    const signature = validator.sign(precommitSignBytes(chainId, subject, timestamp));
    const commitSig = {
      flag: 'commit' as const,
      validatorAddress: header.proposerAddress,
      timestamp,
      signature,
    };
    signed.push({ header, commit: { ...subject, signatures: [commitSig] } });
    const after = new Map(before);
    for (const [key, value] of changes) {
      if (value === null) after.delete(toHex(key));
      else after.set(toHex(key), value);
    }
    states.push(after);
  };

  const change: FakeChain['change'] = (changes) => {
    seal(changes);
    seal([]);
    return signed.length - 1;
  };

  const chain: FakeChain = {
    chainId,
    genesis: {
      chain_id: chainId,
      genesis_time: '2027-01-15T08:00:00Z',
      initial_height: '1',
      consensus_params: { block: { max_bytes: '4194304', max_gas: '-1' } },
      validators: [{ pub_key: encodeValidatorJson(set.validators[0] as never).pub_key, power: '10' }],
      app_state: app,
    },
    timeMs: () => timeOf(signed.length),
    height: () => signed.length,
    header: (height) => (signed[height - 1] as SignedHeader).header,
    get: (key) => (states.at(-1) as State).get(toHex(key)),
    change,
    pass: (ms) => {
      passedMs += ms;
    },
    tamper: null,
    txs,
    rpc: undefined as unknown as RpcClient,
  };

  const broadcast = (bytes: Uint8Array): RpcTxResult => {
    const { body } = decodeTransaction(bytes);
    const sender = accountIdOf(body.sender);
    const changes = applyOps(chain, sender, body.nonce, body.ops);
    txs.push([...body.ops]);
    const height = change(changes);
    return { height, code: 0, log: '', gasUsed: bytes.length, events: [] };
  };

  const answer = (method: string, params: Readonly<Record<string, unknown>>): unknown => {
    const at = Number(params['height']);
    const one = signed[at - 1];
    switch (method) {
      case 'commit':
        if (one === undefined) throw new RpcError(-32603, `no height ${at}`);
        return { signed_header: encodeSignedHeaderJson(one), canonical: true };
      case 'validators':
        return {
          block_height: `${at}`,
          validators: set.validators.map((v) => encodeValidatorJson(v)),
          count: '1',
          total: '1',
        };
      case 'blockchain': {
        const from = Math.max(1, Number(params['minHeight']));
        const metas = signed.slice(from - 1, Number(params['maxHeight'])).reverse();
        return { block_metas: metas.map(({ header }) => ({ header: encodeHeaderJson(header) })) };
      }
      default:
        throw new RpcError(-32601, method);
    }
  };

  const tampered = <T>(method: string, params: Readonly<Record<string, unknown>>, value: T): T =>
    chain.tamper === null ? value : (chain.tamper(method, params, value) as T);

  const rpc: RpcClient = {
    url: 'fake:',
    call: async (method, params = {}) => tampered(method, params, answer(method, params)),
    status: async () =>
      tampered(
        'status',
        {},
        {
          chainId,
          height: signed.length,
          blockHash: headerHash((signed.at(-1) as SignedHeader).header),
          blockTime: '',
        },
      ),
    query: async (path, data, options = {}) => {
      const height =
        options.height === undefined || options.height === 0 ? states.length - 1 : options.height;
      const state = states[height];
      if (state === undefined) throw new RpcError(1, 'no such height');
      const none = { value: new Uint8Array(0), height, proof: null };
      if (path === '/fee') return { ...none, value: utf8Encode(`{"baseFee":"2000","height":${height}}`) };
      if (path.startsWith('/records')) {
        const after = path.slice('/records/after/'.length);
        const list = [...state]
          .filter(([key]) => HASH.test(key) && key.startsWith(toHex(data)) && key > after)
          .map(([key, value]) => [fromHex(key), value] as const)
          .sort(([a], [b]) => compareBytes(a, b))
          .slice(0, RECORD_LIST_MAX);
        return { ...none, value: encode(recordListCodec, list) };
      }
      const value = state.get(toHex(data)) ?? new Uint8Array(0);
      const proof = options.prove === true ? proofOf(state, data) : null;
      return tampered('abci_query', { key: data, height }, { value, height, proof });
    },
    broadcastTx: async (bytes) => {
      const hash = transactionHash(bytes);
      if (!results.has(toHex(hash))) results.set(toHex(hash), broadcast(bytes));
      return { code: 0, log: '', hash };
    },
    tx: async (hash) => results.get(toHex(hash)) ?? null,
    onNewBlock: () => () => undefined,
    close: () => undefined,
  };
  seal([]);
  seal([]);
  return Object.assign(chain, { rpc });
}

/** Enough of the rules for a payer: no fees, no limits. */
function applyOps(
  chain: FakeChain,
  sender: Uint8Array,
  nonce: number,
  ops: readonly Op[],
): [Uint8Array, Uint8Array][] {
  const changed = new Map<string, Uint8Array>();
  const get = (key: Uint8Array): Uint8Array | undefined => changed.get(toHex(key)) ?? chain.get(key);
  const set = (key: Uint8Array, value: Uint8Array): unknown => changed.set(toHex(key), value);
  const accountBytes = get(recordKey.account(sender));
  const account =
    accountBytes === undefined
      ? { nopg: nopg(0n), credits: [], nonceHigh: 0, nonceBits: 0n }
      : decode(accountRecordCodec, accountBytes, 'account');
  set(recordKey.account(sender), encode(accountRecordCodec, { ...account, nonceHigh: nonce + 1 }));
  for (const op of ops) {
    switch (op.kind) {
      case 'open-channel':
        set(
          recordKey.channel(channelIdOf(chain.chainId, sender, op.asset, nonce)),
          encode(channelRecordCodec, {
            payer: sender,
            asset: op.asset,
            free: op.amount,
            allocations: 0,
            sessions: 0,
            version: 1,
          }),
        );
        break;
      case 'deposit':
      case 'allocate': {
        const key = recordKey.channel(op.channelId);
        const channel = decode(channelRecordCodec, get(key) as Uint8Array, 'channel');
        const free = op.kind === 'deposit' ? channel.free + op.amount : channel.free - op.amount;
        set(key, encode(channelRecordCodec, { ...channel, free: credit(free) }));
        if (op.kind === 'deposit') break;
        const row = recordKey.allocation(op.channelId, op.nodeId);
        const before = get(row);
        const amount = before === undefined ? 0n : decode(allocationRecordCodec, before, 'allocation').amount;
        set(
          row,
          encode(allocationRecordCodec, {
            amount: credit(amount + op.amount),
            paid: credit(0n),
            withdrawing: credit(0n),
            readyAt: 0,
            version: 1,
          }),
        );
        break;
      }
      case 'register-session':
        set(
          recordKey.session(op.channelId, op.session),
          encode(sessionRecordCodec, { publicKey: op.publicKey, expiryHeight: op.expiryHeight }),
        );
        break;
      default:
        throw new Error(`the fake chain does not know ${op.kind}`);
    }
  }
  return [...changed].map(([key, value]) => [fromHex(key), value]);
}
