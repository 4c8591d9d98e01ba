/** Decrees of the validators: signing one, and whether enough of the voting power has. */
import { type CryptoProvider, compareBytes, decode, toHex } from '@haca/primitives';
import {
  type Decree,
  type DecreeAction,
  decreeMessage,
  governanceRecordCodec,
  type OpOf,
  recordKey,
} from '@haca/protocol';
import { type ValidatorEntry, validatorAddressOf } from './chain/validators.ts';
import type { ChainView } from './chain/view.ts';
import type { Signer } from './platform.ts';

export type DecreeSignature = OpOf<'decree'>['signatures'][number];

/** Offline. What is signed is the message and nothing else: chain, serial and action. */
export function signDecree(decree: Decree, consensusKey: Signer): DecreeSignature {
  return {
    validator: validatorAddressOf(consensusKey.publicKey),
    signature: consensusKey.sign(decreeMessage(decree)),
  };
}

/** One above that of the last decree, by the chain's proven record. */
export async function nextDecreeSerial(chain: Pick<ChainView, 'record'>): Promise<number> {
  const { value } = await chain.record(recordKey.governance());
  return value === null ? 1 : decode(governanceRecordCodec, value, 'governance').serial + 1;
}

export interface DecreePower {
  /** Voting power behind valid signatures, and all there is. */
  readonly signed: number;
  readonly all: number;
  readonly isEnough: boolean;
  /** In words, e.g. `two thirds`. */
  readonly share: string;
  /** Signatures that would have the decree refused: of no validator with power, or not over this decree. */
  readonly refused: readonly DecreeSignature[];
}

/** As the chain counts it: more than two thirds, more than five sixths where a measurement is approved at once. */
export function decreePower(
  crypto: CryptoProvider,
  decree: Decree,
  signatures: readonly DecreeSignature[],
  validators: readonly ValidatorEntry[],
): DecreePower {
  const message = decreeMessage(decree);
  const known = new Map(validators.map(({ address, record }) => [toHex(address), record]));
  const counted = new Set<string>();
  const refused: DecreeSignature[] = [];
  let signed = 0;
  for (const given of signatures) {
    const name = toHex(given.validator);
    const record = known.get(name);
    const isGood =
      record !== undefined &&
      record.power > 0 &&
      !counted.has(name) &&
      crypto.verifyEd25519(record.consensusKey, message, given.signature);
    if (!isGood) refused.push(given);
    else signed += record.power;
    counted.add(name);
  }
  const all = validators.reduce((sum, { record }) => sum + record.power, 0);
  const isFast = isEmergency(decree.action);
  return {
    signed,
    all,
    isEnough: isFast ? 6 * signed > 5 * all : 3 * signed > 2 * all,
    share: isFast ? 'five sixths' : 'two thirds',
    refused,
  };
}

function isEmergency(action: DecreeAction): boolean {
  return action.kind === 'propose-measurement' && action.isEmergency;
}

/** The operation that anybody may submit. */
export function decreeOp({ serial, action }: Decree, signatures: readonly DecreeSignature[]): OpOf<'decree'> {
  const ordered = [...signatures].sort((a, b) => compareBytes(a.validator, b.validator));
  return { kind: 'decree', serial, action, signatures: ordered };
}
