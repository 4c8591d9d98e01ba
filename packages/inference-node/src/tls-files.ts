/** The certificate and key that the node speaks TLS with itself, and what evidence says of them. */
import { createPrivateKey, hash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError, type NodeConfig } from './config.ts';

export interface TlsIdentity {
  /** PEM, the node's own certificate first. */
  readonly certificate: Buffer;
  /** PEM. */
  readonly key: Buffer;
  /** SHA-256 of the certificate's SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), DER; 32 bytes. */
  readonly spkiHash: Uint8Array;
}

/** Throws `ConfigError` unless both files are there and belong together. */
export function readTlsIdentity({ certificateFile, keyFile }: NonNullable<NodeConfig['tls']>): TlsIdentity {
  const certificate = readFile(certificateFile);
  const key = readFile(keyFile);
  const own = read('tls.certificateFile', 'a PEM certificate', () => new X509Certificate(certificate));
  const privateKey = read('tls.keyFile', 'a PEM private key', () => createPrivateKey(key));
  if (!own.checkPrivateKey(privateKey))
    throw new ConfigError(`configuration: tls.keyFile must be the key of ${certificateFile}`);
  const spki = own.publicKey.export({ type: 'spki', format: 'der' });
  return { certificate, key, spkiHash: new Uint8Array(hash('sha256', spki, 'buffer')) };
}

function readFile(file: string): Buffer {
  return read('tls', `a readable file, ${file}`, () => readFileSync(file));
}

function read<T>(name: string, expected: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`configuration: ${name} must be ${expected}: ${why}`, { cause: error });
  }
}
