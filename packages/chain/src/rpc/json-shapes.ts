/** JSON of what the application returns, in CometBFT's shapes; blocks and commits come from @haca/light-client. */
import { toBase64 } from '@haca/light-client';
import type { AbciEvent, ExecTxResult, QueryResponse, ValidatorPower } from '../abci.ts';

const bytesOrNull = (bytes: Uint8Array): string | null => (bytes.length === 0 ? null : toBase64(bytes));

export function encodeEventsJson(events: readonly AbciEvent[]) {
  return events.map(({ type, attributes }) => ({ type, attributes }));
}

export function encodeTxResultJson(result: ExecTxResult) {
  return {
    code: result.code,
    data: bytesOrNull(result.data),
    log: result.log,
    info: result.info,
    gas_wanted: `${result.gasWanted}`,
    gas_used: `${result.gasUsed}`,
    events: encodeEventsJson(result.events),
    codespace: result.codespace,
  };
}

export function encodeValidatorUpdateJson({ publicKey, power }: ValidatorPower) {
  const value = { ed25519: toBase64(publicKey) };
  return { pub_key: { Sum: { type: 'tendermint.crypto.PublicKey_Ed25519', value } }, power: `${power}` };
}

export function encodeQueryJson(response: QueryResponse) {
  const ops = response.proofOps?.map(({ type, key, data }) => ({
    type,
    key: toBase64(key),
    data: toBase64(data),
  }));
  return {
    code: response.code,
    log: response.log,
    info: response.info,
    index: '0',
    key: bytesOrNull(response.key),
    value: bytesOrNull(response.value),
    proofOps: ops === undefined ? null : { ops },
    height: `${response.height}`,
    codespace: response.codespace,
  };
}
