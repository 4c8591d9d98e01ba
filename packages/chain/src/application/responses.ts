/** What the state machine gives, as ABCI says it. */
import type { AbciEvent, ExecTxResult, FinalizeBlockResponse } from '../abci.ts';
import type { BlockOutput, ChainEvent, TxResult } from '../state-machine/index.ts';

export const CODESPACE = 'haca';
const NOTHING = new Uint8Array(0);

export function finalizeBlockResponse(output: BlockOutput, appHash: Uint8Array): FinalizeBlockResponse {
  return {
    events: output.events.map(abciEvent),
    txResults: output.results.map(execTxResult),
    validatorUpdates: output.validatorUpdates.map(({ consensusKey, power }) => ({
      publicKey: consensusKey,
      power: BigInt(power),
    })),
    appHash,
  };
}

function execTxResult(result: TxResult): ExecTxResult {
  const isApplied = result.code === 0;
  return {
    code: result.code,
    data: NOTHING,
    log: isApplied ? '' : `${result.codeName}: ${result.info}`,
    info: result.info,
    gasWanted: BigInt(result.gasWanted),
    gasUsed: BigInt(result.gasUsed),
    events: result.events.map(abciEvent),
    codespace: isApplied ? '' : CODESPACE,
  };
}

function abciEvent({ type, attributes }: ChainEvent): AbciEvent {
  return { type, attributes: attributes.map(([key, value]) => ({ key, value, index: true })) };
}
