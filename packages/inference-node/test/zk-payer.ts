/** The paying side of an inference that is proved. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseHzk } from '@haca/circuit';
import { fromBase64url } from '@haca/platform';
import { fromHex } from '@haca/primitives';
import { chargeFor, encodeZkRequest, OFFER } from '@haca/protocol';
import type { TestNode } from './test-node.ts';
import { type Payer, receiptOf } from './test-payer.ts';

export const DIGITS_FILE = resolve(import.meta.dirname, '../../../models/digits/digits.hzk');
export const digits = parseHzk(new Uint8Array(readFileSync(DIGITS_FILE)));
export const PRICE = 20_000n;

export const zkEngine = (more: object = {}): object => ({
  kind: 'zk',
  file: DIGITS_FILE,
  price: `${PRICE}`,
  proverThreads: 1,
  ...more,
});

export interface ZkPayer {
  readonly modelId: Uint8Array;
  readonly request: (fill: number) => Uint8Array;
  /** One paid inference on this lane. */
  readonly infer: (fill: number, lane?: number) => Promise<Response>;
  readonly post: (body: Uint8Array, headers?: Readonly<Record<string, string>>) => Promise<Response>;
  readonly voucher: (body: Uint8Array, lane?: number) => string;
}

export async function openZkPayer({ url, info }: TestNode, payer: Payer): Promise<ZkPayer> {
  const shown = (await (await fetch(`${url}/v1/haca`)).json()) as {
    readonly models: readonly { readonly modelId: string; readonly offer: string }[];
  };
  const [model] = shown.models;
  if (model === undefined) throw new Error('the node serves nothing');
  const modelId = fromHex(model.modelId);
  const offer = OFFER.decode(fromBase64url(model.offer)).value;
  const reserve = chargeFor(offer, { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 });
  const request = (fill: number): Uint8Array =>
    encodeZkRequest({
      modelId,
      salt: new Uint8Array(randomBytes(32)),
      tensors: [new Uint8Array(784).fill(fill)],
    });
  const voucher = (body: Uint8Array, lane = 0): string =>
    payer.voucher(body, lane, {
      cumulative: ((payer.charged.get(lane) ?? 0n) + reserve) as never,
      keyId: info.keyId,
    });
  const post: ZkPayer['post'] = (body, headers = {}) =>
    fetch(`${url}/v1/zk/inferences`, {
      method: 'POST',
      body: body as Uint8Array<ArrayBuffer>,
      headers: { 'content-type': 'application/cbor', ...headers },
    });
  return {
    modelId,
    request,
    voucher,
    post,
    infer: async (fill, lane = 0) => {
      const body = request(fill);
      const response = await post(body, { 'x-haca-voucher': voucher(body, lane) });
      const receipt = receiptOf(response);
      if (receipt !== undefined) payer.charged.set(lane, receipt.value.cumulative);
      return response;
    },
  };
}
