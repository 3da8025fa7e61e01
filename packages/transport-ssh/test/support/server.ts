/** An SSH server in this process, over this machine's files and shell: well-behaved, or odd in ways that are asked for. */

import { spawn, type ChildProcess } from 'node:child_process'
import type { AddressInfo, Socket } from 'node:net'
import ssh2, { type AuthContext, type Connection, type ParsedKey, type ServerChannel } from 'ssh2'
import { fileSystemOver } from './sftp-server.js'

const { Server, utils } = ssh2

export interface Oddities {
  /** Printed on the shell's standard output and error before each command, as start-up files do. */
  readonly noise?: string
  /** Sent before the login. */
  readonly banner?: string
  readonly refuseSftp?: boolean
  /** Channels at once; more are refused. */
  readonly maxSessions?: number
  /** Milliseconds before a command starts. */
  readonly slowMs?: number
  /** Commands do not get a process group of their own. */
  readonly noGroups?: boolean
  /** The end of the program is told before its last output is. */
  readonly exitFirst?: boolean
  /** Log in like this in place of a key. */
  readonly keyboard?: readonly { readonly prompt: string; readonly echo: boolean; readonly answer: string }[]
}

export interface TestServer {
  readonly port: number
  readonly hostKey: ParsedKey
  /** `host type key`, as in a file of known hosts. */
  readonly knownHostsLine: string
  readonly logins: number
  readonly channels: number
  /** Change how it behaves from now on. */
  become(oddities: Oddities): void
  /** Cut all connections without a goodbye. */
  cut(): void
  /** Cut all connections when so many bytes more have come from clients. */
  cutAfterBytes(bytes: number): void
  /**
   * Cut the connection at the message with this number from now on, in one direction, before it arrives.
   *
   * @returns whether it has come to that
   */
  cutAtMessage(direction: 'to' | 'from', number: number): () => boolean
  /** Refuse new connections, or take them again. */
  refuse(refusing: boolean): void
  close(): Promise<void>
}

export interface ServerKeys {
  /** Public key that may log in. */
  readonly allowed: ParsedKey
  /** Private host keys, in PEM or OpenSSH's form. Default: a new Ed25519 key. */
  readonly hostKeys?: readonly string[]
}

