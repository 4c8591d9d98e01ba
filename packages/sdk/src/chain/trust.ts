import type { GenesisDocument } from '@haca/light-client';
import { fromHex } from '@haca/primitives';
import { bad } from '../json.ts';

/** What a caller trusts to begin with. Nothing a server says replaces it. */
export type Trust =
  | { readonly genesis: GenesisDocument }
  | {
      readonly height: number;
      /** Block hash at `height`, 32 bytes. */
      readonly hash: Uint8Array;
      readonly chainId: string;
      /** Gives approved measurements and test roots to appraise evidence with. */
      readonly genesis?: GenesisDocument;
    };

/** `HEIGHT:HASH`, as people write a trusted header. */
export function parseTrustedHeader(text: string): { readonly height: number; readonly hash: Uint8Array } {
  const match = /^([1-9][0-9]{0,15}):([0-9a-fA-F]{64})$/.exec(text);
  if (match === null) throw bad('trust', 'HEIGHT:HASH with 64 hex digits', text);
  return { height: Number(match[1]), hash: fromHex((match[2] as string).toLowerCase()) };
}
