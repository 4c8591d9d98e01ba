export {
  type AppProcess,
  AppProcessError,
  type AppProcessOptions,
  type ProgramOptions,
  type ProgramProcess,
  spawnApp,
  spawnProgram,
} from './app-process.ts';
export { boundedCache } from './bounded-cache.ts';
export { type Ed25519Signer, ed25519SignerFromSeed, generateEd25519Signer } from './ed25519-keys.ts';
export { openFastP384, type VerifyP384Digest, withFastP384 } from './fast-p384.ts';
export { FolderBusyError, type FolderLock, lockFolder } from './folder-lock.ts';
export { type ListenOptions, listenOn } from './listen.ts';
export {
  nodeCrypto,
  openNodeCrypto,
  type SignatureCheck,
  type SignatureScheme,
  verifySignatureAsync,
} from './node-crypto.ts';
export { nodeZkKernels } from './node-zk-kernels.ts';
export { portableCrypto } from './portable-crypto.ts';
export { STOP_WITH_PARENT, untilAskedToStop } from './process-stop.ts';
export { rememberSignatures } from './remembered-signatures.ts';
export * from './rpc-client.ts';
export { wasmZkKernels } from './zk-kernels.ts';
