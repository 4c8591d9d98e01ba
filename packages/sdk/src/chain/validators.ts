/** Validators as the chain's records show them, and the one operation of theirs that two keys sign. */
import { validatorAddress } from '@haca/light-client';
import type { RpcClient } from '@haca/platform/rpc';
import { decode, toHex } from '@haca/primitives';
import {
  CONSENSUS_ADDRESS_BYTES,
  nopg,
  type OpOf,
  tablePrefix,
  unbondingRecordCodec,
  type ValidatorRecord,
  validatorPossessionMessage,
  validatorRecordCodec,
} from '@haca/protocol';
import type { Signer } from '../platform.ts';
import { listRecords } from './record-list.ts';

export interface ValidatorEntry {
  /** Consensus address, 20 bytes: what names it in operations. */
  readonly address: Uint8Array;
  readonly record: ValidatorRecord;
  /** What it takes out of its bond, by the height it is due at; block time may delay it. */
  readonly unbonding: readonly { readonly due: number; readonly amount: bigint }[];
}

/** Every validator there ever was, unproven, the most powerful first. */
export async function listValidators(rpc: RpcClient): Promise<readonly ValidatorEntry[]> {
  const [rows, entries] = await Promise.all([
    listRecords(rpc, tablePrefix('validator')),
    listRecords(rpc, tablePrefix('validatorUnbonding')),
  ]);
  const dueStart = 1 + CONSENSUS_ADDRESS_BYTES;
  const unbondingOf = Map.groupBy(entries, ([key]) => toHex(key.slice(1, dueStart)));
  return rows
    .map(([key, bytes]) => ({
      address: key.slice(1),
      record: decode(validatorRecordCodec, bytes, 'validator'),
      unbonding: (unbondingOf.get(toHex(key.slice(1))) ?? []).map(([entryKey, entry]) => ({
        due: Number.parseInt(toHex(entryKey.slice(dueStart)), 16),
        amount: decode(unbondingRecordCodec, entry, 'unbonding').amount,
      })),
    }))
    .sort((a, b) => b.record.power - a.record.power);
}

export interface ValidatorRegistration {
  readonly chainId: string;
  /** Account that will send the operation. */
  readonly operator: Uint8Array;
  /** The key that votes: it signs that it consents. */
  readonly consensusKey: Signer;
  /** nopg. */
  readonly bond: bigint;
}

export function registerValidatorOp(registration: ValidatorRegistration): OpOf<'register-validator'> {
  const { chainId, operator, consensusKey: signer, bond } = registration;
  const consensusKey = signer.publicKey;
  const possession = signer.sign(validatorPossessionMessage({ chainId, operator, consensusKey }));
  return { kind: 'register-validator', consensusKey, bond: nopg(bond), possession };
}

/** Name of the validator that has this consensus key: 20 bytes. */
export function validatorAddressOf(consensusKey: Uint8Array): Uint8Array {
  return validatorAddress(consensusKey);
}
