/**
 * The part of WebAssembly's JavaScript interface that the kernels need. Node and browsers have it; TypeScript only knows
 * it together with everything else of a browser.
 */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
  /** Grows by pages of 64 KiB and returns how many there were. Throws `RangeError` at the maximum. */
  readonly grow: (pages: number) => number;
}

/** Compiled code; can be handed to other threads. */
export interface WasmModule {
  readonly [Symbol.toStringTag]?: string;
}

export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

interface WebAssemblyInterface {
  readonly Memory: new (limits: {
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => WasmModule;
  readonly Instance: new (
    module: WasmModule,
    imports?: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => WasmInstance;
}

export const webAssembly: WebAssemblyInterface = (
  globalThis as unknown as { readonly WebAssembly: WebAssemblyInterface }
).WebAssembly;
