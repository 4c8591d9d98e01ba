/**
 * A second codec of `tendermint.abci`, driven by tables in the words of the .proto files: slow, plain, and sharing nothing
 * with the one under test but the field numbers of the published format.
 */
type Kind = 'string' | 'bytes' | 'bool' | 'int' | 'uint' | 'packed' | string;
type Field = readonly [name: string, kind: Kind, repeated?: 'repeated'];
type Message = Readonly<Record<number, Field>>;
/** Integers are bigints, messages are objects, repeated fields are arrays; absent fields are left out. */
export type Fields = Readonly<Record<string, unknown>>;

const BLOCK: Message = {
  1: ['txs', 'bytes', 'repeated'],
  2: ['lastCommit', 'CommitInfo'],
  3: ['misbehavior', 'Misbehavior', 'repeated'],
  4: ['hash', 'bytes'],
  5: ['height', 'int'],
  6: ['time', 'Timestamp'],
  7: ['nextValidatorsHash', 'bytes'],
  8: ['proposerAddress', 'bytes'],
};

const MESSAGES: Readonly<Record<string, Message>> = {
  Request: {
    1: ['echo', 'Echo'],
    2: ['flush', 'Empty'],
    3: ['info', 'RequestInfo'],
    5: ['init-chain', 'RequestInitChain'],
    6: ['query', 'RequestQuery'],
    8: ['check-tx', 'RequestCheckTx'],
    11: ['commit', 'Empty'],
    12: ['list-snapshots', 'Empty'],
    13: ['offer-snapshot', 'RequestOfferSnapshot'],
    14: ['load-snapshot-chunk', 'RequestLoadSnapshotChunk'],
    15: ['apply-snapshot-chunk', 'RequestApplySnapshotChunk'],
    16: ['prepare-proposal', 'RequestPrepareProposal'],
    17: ['process-proposal', 'RequestBlock'],
    18: ['extend-vote', 'RequestExtendVote'],
    19: ['verify-vote-extension', 'RequestVerifyVoteExtension'],
    20: ['finalize-block', 'RequestBlock'],
    21: ['insert-tx', 'RequestInsertTx'],
    22: ['reap-txs', 'RequestReapTxs'],
  },
  Response: {
    1: ['exception', 'ResponseException'],
    2: ['echo', 'Echo'],
    3: ['flush', 'Empty'],
    4: ['info', 'ResponseInfo'],
    6: ['init-chain', 'ResponseInitChain'],
    7: ['query', 'ResponseQuery'],
    9: ['check-tx', 'ExecTxResult'],
    12: ['commit', 'ResponseCommit'],
    13: ['list-snapshots', 'ResponseListSnapshots'],
    14: ['offer-snapshot', 'ResponseResult'],
    15: ['load-snapshot-chunk', 'ResponseLoadSnapshotChunk'],
    16: ['apply-snapshot-chunk', 'ResponseApplySnapshotChunk'],
    17: ['prepare-proposal', 'ResponsePrepareProposal'],
    18: ['process-proposal', 'ResponseResult'],
    19: ['extend-vote', 'ResponseExtendVote'],
    20: ['verify-vote-extension', 'ResponseResult'],
    21: ['finalize-block', 'ResponseFinalizeBlock'],
  },
  Empty: {},
  Echo: { 1: ['message', 'string'] },
  RequestInfo: {
    1: ['version', 'string'],
    2: ['blockVersion', 'uint'],
    3: ['p2pVersion', 'uint'],
    4: ['abciVersion', 'string'],
  },
  RequestInitChain: {
    1: ['time', 'Timestamp'],
    2: ['chainId', 'string'],
    3: ['consensusParams', 'ConsensusParams'],
    4: ['validators', 'ValidatorUpdate', 'repeated'],
    5: ['appState', 'bytes'],
    6: ['initialHeight', 'int'],
  },
  ConsensusParams: { 1: ['block', 'BlockParams'], 4: ['version', 'VersionParams'] },
  BlockParams: { 1: ['maxBytes', 'int'], 2: ['maxGas', 'int'] },
  VersionParams: { 1: ['app', 'uint'] },
  RequestQuery: { 1: ['data', 'bytes'], 2: ['path', 'string'], 3: ['height', 'int'], 4: ['prove', 'bool'] },
  RequestCheckTx: { 1: ['tx', 'bytes'], 2: ['type', 'uint'] },
  RequestInsertTx: { 1: ['tx', 'bytes'] },
  RequestReapTxs: { 1: ['maxBytes', 'uint'], 2: ['maxGas', 'uint'] },
  RequestOfferSnapshot: { 1: ['snapshot', 'Snapshot'], 2: ['appHash', 'bytes'] },
  RequestLoadSnapshotChunk: { 1: ['height', 'uint'], 2: ['format', 'uint'], 3: ['chunk', 'uint'] },
  RequestApplySnapshotChunk: { 1: ['index', 'uint'], 2: ['chunk', 'bytes'], 3: ['sender', 'string'] },
  RequestPrepareProposal: {
    1: ['maxTxBytes', 'int'],
    2: ['txs', 'bytes', 'repeated'],
    3: ['lastCommit', 'ExtendedCommitInfo'],
    4: ['misbehavior', 'Misbehavior', 'repeated'],
    5: ['height', 'int'],
    6: ['time', 'Timestamp'],
    7: ['nextValidatorsHash', 'bytes'],
    8: ['proposerAddress', 'bytes'],
  },
  RequestBlock: BLOCK,
  RequestExtendVote: {
    1: ['hash', 'bytes'],
    2: ['height', 'int'],
    3: ['time', 'Timestamp'],
    4: ['txs', 'bytes', 'repeated'],
  },
  RequestVerifyVoteExtension: {
    1: ['hash', 'bytes'],
    2: ['validatorAddress', 'bytes'],
    3: ['height', 'int'],
    4: ['extension', 'bytes'],
  },
  CommitInfo: { 1: ['round', 'int'], 2: ['votes', 'VoteInfo', 'repeated'] },
  VoteInfo: { 1: ['validator', 'Validator'], 3: ['flag', 'uint'] },
  ExtendedCommitInfo: { 1: ['round', 'int'], 2: ['votes', 'ExtendedVoteInfo', 'repeated'] },
  ExtendedVoteInfo: {
    1: ['validator', 'Validator'],
    3: ['extension', 'bytes'],
    4: ['extensionSignature', 'bytes'],
    5: ['flag', 'uint'],
  },
  Validator: { 1: ['address', 'bytes'], 3: ['power', 'int'] },
  Misbehavior: {
    1: ['type', 'uint'],
    2: ['validator', 'Validator'],
    3: ['height', 'int'],
    4: ['time', 'Timestamp'],
    5: ['totalPower', 'int'],
  },
  Timestamp: { 1: ['seconds', 'int'], 2: ['nanos', 'int'] },
  ValidatorUpdate: { 1: ['key', 'PublicKey'], 2: ['power', 'int'] },
  PublicKey: { 1: ['ed25519', 'bytes'], 2: ['secp256k1', 'bytes'] },
  Snapshot: {
    1: ['height', 'uint'],
    2: ['format', 'uint'],
    3: ['chunks', 'uint'],
    4: ['hash', 'bytes'],
    5: ['metadata', 'bytes'],
  },
  ResponseException: { 1: ['error', 'string'] },
  ResponseInfo: {
    1: ['data', 'string'],
    2: ['version', 'string'],
    3: ['appVersion', 'uint'],
    4: ['lastBlockHeight', 'int'],
    5: ['lastBlockAppHash', 'bytes'],
  },
  ResponseInitChain: { 2: ['validators', 'ValidatorUpdate', 'repeated'], 3: ['appHash', 'bytes'] },
  ResponseQuery: {
    1: ['code', 'uint'],
    3: ['log', 'string'],
    4: ['info', 'string'],
    6: ['key', 'bytes'],
    7: ['value', 'bytes'],
    8: ['proofOps', 'ProofOps'],
    9: ['height', 'int'],
    10: ['codespace', 'string'],
  },
  ProofOps: { 1: ['ops', 'ProofOp', 'repeated'] },
  ProofOp: { 1: ['type', 'string'], 2: ['key', 'bytes'], 3: ['data', 'bytes'] },
  ResponseCommit: { 3: ['retainHeight', 'int'] },
  ResponseListSnapshots: { 1: ['snapshots', 'Snapshot', 'repeated'] },
  ResponseResult: { 1: ['result', 'uint'] },
  ResponseLoadSnapshotChunk: { 1: ['chunk', 'bytes'] },
  ResponseApplySnapshotChunk: {
    1: ['result', 'uint'],
    2: ['refetchChunks', 'packed'],
    3: ['rejectSenders', 'string', 'repeated'],
  },
  ResponsePrepareProposal: { 1: ['txs', 'bytes', 'repeated'] },
  ResponseExtendVote: { 1: ['extension', 'bytes'] },
  ResponseFinalizeBlock: {
    1: ['events', 'Event', 'repeated'],
    2: ['txResults', 'ExecTxResult', 'repeated'],
    3: ['validatorUpdates', 'ValidatorUpdate', 'repeated'],
    5: ['appHash', 'bytes'],
  },
  /** ResponseCheckTx has the same fields. */
  ExecTxResult: {
    1: ['code', 'uint'],
    2: ['data', 'bytes'],
    3: ['log', 'string'],
    4: ['info', 'string'],
    5: ['gasWanted', 'int'],
    6: ['gasUsed', 'int'],
    7: ['events', 'Event', 'repeated'],
    8: ['codespace', 'string'],
  },
  Event: { 1: ['type', 'string'], 2: ['attributes', 'EventAttribute', 'repeated'] },
  EventAttribute: { 1: ['key', 'string'], 2: ['value', 'string'], 3: ['index', 'bool'] },
};

