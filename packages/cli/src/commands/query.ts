import { decodeTxProof, encodeHeaderJson, headerHash, toBase64, verifyTxProof } from '@haca/light-client';
import { bytesEqual, type Codec, decode, fromHex, MalformedError, toHex } from '@haca/primitives';
import {
  accountRecordCodec,
  allocationRecordCodec,
  assetRecordCodec,
  type Collateral,
  chainConfigRecordCodec,
  channelRecordCodec,
  collateralRecordCodec,
  evidencePolicyRecordCodec,
  formatOpg,
  governanceRecordCodec,
  HARDWARE_VENDORS,
  type Hardware,
  hardwareIdOf,
  hardwareRecordCodec,
  keyEvidenceRecordCodec,
  laneRecordCodec,
  measurementIndexRecordCodec,
  measurementRecordCodec,
  modelRecordCodec,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  OPG_SUPPLY_NOPG,
  recordKey,
  revokedCertificatesRecordCodec,
  sessionRecordCodec,
  toJsonView,
  totalsRecordCodec,
  transactionHash,
  type ValidatorRecord,
  validatorRecordCodec,
  validatorSetRecordCodec,
} from '@haca/protocol';
import { type Haca, headerTimeMs } from '@haca/sdk/node';
import { type Call, type Command, CommandLineError, suggestion } from '../command.ts';
import { findNetwork, NETWORK_FLAGS, openClient } from '../connection.ts';
import { validatorId } from './staking.ts';

interface RecordKind {
  /** Operands after the kind. */
  readonly operands: string;
  readonly key: (operands: readonly string[]) => Uint8Array;
  readonly decode: (value: Uint8Array) => unknown;
}

const id = (text: string | undefined, what: string): Uint8Array => {
  if (text === undefined || !/^[0-9a-fA-F]{64}$/.test(text)) {
    throw new CommandLineError(`${what} is 64 hex digits${text === undefined ? '' : `, not ${text}`}`);
  }
  return fromHex(text.toLowerCase());
};
const small = (text: string | undefined, what: string): number => {
  if (text === undefined || !/^[0-9]{1,5}$/.test(text))
    throw new CommandLineError(`${what} is a small number`);
  return Number(text);
};

const decoded =
  <T>(codec: Codec<T>) =>
  (value: Uint8Array): unknown =>
    decode(codec, value, 'record');

const RECORDS: Readonly<Record<string, RecordKind>> = {
  account: {
    operands: 'ID',
    key: ([a]) => recordKey.account(id(a, 'an account')),
    decode: decoded(accountRecordCodec),
  },
  node: { operands: 'ID', key: ([a]) => recordKey.node(id(a, 'a node')), decode: decoded(nodeRecordCodec) },
  key: {
    operands: 'ID',
    key: ([a]) => recordKey.nodeKey(id(a, 'a node key')),
    decode: decoded(nodeKeyRecordCodec),
  },
  'key-evidence': {
    operands: 'ID',
    key: ([a]) => recordKey.keyEvidence(id(a, 'a node key')),
    decode: decoded(keyEvidenceRecordCodec),
  },
  model: {
    operands: 'ID',
    key: ([a]) => recordKey.model(id(a, 'a model')),
    decode: decoded(modelRecordCodec),
  },
  channel: {
    operands: 'ID',
    key: ([a]) => recordKey.channel(id(a, 'a channel')),
    decode: decoded(channelRecordCodec),
  },
  session: {
    operands: 'CHANNEL SLOT',
    key: ([a, b]) => recordKey.session(id(a, 'a channel'), small(b, 'a slot')),
    decode: decoded(sessionRecordCodec),
  },
  allocation: {
    operands: 'CHANNEL NODE',
    key: ([a, b]) => recordKey.allocation(id(a, 'a channel'), id(b, 'a node')),
    decode: decoded(allocationRecordCodec),
  },
  lane: {
    operands: 'KEY CHANNEL LANE',
    key: ([a, b, c]) => recordKey.lane(id(a, 'a node key'), id(b, 'a channel'), small(c, 'a lane')),
    decode: decoded(laneRecordCodec),
  },
  asset: {
    operands: 'NUMBER',
    key: ([a]) => recordKey.asset(small(a, 'an asset')),
    decode: decoded(assetRecordCodec),
  },
  validator: {
    operands: 'ADDRESS',
    key: ([a]) => recordKey.validator(validatorId(a)),
    decode: decoded(validatorRecordCodec),
  },
  'validator-set': {
    operands: '',
    key: () => recordKey.validatorSet(),
    decode: decoded(validatorSetRecordCodec),
  },
  params: { operands: '', key: () => recordKey.params(), decode: decoded(chainConfigRecordCodec) },
  governance: { operands: '', key: () => recordKey.governance(), decode: decoded(governanceRecordCodec) },
  collateral: {
    operands: 'ID',
    key: ([a]) => recordKey.collateral(id(a, 'a piece of collateral')),
    decode: collateralView,
  },
  measurement: {
    operands: 'ID',
    key: ([a]) => recordKey.measurement(id(a, 'a measurement')),
    decode: decoded(measurementRecordCodec),
  },
  'measurement-index': {
    operands: '',
    key: () => recordKey.measurementIndex(),
    decode: decoded(measurementIndexRecordCodec),
  },
  hardware: {
    operands: 'ID, or VENDOR CHIP',
    key: ([a, b]) =>
      recordKey.hardware(b === undefined ? id(a, 'a chip') : hardwareIdOf(chipOf(a, b), false)),
    decode: decoded(hardwareRecordCodec),
  },
  'evidence-policy': {
    operands: '',
    key: () => recordKey.evidencePolicy(),
    decode: decoded(evidencePolicyRecordCodec),
  },
  'revoked-certificates': {
    operands: '',
    key: () => recordKey.revokedCertificates(),
    decode: decoded(revokedCertificatesRecordCodec),
  },
};