export async function startServer(keys: ServerKeys, initial: Oddities = {}): Promise<TestServer> {
  let odd = initial
  let logins = 0
  let channels = 0
  let refusing = false
  let bytesLeft = Infinity
  let messagesLeft = { to: Infinity, from: Infinity }
  const sockets = new Set<Socket>()
  const children = new Set<ChildProcess>()
  const hostKeys = keys.hostKeys ?? [goodPair().private]
  const server = new Server({
    hostKeys: [...hostKeys],
    ...(initial.banner !== undefined && { banner: initial.banner }),
  })

  server.on('connection', (connection: Connection) => {
    connection.on('error', () => undefined) // the client went away
    connection.on('authentication', (context) => {
      if (accepts(context, keys.allowed, odd)) context.accept()
    })
    connection.on('ready', () => {
      logins += 1
      serve(connection)
    })
  })

  function serve(connection: Connection): void {
    let open = 0
    connection.on('tcpip', (_accept, reject) => reject())
    connection.on('session', (accept, reject) => {
      if (open >= (odd.maxSessions ?? Infinity)) {
        reject()
        return
      }
      open += 1
      channels += 1
      const session = accept()
      session.on('close', () => (open -= 1))
      session.on('exec', (acceptExec, _reject, { command }) => run(acceptExec(), command))
      session.on('sftp', (acceptSftp, rejectSftp) => {
        if (odd.refuseSftp === true) rejectSftp()
        else fileSystemOver(acceptSftp())
      })
    })
  }

  function run(channel: ServerChannel, command: string): void {
    const { noise = '', slowMs = 0, noGroups = false, exitFirst = false } = odd
    const start = (): void => {
      if (noise !== '') {
        channel.write(noise)
        channel.stderr.write(noise)
      }
      const child = spawn('/bin/sh', ['-c', command], { detached: !noGroups, stdio: 'pipe', cwd: '/' })
      children.add(child)
      const held: Buffer[] = []
      let given = false
      channel.once('end', () => (given = true))
      child.stdout.on('data', (chunk: Buffer) => {
        if (exitFirst && given) held.push(chunk)
        else if (!channel.write(chunk)) {
          child.stdout.pause()
          channel.once('drain', () => child.stdout.resume())
        }
      })
      child.stderr.pipe(channel.stderr, { end: false })
      channel.pipe(child.stdin)
      child.stdin.on('error', () => undefined) // the program reads no more
      channel.on('error', () => undefined) // the client went away
      channel.on('close', () => child.stdout.destroy())
      child.once('close', (code, signal) => {
        children.delete(child)
        if (channel.destroyed) return
        if (signal === null) channel.exit(code ?? 0)
        else channel.exit(signal.replace('SIG', ''))
        if (!exitFirst) {
          channel.end()
          return
        }
        setImmediate(() => {
          for (const chunk of held) channel.write(chunk)
          channel.end()
        })
      })
    }
    if (slowMs > 0) setTimeout(start, slowMs)
    else start()
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const inner = (server as unknown as { _srv: import('node:net').Server })._srv
  inner.on('connection', (socket: Socket) => {
    if (refusing) {
      socket.destroy()
      return
    }
    socket.setNoDelay(true)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const counted = (direction: 'to' | 'from'): boolean => {
      messagesLeft[direction] -= 1
      if (messagesLeft[direction] > 0) return false
      messagesLeft = { to: Infinity, from: Infinity }
      cut()
      return true
    }
    const send = socket.write.bind(socket) as (...words: unknown[]) => boolean
    socket.write = (...words: unknown[]) => counted('to') || send(...words)
    socket.prependListener('data', () => void counted('from'))
    socket.on('data', (chunk: Buffer) => {
      bytesLeft -= chunk.length
      if (bytesLeft > 0) return
      bytesLeft = Infinity
      cut()
    })
  })
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const { port } = server.address() as AddressInfo
  const [hostKey] = parsedKeys(hostKeys[0] ?? '')
  if (hostKey === undefined) throw new Error('no host key')
  return {
    port,
    hostKey,
    knownHostsLine: `[127.0.0.1]:${port} ${hostKey.type} ${hostKey.getPublicSSH().toString('base64')}\n`,
    get logins() {
      return logins
    },
    get channels() {
      return channels
    },
    become: (oddities) => (odd = oddities),
    cut,
    cutAfterBytes: (bytes) => (bytesLeft = bytes),
    cutAtMessage: (direction, number) => {
      messagesLeft = { to: Infinity, from: Infinity, [direction]: number }
      const own = messagesLeft
      return () => own !== messagesLeft
    },
    refuse: (value) => (refusing = value),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      cut()
      for (const child of children) endGroup(child)
      await closed
    },
  }
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function accepts(context: AuthContext, allowed: ParsedKey, { keyboard }: Oddities): boolean {
  if (keyboard !== undefined) {
    if (context.method !== 'keyboard-interactive') {
      context.reject(['keyboard-interactive'])
      return false
    }
    context.prompt(
      keyboard.map(({ prompt, echo }) => ({ prompt, echo })),
      (answers) => {
        if (keyboard.every(({ answer }, index) => answers[index] === answer)) context.accept()
        else context.reject()
      },
    )
    return false
  }
  const isKey = context.method === 'publickey' && context.key.data.equals(allowed.getPublicSSH())
  const isSigned =
    isKey &&
    (context.signature === undefined ||
      allowed.verify(context.blob as Buffer, context.signature, context.hashAlgo) === true)
  if (!isSigned) context.reject(['publickey'])
  return isSigned
}

export function temporaryKey(): { readonly private: string; readonly public: ParsedKey } {
  const pair = goodPair()
  const [key] = parsedKeys(pair.public)
  if (key === undefined) throw new Error('no key')
  return { private: pair.private, public: key }
}

/** ssh2 1.17 now and then makes an Ed25519 key that it cannot read itself. */
function goodPair(): { readonly private: string; readonly public: string } {
  for (;;) {
    const pair = utils.generateKeyPairSync('ed25519')
    if (!(utils.parseKey(pair.private) instanceof Error) && !(utils.parseKey(pair.public) instanceof Error))
      return pair
  }
}

function parsedKeys(text: string): readonly ParsedKey[] {
  const parsed = utils.parseKey(text)
  if (parsed instanceof Error) throw parsed
  return [parsed].flat()
}