export function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

/** Everything that is given is written, default values too. */
export function encodeProto(message: string, fields: Fields): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [number, [name, kind, repeated]] of Object.entries(messageOf(message))) {
    const value = fields[name];
    if (value === undefined) continue;
    for (const each of repeated === undefined ? [value] : (value as unknown[])) {
      const isVarint = kind === 'int' || kind === 'uint' || kind === 'bool';
      const tag = varint(BigInt(number) * 8n + (isVarint ? 0n : 2n));
      const content = isVarint ? varint(BigInt(each as bigint)) : contentOf(kind, each);
      parts.push(Uint8Array.from(tag));
      if (!isVarint) parts.push(Uint8Array.from(varint(BigInt(content.length))));
      parts.push(Uint8Array.from(content));
    }
  }
  return Buffer.concat(parts);
}

export function decodeProto(message: string, bytes: Uint8Array): Fields {
  const fields: Record<string, unknown> = {};
  let offset = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[offset++];
      if (byte === undefined) throw new Error(`${message} ends early`);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (offset < bytes.length) {
    const tag = Number(next());
    const field = messageOf(message)[tag >> 3];
    if (field === undefined) throw new Error(`${message} has no field ${tag >> 3}`);
    const [name, kind, repeated] = field;
    const isVarint = kind === 'int' || kind === 'uint' || kind === 'bool';
    if ((tag & 7) !== (isVarint ? 0 : 2)) throw new Error(`${message}.${name} has wire type ${tag & 7}`);
    let value: unknown;
    if (isVarint) {
      const raw = next();
      value = kind === 'bool' ? raw !== 0n : kind === 'int' ? BigInt.asIntN(64, raw) : raw;
    } else {
      const end = Number(next()) + offset;
      if (end > bytes.length) throw new Error(`${message}.${name} ends early`);
      value = decodedValue(kind, bytes.slice(offset, end));
      offset = end;
    }
    if (repeated === undefined) fields[name] = value;
    else fields[name] = [...((fields[name] as unknown[] | undefined) ?? []), value];
  }
  return fields;
}

/** Length and message. */
export function frame(message: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.from(varint(BigInt(message.length))), message]);
}

export function requestFrame(method: string, fields: Fields = {}): Uint8Array {
  return frame(encodeProto('Request', { [method]: fields }));
}

function contentOf(kind: Kind, value: unknown): Uint8Array | number[] {
  if (kind === 'bytes') return value as Uint8Array;
  if (kind === 'string') return Buffer.from(value as string);
  if (kind === 'packed') return (value as bigint[]).flatMap(varint);
  return encodeProto(kind, value as Fields);
}

function decodedValue(kind: Kind, bytes: Uint8Array): unknown {
  if (kind === 'bytes') return Uint8Array.from(bytes);
  if (kind === 'string') return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  if (kind !== 'packed') return decodeProto(kind, bytes);
  const values: bigint[] = [];
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte >= 128) continue;
    values.push(value);
    value = 0n;
    shift = 0n;
  }
  return values;
}

function messageOf(name: string): Message {
  const message = MESSAGES[name];
  if (message === undefined) throw new Error(`no message ${name}`);
  return message;
}
