import type { RpcClient } from '@haca/platform/rpc';
import { compareBytes, decode, MalformedError, toHex } from '@haca/primitives';
import { RECORD_LIST_MAX, type RecordEntry, recordListCodec } from '@haca/protocol';
import { NodeError } from '../errors.ts';

const PAGES_MAX = 100;
/** A page this long may have been cut off for its size. */
const PAGE_BYTES_SURE = 1 << 20;

/**
 * All records under a prefix, unproven, page by page. Rows cost their maker little, so a first page alone could be filled
 * by somebody who wants the others not to be seen; a list too long to read is an error, never a shorter list.
 */
export async function listRecords(rpc: RpcClient, prefix: Uint8Array): Promise<readonly RecordEntry[]> {
  const all: RecordEntry[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const after = all.at(-1)?.[0];
    const path = after === undefined ? '/records' : `/records/after/${toHex(after)}`;
    const { value } = await rpc.query(path, prefix);
    const entries = decode(recordListCodec, value, 'records');
    for (const entry of entries) {
      const previous = all.at(-1)?.[0];
      if (previous !== undefined && compareBytes(previous, entry[0]) >= 0) {
        throw new MalformedError(
          'records.order',
          'records',
          `a key above ${toHex(previous)}`,
          toHex(entry[0]),
        );
      }
      all.push(entry);
    }
    if (entries.length < RECORD_LIST_MAX && value.length < PAGE_BYTES_SURE) return all;
    if (entries.length === 0) return all;
  }
  throw new NodeError('E_UNAVAILABLE', `more than ${all.length} records: name what is wanted by its id`);
}
