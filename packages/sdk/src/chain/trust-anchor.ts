import type { GenesisDocument } from '@haca/light-client';
import {
  headerHash,
  type LightBlock,
  timestampToMs,
  validatorSetHash,
  verifyCommit,
} from '@haca/light-client';
import { bytesEqual, type CryptoProvider, toHex } from '@haca/primitives';
import { type Check, check, type Verdict, verdictOf } from '@haca/protocol';
import type { Trust } from './trust.ts';

export function trustedChainId(trust: Trust): string {
  return 'hash' in trust ? trust.chainId : trust.genesis.chainId;
}

/** The height whose light block turns what the caller trusts into a header to start from. */
export function anchorHeight(trust: Trust): number {
  return 'hash' in trust ? trust.height : trust.genesis.initialHeight;
}

/**
 * Whether a light block is what the caller trusts: for a trusted hash exactly that header; for a genesis its first block,
 * signed by more than two thirds of the genesis validators.
 */
export function verifyAnchor(crypto: CryptoProvider, trust: Trust, block: LightBlock): Verdict {
  const { header } = block.signedHeader;
  const chainId = trustedChainId(trust);
  const common = [
    check('anchor.chain-id', 'anchor.chain-id', header.chainId === chainId, chainId, header.chainId),
    check(
      'anchor.height',
      'anchor.height',
      header.height === anchorHeight(trust),
      `${anchorHeight(trust)}`,
      `${header.height}`,
    ),
    hashCheck('anchor.validators', validatorSetHash(block.validators), header.validatorsHash),
    hashCheck('anchor.next-validators', validatorSetHash(block.nextValidators), header.nextValidatorsHash),
  ];
  const own =
    'hash' in trust
      ? [hashCheck('anchor.hash', trust.hash, headerHash(header))]
      : genesisChecks(crypto, trust, block);
  return verdictOf([...common, ...own]);
}

function genesisChecks(
  crypto: CryptoProvider,
  { genesis }: { readonly genesis: GenesisDocument },
  { signedHeader, validators }: LightBlock,
): Check[] {
  const { header, commit } = signedHeader;
  const expectation = {
    chainId: genesis.chainId,
    height: genesis.initialHeight,
    blockId: { hash: headerHash(header), parts: commit.blockId.parts },
    validators: genesis.validators,
  };
  const signed = verifyCommit(crypto, expectation, commit);
  return [
    hashCheck(
      'anchor.genesis-validators',
      validatorSetHash(genesis.validators),
      validatorSetHash(validators),
    ),
    check(
      'anchor.time',
      'anchor.time',
      timestampToMs(header.time) >= timestampToMs(genesis.time),
      `at or after ${timestampToMs(genesis.time)}`,
      `${timestampToMs(header.time)}`,
    ),
    ...signed.verdict.checks.map((each) => ({ ...each, id: `anchor.${each.id}` })),
  ];
}

function hashCheck(id: string, expected: Uint8Array, got: Uint8Array): Check {
  return check(id, id, bytesEqual(expected, got), toHex(expected), toHex(got));
}
