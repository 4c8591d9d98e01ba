import { arrayOf, bytesOf, type Codec } from '@haca/primitives';

export const RECORD_LIST_MAX = 1_000;

/** A record of chain state: its key and its bytes. */
export type RecordEntry = readonly [key: Uint8Array, value: Uint8Array];

const keyBytes = bytesOf(1, 1024);
const valueBytes = bytesOf(0, 1 << 20);

const recordEntryCodec: Codec<RecordEntry> = {
  cddl: `[${keyBytes.cddl}, ${valueBytes.cddl}]`,
  write: (writer, [key, value]) => {
    writer.arrayHead(2);
    keyBytes.write(writer, key);
    valueBytes.write(writer, value);
  },
  read: (reader) => {
    reader.openArray(2, 2);
    const entry = [keyBytes.read(reader), valueBytes.read(reader)] as const;
    reader.close();
    return entry;
  },
};

/**
 * What the query `/records` answers: records of one table whose key begins with a prefix, ascending by key. A listing is a
 * convenience without proof: a record that matters is asked for again with one.
 */
export const recordListCodec: Codec<readonly RecordEntry[]> = arrayOf(recordEntryCodec, RECORD_LIST_MAX);
