/** The paying side of a request, without the SDK: signs vouchers by the rules, or breaks one on purpose. */
import { ed25519SignerFromSeed, fromBase64url } from '@haca/platform';
import { domainHash, fromHex, utf8Encode } from '@haca/primitives';
import {
  credit,
  DEFAULT_MAX_OUTPUT_TOKENS,
  inputTokensBound,
  OFFER,
  type Offer,
  RECEIPT,
  type Receipt,
  requestHashOf,
  reserveFor,
  type SignedObject,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { CHAIN_ID, type FakeChain } from './fake-chain.ts';

export interface NodeInfo {
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly offer: Offer;
}

export async function readNodeInfo(url: string): Promise<NodeInfo> {
  const info = (await (await fetch(`${url}/v1/haca`)).json()) as {
    nodeId: string;
    keys: { keyId: string; publicKey: string }[];
    models: { keyId: string; offer: string }[];
  };
  const [model] = info.models;
  const key = info.keys.find(({ keyId }) => keyId === model?.keyId);
  if (model === undefined || key === undefined) throw new Error('the node serves nothing');
  return {
    nodeId: fromHex(info.nodeId),
    keyId: fromHex(key.keyId),
    publicKey: fromHex(key.publicKey),
    offer: OFFER.decode(fromBase64url(model.offer)).value,
  };
}

export type ChatBody = Readonly<Record<string, unknown>>;

export interface Payer {
  readonly channelId: Uint8Array;
  /** What lanes were charged, as receipts said. */
  readonly charged: Map<number, bigint>;
  readonly reserve: (body: Uint8Array) => bigint;
  /** A voucher for this body on this lane; `change` breaks it before it is signed. */
  readonly voucher: (body: Uint8Array, lane?: number, change?: Partial<Voucher>) => string;
  /** One request, paid on this lane; the lane's charge follows the receipt of a whole answer. */
  readonly post: (body: ChatBody, lane?: number, init?: RequestInit) => Promise<Response>;
}

export function openPayer(
  url: string,
  chain: FakeChain,
  info: NodeInfo,
  name: string,
  amount: bigint,
): Payer {
  const signer = ed25519SignerFromSeed(domainHash('haca/test-session/1', utf8Encode(name)));
  const channelId = domainHash('haca/test-channel/1', utf8Encode(name));
  const charged = new Map<number, bigint>();
  if (amount > 0n) chain.putChannel(channelId, info.nodeId, signer.publicKey, amount);

  const reserve = (body: Uint8Array): bigint => {
    const { max_completion_tokens, max_tokens } = JSON.parse(Buffer.from(body).toString()) as {
      max_completion_tokens?: number;
      max_tokens?: number;
    };
    const outputTokens = max_completion_tokens ?? max_tokens ?? DEFAULT_MAX_OUTPUT_TOKENS;
    return reserveFor(info.offer, inputTokensBound(body), outputTokens);
  };
  const voucher = (body: Uint8Array, lane = 0, change: Partial<Voucher> = {}): string => {
    const value: Voucher = {
      version: 1,
      chainId: CHAIN_ID,
      channelId,
      keyId: info.keyId,
      lane,
      cumulative: credit((charged.get(lane) ?? 0n) + ('cumulative' in change ? 0n : reserve(body))),
      requestHash: requestHashOf(body),
      expiry: 900_000,
      session: 0,
      ...change,
    };
    return Buffer.from(VOUCHER.sign(value, signer.sign).bytes).toString('base64url');
  };
  return {
    channelId,
    charged,
    reserve,
    voucher,
    post: async (chat, lane = 0, init = {}) => {
      const body = new Uint8Array(Buffer.from(JSON.stringify(chat)));
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        ...init,
        body,
        headers: {
          'content-type': 'application/json',
          'x-haca-voucher': voucher(body, lane),
          ...(init.headers as Record<string, string> | undefined),
        },
      });
      const receipt = receiptOf(response);
      if (receipt !== undefined) charged.set(lane, receipt.value.cumulative);
      return response;
    },
  };
}

export function receiptOf(response: Response): SignedObject<Receipt> | undefined {
  const header = response.headers.get('x-haca-receipt');
  return header === null ? undefined : RECEIPT.decode(fromBase64url(header));
}

export interface StreamParts {
  /** Raw bytes of each event, comment blocks left out. */
  readonly events: readonly string[];
  readonly checkpoints: readonly string[];
  readonly receipt: SignedObject<Receipt> | null;
}

export function parseStream(text: string): StreamParts {
  const blocks = text.split(/(?<=\n\n)/);
  const comment = (name: string): readonly string[] =>
    blocks.flatMap((block) => new RegExp(`^: haca-${name} ([A-Za-z0-9_-]+)\n\n$`).exec(block)?.[1] ?? []);
  const [receipt] = comment('receipt');
  return {
    events: blocks.filter((block) => !block.startsWith(':')),
    checkpoints: comment('checkpoint'),
    receipt: receipt === undefined ? null : RECEIPT.decode(fromBase64url(receipt)),
  };
}
