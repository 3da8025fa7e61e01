/** A door before a server: hears what goes through, as someone on the network would. */

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export interface DoorOptions {
  /** Asked for each connection. */
  readonly port: () => number
  /** Bytes of a client, as they came. */
  readonly onRequest?: (piece: Buffer) => void
  /** Bytes of the server. */
  readonly onReply?: (piece: Buffer) => void
}

export class Door {
  readonly #server: Server
  readonly #open = new Set<Socket>()

  private constructor(readonly options: DoorOptions) {
    this.#server = createServer((from) => this.#through(from))
  }

  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options)
    door.#server.listen(0, '127.0.0.1')
    await once(door.#server, 'listening')
    return door
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#open) socket.destroy()
    await closed
  }

  #through(from: Socket): void {
    const { port, onRequest, onReply } = this.options
    const to = connect(port(), '127.0.0.1')
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      this.#open.add(one)
      // What breaks on one side breaks on the other: the door adds nothing of its own.
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#open.delete(one)
        other.destroy()
      })
    }
    if (onRequest !== undefined) from.on('data', onRequest)
    if (onReply !== undefined) to.on('data', onReply)
    from.pipe(to)
    to.pipe(from)
  }
}
