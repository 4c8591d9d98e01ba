export * from './examples.ts';
export * from './golden.ts';
export * from './mutations.ts';
export * from './record-examples.ts';
export * from './tdx-evidence.ts';
export * from './zk-graph.ts';
export * from './zk-keys.ts';