function chipOf(vendor: string | undefined, chip: string): Hardware {
  const known = HARDWARE_VENDORS.find((each) => each === vendor);
  if (known === undefined || !/^(?:[0-9a-fA-F]{2}){1,64}$/.test(chip)) {
    throw new CommandLineError(
      `a chip is an id of 64 hex digits, or ${HARDWARE_VENDORS.join(' | ')} and its number in hex`,
    );
  }
  return { vendor: known, id: fromHex(chip.toLowerCase()) };
}

/** Signed JSON as the text that it is. */
function collateralView(value: Uint8Array): unknown {
  const record = decode(collateralRecordCodec, value, 'record');
  const itemView = (item: Collateral): unknown =>
    'body' in item ? { ...item, body: new TextDecoder().decode(item.body) } : item;
  return {
    ...record,
    item: itemView(record.item),
    superseded: record.superseded.map((each) => ({ ...each, item: itemView(each.item) })),
  };
}
const KINDS = [...Object.keys(RECORDS), 'key-standing', 'supply', 'block', 'models', 'nodes', 'validators'];

export const queryCommand: Command = {
  name: 'query',
  summary: `Reads chain state and proves it with the light client before printing it.
Kinds: ${KINDS.join(', ')}`,
  operands: 'KIND [ID ...]',
  flags: { prove: { help: 'print header and state proof too' }, ...NETWORK_FLAGS },
  examples: [
    'haca query supply',
    'haca query nodes',
    'haca query validators',
    'haca query validator 3c…(40 hex digits) --json',
    'haca query key 3f…(64 hex digits) --json',
    'haca query account 8a…(64 hex digits) --prove --json',
    'haca query key-standing 3f…(64 hex digits)',
    'haca query hardware intel 0f…(its PPID in hex)',
    'haca query block 12',
  ],
  run: runQuery,
};

async function runQuery(call: Call): Promise<number> {
  const [kind = '', ...operands] = call.operands;
  if (!KINDS.includes(kind)) {
    const said = kind === '' ? 'query what?' : `there is no kind ${kind}${suggestion(kind, KINDS)}.`;
    throw new CommandLineError(`${said} Kinds: ${KINDS.join(', ')}`);
  }
  const record = RECORDS[kind];
  const key = record?.key(operands);
  const standingOf = kind === 'key-standing' ? id(operands[0], 'a node key') : null;
  const haca = await openClient(call, await findNetwork(call), null);
  try {
    if (standingOf !== null) return await showStanding(call, haca, standingOf);
    if (record !== undefined && key !== undefined) return await showRecord(call, haca, key, record.decode);
    if (kind === 'supply') return await showSupply(call, haca);
    if (kind === 'block') return await showBlock(call, haca, operands[0]);
    if (kind === 'validators') return await showValidators(call, haca);
    return await showList(call, haca, kind);
  } finally {
    haca.close();
  }
}

