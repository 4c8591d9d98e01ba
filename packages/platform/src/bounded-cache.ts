/**
 * A memo table of at most `maxEntries`. When full, the older half is dropped at once: cheap, and a hostile stream of fresh
 * keys can't grow memory.
 */
export function boundedCache<T>(maxEntries: number): (key: string, compute: () => T) => T {
  let recent = new Map<string, T>();
  let older = new Map<string, T>();
  return (key, compute) => {
    const known = recent.get(key);
    if (known !== undefined) return known;
    const value = older.get(key) ?? compute();
    if (recent.size >= maxEntries / 2) {
      older = recent;
      recent = new Map();
    }
    recent.set(key, value);
    return value;
  };
}
