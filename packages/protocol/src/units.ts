import { type Codec, UsageError, u64 } from '@haca/primitives';

declare const unit: unique symbol;

/** An amount of OPG in its base unit: 1 OPG = 10^9 nopg. Lives in the verification cycle only. */
export type Nopg = bigint & { readonly [unit]: 'nopg' };

/** An amount of one fee asset in its base unit: 1 credit = 10^9 ncr. Lives in the execution cycle only. */
export type Credit = bigint & { readonly [unit]: 'credit' };

export const NOPG_PER_OPG = 1_000_000_000n;
export const NCR_PER_CREDIT = 1_000_000_000n;

/** The whole supply of OPG, fixed for ever: 10^9 OPG = 10^18 nopg. */
export const OPG_SUPPLY_NOPG = 1_000_000_000n * NOPG_PER_OPG;

const U64_MAX = (1n << 64n) - 1n;

/** There is no conversion between the two: no exchange rate exists anywhere in the protocol. */
export function nopg(amount: bigint): Nopg {
  return requireU64(amount) as Nopg;
}

export function credit(amount: bigint): Credit {
  return requireU64(amount) as Credit;
}

function requireU64(amount: bigint): bigint {
  if (amount < 0n || amount > U64_MAX) throw new UsageError(`${amount} is not an unsigned 64-bit amount`);
  return amount;
}

export const nopgCodec = u64 as unknown as Codec<Nopg>;
export const creditCodec = u64 as unknown as Codec<Credit>;

/** Fee assets are numbered; 0 is never used. */
export const ASSET_ID_MAX = 0xffff;

/** Decimal text with unit, for people: `1.5 OPG`. */
export function formatOpg(amount: bigint): string {
  return `${formatFixed(amount, 9)} OPG`;
}

/** `amount` base units as a decimal number of whole units, without trailing zeros. */
export function formatFixed(amount: bigint, decimals: number): string {
  const scale = 10n ** BigInt(decimals);
  const sign = amount < 0n ? '-' : '';
  const magnitude = amount < 0n ? -amount : amount;
  const fraction = (magnitude % scale).toString().padStart(decimals, '0').replace(/0+$/, '');
  return `${sign}${magnitude / scale}${fraction === '' ? '' : `.${fraction}`}`;
}
