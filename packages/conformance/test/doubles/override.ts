/** An object whose members are replaced one by one; the rest is the original's. */
export function override<T extends object>(original: T, members: Partial<T>): T {
  return new Proxy(original, {
    get(target, key) {
      if (key in members) return members[key as keyof T]
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? (value as (...words: unknown[]) => unknown).bind(target) : value
    },
  })
}
