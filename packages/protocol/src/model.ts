import {
  arrayOf,
  decode,
  domainHash,
  encode,
  field,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  textOf,
  uint,
} from '@haca/primitives';
import { digest32, methodCodec, version } from './common.ts';

export const TASKS = ['chat', 'completion', 'embedding', 'classification'] as const;

/**
 * What a model is. `weights` commits to the parameters: the SHA-256 of the weight file, or for `zk` the hash of the
 * verifying key, which pins graph, quantization and weight root.
 */
export const modelManifestCodec = struct({
  version: field(0, version),
  name: field(1, textOf(1, 64)),
  task: field(2, oneOf(...TASKS)),
  weights: field(
    3,
    struct({ kind: field(0, oneOf('sha256', 'zk-verifying-key')), digest: field(1, digest32) }),
  ),
  tokenizerHash: field(4, nullable(digest32)),
  methods: field(5, arrayOf(methodCodec, 3, 1)),
  /** Tokens of prompt and answer together. */
  contextTokens: field(6, uint(0xffffffff)),
  license: field(7, textOf(1, 64)),
});
export type ModelManifest = TypeOf<typeof modelManifestCodec>;

export const MODEL_MANIFEST_MAX_BYTES = 1024;

export function modelIdOf(manifest: ModelManifest): Uint8Array {
  return domainHash('haca/model/1', encode(modelManifestCodec, manifest));
}

export function decodeModelManifest(bytes: Uint8Array): ModelManifest {
  return decode(modelManifestCodec, bytes, 'model');
}