async function showRecord(
  call: Call,
  haca: Haca,
  key: Uint8Array,
  read: RecordKind['decode'],
): Promise<number> {
  const proven = await haca.chain.record(key);
  const value = proven.value === null ? null : toJsonView(read(proven.value));
  const header = await haca.chain.headerAt(proven.stateHeight + 1);
  const proof = call.has('prove')
    ? { key: toHex(key), proof: toHex(proven.proof), header: encodeHeaderJson(header) }
    : {};
  print(call, { value, ...verifiedBy(haca, proven.stateHeight), ...proof });
  if (value === null && !call.json) call.out('proven: there is no such record');
  return 0;
}

/** Whether the evidence behind a key is still good: computed, so there is no record to prove. Exit code 1 where it backs nothing. */
async function showStanding(call: Call, haca: Haca, keyId: Uint8Array): Promise<number> {
  const { value } = await haca.chain.rpc.query('/key-standing', keyId);
  const standing = jsonObjectOf(new TextDecoder().decode(value));
  print(call, {
    keyId: toHex(keyId),
    ...standing,
    verified: "the full node's word: clients compute it from proven records when they use a key",
  });
  return standing['isBacking'] === true ? 0 : 1;
}

function jsonObjectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new MalformedError('query.answer', 'key-standing', 'a JSON object', text.slice(0, 80));
}

async function showSupply(call: Call, haca: Haca): Promise<number> {
  const proven = await haca.chain.record(recordKey.totals());
  if (proven.value === null) throw new CommandLineError('the chain has no totals record');
  const totals = decode(totalsRecordCodec, proven.value, 'totals');
  const burned = totals.burnedFees + totals.burnedSlash + totals.burnedDeposit;
  print(call, {
    genesisSupply: formatOpg(OPG_SUPPLY_NOPG),
    burned: formatOpg(burned),
    supply: formatOpg(OPG_SUPPLY_NOPG - burned),
    supplyNopg: `${OPG_SUPPLY_NOPG - burned}`,
    burnedNopg: `${burned}`,
    baseFee: `${totals.baseFee}`,
    totals: toJsonView(totals),
    ...verifiedBy(haca, proven.stateHeight),
  });
  return 0;
}

async function showBlock(call: Call, haca: Haca, at: string | undefined): Promise<number> {
  if (at !== undefined && !/^[1-9][0-9]{0,15}$/.test(at))
    throw new CommandLineError('a block is named by its height');
  const header = at === undefined ? haca.chain.head() : await haca.chain.headerAt(Number(at));
  print(call, {
    height: header.height,
    hash: toHex(headerHash(header)),
    time: new Date(headerTimeMs(header)).toISOString(),
    appHash: toHex(header.appHash),
    chainId: header.chainId,
    verified: 'header, > 2/3 of the voting power',
    ...(call.has('prove') ? { header: encodeHeaderJson(header) } : {}),
  });
  return 0;
}

async function showList(call: Call, haca: Haca, kind: string): Promise<number> {
  const entries =
    kind === 'models'
      ? (await haca.models()).map(({ modelId, manifest, registeredAt }) => ({
          modelId: toHex(modelId),
          registeredAt,
          ...(toJsonView(manifest) as object),
        }))
      : (await haca.nodes()).map(({ nodeId, record }) => ({
          nodeId: toHex(nodeId),
          name: record.name,
          endpoint: record.endpoint,
          keys: record.keys.map(toHex),
          bond: formatOpg(record.bond),
        }));
  print(call, { [kind]: entries, verified: LISTING_ONLY });
  return 0;
}

const LISTING_ONLY = 'listing only: each entry can be proven with its own query';

