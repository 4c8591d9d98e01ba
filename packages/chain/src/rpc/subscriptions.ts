/** Event subscriptions over WebSocket: who gets which events of a new block. */
import {
  encodeBlockIdJson,
  encodeBlockJson,
  encodeHeaderJson,
  toBase64,
  toUpperHex,
} from '@haca/light-client';
import { sha256 } from '@haca/primitives';
import type { AbciEvent } from '../abci.ts';
import { eventValues } from '../application/block-results.ts';
import type { CommittedBlock } from '../engine/engine.ts';
import { type Condition, type EventValues, matchesQuery, parseEventQuery } from './event-query.ts';
import { internalFault, type RpcId } from './json-rpc.ts';
import { encodeEventsJson, encodeTxResultJson, encodeValidatorUpdateJson } from './json-shapes.ts';

export const SUBSCRIPTIONS_PER_CLIENT = 5;

interface Subscription {
  readonly id: RpcId;
  readonly query: string;
  readonly conditions: readonly Condition[];
}

/** Subscriptions of one connection. */
export interface Subscriptions {
  /** Throws `RpcFault`. */
  readonly add: (id: RpcId, query: string) => void;
  readonly remove: (query: string) => void;
  readonly removeAll: () => void;
  /** JSON-RPC messages for the events that match, ready to send. */
  readonly messagesFor: (events: readonly PublishedEvent[]) => readonly string[];
}

/** One event with what it is matched by; the JSON is made once for all who get it. */
export interface PublishedEvent {
  readonly values: EventValues;
  /** `"data":…,"events":…` */
  readonly json: () => string;
}

export function createSubscriptions(): Subscriptions {
  const byQuery = new Map<string, Subscription>();
  return {
    add: (id, query) => {
      const conditions = parseEventQuery(query);
      if (byQuery.has(query)) throw internalFault('already subscribed');
      if (byQuery.size >= SUBSCRIPTIONS_PER_CLIENT) {
        throw internalFault(`max_subscriptions_per_client ${SUBSCRIPTIONS_PER_CLIENT} reached`);
      }
      byQuery.set(query, { id, query, conditions });
    },
    remove: (query) => {
      if (!byQuery.delete(query)) throw internalFault('subscription not found');
    },
    removeAll: () => byQuery.clear(),
    messagesFor: (events) => {
      const messages: string[] = [];
      for (const { id, query, conditions } of byQuery.values()) {
        for (const event of events) {
          if (!matchesQuery(conditions, event.values)) continue;
          const head = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"query":${JSON.stringify(query)},`;
          messages.push(`${head}${event.json()}}}`);
        }
      }
      return messages;
    },
  };
}

/** The events of a block in CometBFT's order. */
export function eventsOfBlock(committed: CommittedBlock): readonly PublishedEvent[] {
  const { block, results } = committed;
  const height = `${block.header.height}`;
  const finalize = () => ({
    events: encodeEventsJson(results.events),
    tx_results: results.txResults.map(encodeTxResultJson),
    validator_updates: results.validatorUpdates.map(encodeValidatorUpdateJson),
    app_hash: toBase64(results.appHash),
  });
  const ofBlock = (type: string, value: () => object): PublishedEvent =>
    published(type, results.events, [['block.height', height]], value);
  const txs = block.txs.map((tx, index) => {
    const result = results.txResults[index];
    if (result === undefined) throw new Error(`block ${height} has no result for transaction ${index}`);
    const names = [
      ['tx.hash', toUpperHex(sha256(tx))],
      ['tx.height', height],
    ] as const;
    return published('Tx', result.events, names, () => ({
      TxResult: { height, index, tx: toBase64(tx), result: encodeTxResultJson(result) },
    }));
  });
  return [
    ofBlock('NewBlock', () => ({
      block: encodeBlockJson(block),
      block_id: encodeBlockIdJson(committed.blockId),
      result_finalize_block: finalize(),
    })),
    ofBlock('NewBlockHeader', () => ({ header: encodeHeaderJson(block.header) })),
    ofBlock('NewBlockEvents', () => ({
      height,
      events: encodeEventsJson(results.events),
      num_txs: `${block.txs.length}`,
    })),
    ...txs,
  ];
}

function published(
  type: string,
  events: readonly AbciEvent[],
  names: readonly (readonly [string, string])[],
  value: () => object,
): PublishedEvent {
  const values = eventValues(events);
  values.set('tm.event', [type]);
  for (const [name, text] of names) values.set(name, [text]);
  let json: string | undefined;
  return {
    values,
    json: () => {
      json ??= `"data":${dataJson(type, value())},"events":${JSON.stringify(Object.fromEntries(values))}`;
      return json;
    },
  };
}

function dataJson(type: string, value: object): string {
  return JSON.stringify({ type: `tendermint/event/${type}`, value });
}
