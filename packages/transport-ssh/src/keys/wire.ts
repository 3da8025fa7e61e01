/** The data types of SSH's messages. See RFC 4251, section 5. */

export class WireReader {
  readonly #data: Buffer
  #at = 0

  constructor(data: Buffer) {
    this.#data = data
  }

  get position(): number {
    return this.#at
  }

  get isAtEnd(): boolean {
    return this.#at === this.#data.length
  }

  bytes(count: number): Buffer {
    const end = this.#at + count
    if (end > this.#data.length) throw new RangeError('the message ends early')
    const found = this.#data.subarray(this.#at, end)
    this.#at = end
    return found
  }

  byte(): number {
    return this.bytes(1).readUInt8()
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE()
  }

  uint64(): bigint {
    return this.bytes(8).readBigUInt64BE()
  }

  string(): Buffer {
    return this.bytes(this.uint32())
  }

  text(): string {
    return this.string().toString('utf8')
  }

  /** A number that is not negative, without the zeros before it. */
  mpint(): Buffer {
    const data = this.string()
    if (((data[0] ?? 0) & 0x80) !== 0) throw new RangeError('a number is negative')
    let start = 0
    while (start < data.length && data[start] === 0) start += 1
    return data.subarray(start)
  }

  names(): readonly string[] {
    return this.text().split(',')
  }
}

export function uint32(value: number): Buffer {
  const data = Buffer.alloc(4)
  data.writeUInt32BE(value)
  return data
}

export function wireString(value: string | Buffer): Buffer {
  const data = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([uint32(data.length), data])
}