async function showValidators(call: Call, haca: Haca): Promise<number> {
  const validators = (await haca.validators()).map(({ address, record, unbonding }) => ({
    address: toHex(address),
    power: record.power,
    status: statusOf(record),
    bond: formatOpg(record.selfBond),
    unbonding: unbonding.map(({ due, amount }) => ({ amount: formatOpg(amount), due })),
    rewards: formatOpg(record.rewards),
    operator: toHex(record.operator),
    consensusKey: toHex(record.consensusKey),
    ...(record.faultHeight === undefined ? {} : { faultHeight: record.faultHeight }),
  }));
  if (call.json) {
    call.out(JSON.stringify({ validators, verified: LISTING_ONLY }, null, 2));
    return 0;
  }
  const total = validators.reduce((sum, { power }) => sum + power, 0);
  for (const { address, power, status, bond, unbonding, rewards, operator } of validators) {
    call.out(`${address}  ${status}, power ${power} (${((100 * power) / total).toFixed(1)} %)`);
    call.out(`  bond ${bond}, rewards ${rewards}, operator ${operator}`);
    for (const { amount, due } of unbonding) call.out(`  unbonding ${amount}, due at height ${due}`);
  }
  call.out(LISTING_ONLY);
  return 0;
}

function statusOf({ tombstoned, power }: ValidatorRecord): 'active' | 'left' | 'double signed' {
  if (tombstoned === true) return 'double signed';
  return power > 0 ? 'active' : 'left';
}

function verifiedBy(haca: Haca, stateHeight: number) {
  return {
    height: stateHeight,
    verified: `state proof against header ${stateHeight + 1}, > 2/3 of the voting power of ${haca.chain.chainId}`,
  };
}

export const txCommand: Command = {
  name: 'tx',
  summary:
    'Shows a transaction: its block, proven by the light client, and the result as the full node gives it.',
  operands: 'HASH',
  flags: { ...NETWORK_FLAGS },
  examples: ['haca tx 5f…(64 hex digits)', 'haca tx 5f…(64 hex digits) --json'],
  run: async (call) => {
    const hash = id(call.operands[0], 'a transaction hash');
    const haca = await openClient(call, await findNetwork(call), null);
    try {
      return await showTx(call, haca, hash);
    } finally {
      haca.close();
    }
  },
};

async function showTx(call: Call, haca: Haca, hash: Uint8Array): Promise<number> {
  const { rpc } = haca.chain;
  const result = await rpc.tx(hash);
  if (result === null) {
    if (call.json) call.out(JSON.stringify({ hash: toHex(hash), found: false }));
    else call.out(`no transaction ${toHex(hash)} is in a block`);
    return 1;
  }
  const header = await haca.chain.headerAt(result.height);
  const params = { hash: toBase64(hash), prove: true };
  const { proof } = (await rpc.call('tx', params)) as { readonly proof?: unknown };
  const decoded = proof === undefined || proof === null ? null : decodeTxProof(proof);
  const inclusion =
    decoded === null || !bytesEqual(transactionHash(decoded.tx), hash)
      ? null
      : verifyTxProof({ dataHash: header.dataHash, tx: decoded.tx, proof: decoded });
  print(call, {
    hash: toHex(hash),
    found: true,
    height: result.height,
    code: result.code,
    gasUsed: result.gasUsed,
    events: result.events,
    log: result.log,
    verified:
      inclusion?.ok === true
        ? `inclusion in block ${result.height}, > 2/3 of the voting power; the result is the full node's word`
        : 'not verified: the full node gave no valid proof',
    ok: inclusion?.ok === true,
  });
  return inclusion?.ok === true ? 0 : inclusion === null ? 3 : 1;
}

function print(call: Call, value: Readonly<Record<string, unknown>>): void {
  if (call.json) {
    call.out(JSON.stringify(value, null, 2));
    return;
  }
  for (const [name, member] of Object.entries(value)) {
    const text =
      typeof member === 'object' && member !== null ? JSON.stringify(member, null, 2) : `${member}`;
    call.out(
      text.includes('\n') ? `${name}:\n${text.replaceAll(/^/gm, '  ')}` : `${name.padEnd(14)} ${text}`,
    );
  }
}
