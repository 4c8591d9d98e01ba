/** Everything a Prove transaction is made of, from the log of the key and the claim as the chain holds it. */
import { concatBytes, toHex } from '@haca/primitives';
import {
  type ChargeLine,
  type ClaimRecord,
  credit,
  decodeZkRequest,
  decodeZkResponse,
  type OpOf,
  type ZkStatement,
  zkChainDigest,
} from '@haca/protocol';
import type { Exchange, IssuedReceipt, KeyStream, SettledBatch } from '../key-stream.ts';
import type { ProvableModel } from './provable-model.ts';

export interface ClaimLine {
  readonly line: ChargeLine;
  /** Of the receipt at its end, whose request the voucher names. */
  readonly voucher: Uint8Array;
}

export interface ClaimParts {
  readonly statement: ZkStatement;
  readonly rows: Pick<OpOf<'prove'>, 'salts' | 'inputs' | 'outputs' | 'receipts'>;
  /** One for each lane that was charged in the claim: both ends are receipts of the claim itself. */
  readonly lines: readonly ClaimLine[];
}

type Logged = IssuedReceipt & { readonly exchange: Exchange };

export async function readClaim(
  stream: KeyStream,
  model: Pick<ProvableModel, 'verifyingKeyHash' | 'inputs' | 'outputs'>,
  { firstSeq, count }: Pick<SettledBatch, 'firstSeq' | 'count'>,
  claimId: Uint8Array,
  { nonce }: Pick<ClaimRecord, 'nonce'>,
): Promise<ClaimParts> {
  const logged: Logged[] = [];
  for (let seq = firstSeq; seq < firstSeq + count; seq++) {
    const entry = await stream.read(seq);
    if (entry === undefined || entry.exchange === null) {
      throw new Error(`the log has no request and response of receipt ${seq}`);
    }
    logged.push({ ...entry, exchange: entry.exchange });
  }
  const requests = logged.map(({ exchange }) => decodeZkRequest(exchange.request));
  const responses = logged.map(({ exchange }) => decodeZkResponse(exchange.response));
  const columns = (rows: readonly { readonly tensors: readonly Uint8Array[] }[], tensors: number) =>
    Array.from({ length: tensors }, (_, i) =>
      concatBytes(...rows.map((row) => row.tensors[i] as Uint8Array)),
    );
  const inputs = columns(requests, model.inputs.length);
  const outputs = columns(responses, model.outputs.length);
  return {
    statement: {
      chainId: zkChainDigest(stream.identity.chainId),
      claimId,
      nonce,
      verifyingKeyHash: model.verifyingKeyHash,
      batchSize: count,
      inputs,
      outputs,
    },
    rows: {
      salts: requests.map(({ salt }) => salt),
      inputs,
      outputs,
      receipts: logged.map(({ receipt }) => receipt.cose.payload),
    },
    lines: linesOf(logged),
  };
}

/** From the first charged receipt of each lane to its last: what came before is another claim's, or was never verified. */
export function linesOf(logged: readonly IssuedReceipt[]): ClaimLine[] {
  const lanes = new Map<string, { readonly first: IssuedReceipt; last: IssuedReceipt }>();
  for (const issued of logged) {
    const { channelId, lane, amount } = issued.receipt.value;
    if (amount === 0n) continue;
    const name = `${toHex(channelId)}/${lane}`;
    const known = lanes.get(name);
    if (known === undefined) lanes.set(name, { first: issued, last: issued });
    else known.last = issued;
  }
  return [...lanes.values()].map(({ first, last }) => {
    const { channelId, lane, seq: fromSeq, cumulative, amount } = first.receipt.value;
    const { seq: atSeq, cumulative: to } = last.receipt.value;
    const line = { channelId, lane, fromSeq, atSeq, from: credit(cumulative - amount), to };
    return { line, voucher: last.voucher.bytes };
  });
}
