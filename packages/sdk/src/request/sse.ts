/**
 * Cutting a byte stream into server-sent events without changing a byte: a block is everything up to and including its
 * blank line. Bounded: a block that grows past the limit is malformed.
 */
import { concatBytes, MalformedError, utf8Decode } from '@haca/primitives';

export interface SseBlock {
  /** Raw bytes, up to and including the blank line. */
  readonly bytes: Uint8Array;
  /** One line that starts with `:`. A block with a second line can carry data, whatever its first byte is: an event. */
  readonly isComment: boolean;
}

export interface SseSplitter {
  readonly push: (chunk: Uint8Array) => readonly SseBlock[];
  /** What is left when the stream ends: an unfinished block. */
  readonly rest: () => Uint8Array;
}

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const COLON = 0x3a;

export function splitSse(blockMaxBytes: number): SseSplitter {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  // Whether the last byte so far ended a line: the next newline then ends the block.
  let atLineStart = false;
  return {
    push: (chunk) => {
      const blocks: SseBlock[] = [];
      let start = 0;
      for (let i = 0; i < chunk.length; i++) {
        const isNewline = chunk[i] === NEWLINE;
        const endsBlock = isNewline && atLineStart && pendingBytes + (i - start) > 0;
        atLineStart = isNewline;
        if (!endsBlock) continue;
        const bytes = concatBytes(...pending, chunk.subarray(start, i + 1));
        blocks.push({ bytes, isComment: isCommentBlock(bytes) });
        pending = [];
        pendingBytes = 0;
        start = i + 1;
        atLineStart = false;
      }
      if (start < chunk.length) {
        pending.push(chunk.slice(start));
        pendingBytes += chunk.length - start;
      }
      if (pendingBytes > blockMaxBytes) {
        throw new MalformedError('sse.block-size', '', `at most ${blockMaxBytes} bytes`, `${pendingBytes}`);
      }
      return blocks;
    },
    rest: () => concatBytes(...pending),
  };
}

function isCommentBlock(bytes: Uint8Array): boolean {
  if (bytes[0] !== COLON) return false;
  const inner = bytes.subarray(0, -2);
  return !inner.includes(NEWLINE) && !inner.includes(CARRIAGE_RETURN);
}

/** The text after `: NAME ` of a comment block, or undefined where it is another comment. */
export function commentText({ bytes, isComment }: SseBlock, name: string): string | undefined {
  if (!isComment) return undefined;
  const line = utf8Decode(bytes, 'sse.comment').trimEnd();
  const prefix = `: ${name} `;
  return line.startsWith(prefix) && !line.includes('\n') ? line.slice(prefix.length) : undefined;
}

const DONE = 'data: [DONE]\n\n';

export function isDoneEvent({ bytes }: SseBlock): boolean {
  return bytes.length === DONE.length && new TextDecoder().decode(bytes) === DONE;
}

/** Whether some reader of events would take the block for the end: another line ending, more after it, fields around it. */
export function looksDone({ bytes }: SseBlock): boolean {
  return /(^|[\r\n])\ufeff?data: *\[DONE\]/.test(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
}
