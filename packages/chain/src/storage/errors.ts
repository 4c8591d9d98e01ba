/**
 * The files of the store are not what this program wrote: lost, damaged, of another version, or written by two processes.
 * Nothing can be served from them; restore a backup or sync again.
 */
export class StorageCorruptError extends Error {
  override readonly name = 'StorageCorruptError';
  /** Stable machine-readable code, e.g. `storage.root`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** A write did not become durable (disk full, I/O error). The store takes no more writes; stop the process. */
export class StorageFailedError extends Error {
  override readonly name = 'StorageFailedError';
}
