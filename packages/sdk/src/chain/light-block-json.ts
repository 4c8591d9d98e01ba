import {
  decodeSignedHeader,
  decodeValidator,
  encodeSignedHeaderJson,
  encodeValidatorJson,
  type LightBlock,
  type ValidatorSet,
  validatorSetOf,
} from '@haca/light-client';
import { utf8Decode, utf8Encode } from '@haca/primitives';
import { asArray, asObject, parseJson } from '../json.ts';

const VALIDATORS_MAX = 10_000;

/** A light block as a bundle carries it: JSON in CometBFT's shapes, UTF-8. */
export function encodeLightBlock({ signedHeader, validators, nextValidators }: LightBlock): Uint8Array {
  return utf8Encode(
    JSON.stringify({
      signed_header: encodeSignedHeaderJson(signedHeader),
      validators: validators.validators.map((validator) => encodeValidatorJson(validator)),
      next_validators: nextValidators.validators.map((validator) => encodeValidatorJson(validator)),
    }),
  );
}

/** Throws `MalformedError`. Verifies nothing. */
export function decodeLightBlock(bytes: Uint8Array, path = 'light-block'): LightBlock {
  const doc = asObject(parseJson(utf8Decode(bytes, path), path), path);
  return {
    signedHeader: decodeSignedHeader(doc['signed_header'], `${path}.signed_header`),
    validators: decodeSet(doc['validators'], `${path}.validators`),
    nextValidators: decodeSet(doc['next_validators'], `${path}.next_validators`),
  };
}

function decodeSet(value: unknown, path: string): ValidatorSet {
  return validatorSetOf(
    asArray(value, path, VALIDATORS_MAX).map((entry, i) => decodeValidator(entry, `${path}.${i}`)),
  );
}
