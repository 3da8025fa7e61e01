/** How we show who we are: the agent, keys in files, and questions on a terminal. Each way once. */

import { readFile, stat } from 'node:fs/promises'
import ssh2, {
  type AgentAuthMethod,
  type AnyAuthMethod,
  type AuthHandlerMiddleware,
  type IdentityCallback,
  type KeyboardInteractiveAuthMethod,
  type NextAuthHandler,
  type ParsedKey,
  type PublicKeyAuthMethod,
  type SignCallback,
  type SigningRequestOptions,
} from 'ssh2'
import { systemErrorCode } from '@orbweaver/core'
import { textOf, type ResolvedHost } from '../config/resolve.js'

/** Asks a person. */
export type Ask = (question: string, options: { readonly echo: boolean }) => Promise<string>

export interface Secrets {
  /** Passphrase of keys, from a variable; never printed. */
  readonly passphrase: string | undefined
  /** Absent without a terminal. */
  readonly ask: Ask | undefined
}

/** What was tried, for the message when all failed. */
export interface Attempts {
  readonly tried: string[]
}

/** Servers cut the connection after six failures by default. */
const KEYS_OF_AGENT = 5

export function authentication(
  host: ResolvedHost,
  secrets: Secrets,
  attempts: Attempts,
): AuthHandlerMiddleware {
  const ways = waysOf(host, secrets, attempts)
  const username = host.user
  let asked = false
  return (methodsLeft, _partial, next) => {
    void advance(methodsLeft, next)
  }

  async function advance(methodsLeft: readonly string[] | null, next: NextAuthHandler): Promise<void> {
    try {
      const allowed = (method: string): boolean => methodsLeft === null || methodsLeft.includes(method)
      if (!asked) {
        // Tells which methods there are, and is how an account without any is let in.
        asked = true
        next({ type: 'none', username })
        return
      }
      for (;;) {
        const way = await ways.next()
        if (way.done === true) {
          next(false as unknown as AnyAuthMethod)
          return
        }
        if (!allowed(way.value.type === 'agent' ? 'publickey' : way.value.type)) continue
        next(way.value)
        return
      }
    } catch (error) {
      attempts.tried.push(error instanceof Error ? error.message : String(error))
      next(false as unknown as AnyAuthMethod)
    }
  }
}

async function* waysOf(
  host: ResolvedHost,
  { passphrase, ask }: Secrets,
  { tried }: Attempts,
): AsyncGenerator<AgentAuthMethod | PublicKeyAuthMethod | KeyboardInteractiveAuthMethod> {
  const username = host.user
  if (host.agent !== undefined) {
    const agent = new OrderedAgent(host.agent, host)
    const count = await agent.count()
    if (count > 0) {
      tried.push(`${count} ${count === 1 ? 'key' : 'keys'} of the agent`)
      yield { type: 'agent', username, agent }
    } else tried.push('the agent has no key to offer')
  }
  for (const file of host.identityFiles) {
    const loaded = await loadKey(file, host.identitiesNamed, passphrase, ask)
    if (loaded === undefined) continue
    if (typeof loaded === 'string') tried.push(loaded)
    else {
      tried.push(file)
      yield { type: 'publickey', username, key: loaded }
    }
  }
  if (ask === undefined) {
    tried.push('no questions could be asked: this is not a terminal')
    return
  }
  tried.push('questions on the terminal')
  yield {
    type: 'keyboard-interactive',
    username,
    prompt: (name, instructions, _language, prompts, finish) => {
      void answer([name, instructions], prompts, ask, `${host.user}@${host.host}`).then(finish, () =>
        finish([]),
      )
    },
  }
}

async function answer(
  heads: readonly string[],
  prompts: readonly { readonly prompt: string; readonly echo?: boolean }[],
  ask: Ask,
  who: string,
): Promise<string[]> {
  const answers: string[] = []
  for (const { prompt, echo } of prompts) {
    const head = answers.length === 0 ? heads.filter((text) => text !== '').map((text) => `${text}\n`) : []
    answers.push(await ask(`${head.join('')}(${who}) ${prompt}`, { echo: echo === true }))
  }
  return answers
}

/** A key to log in with; a text: why it cannot be used; undefined: it is not there and was only tried. */
async function loadKey(
  file: string,
  named: boolean,
  passphrase: string | undefined,
  ask: Ask | undefined,
): Promise<ParsedKey | string | undefined> {
  let data: Buffer
  try {
    data = await readFile(file)
    // As OpenSSH: a private key that others can read is no private key any more.
    const { mode, uid } = await stat(file)
    if (uid === process.getuid?.() && (mode & 0o077) !== 0)
      return `${file} is left out: others may read it (chmod 600 ${file})`
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === undefined) throw error
    return named || code !== 'ENOENT' ? `${file} cannot be read (${code})` : undefined
  }
  const plain = ssh2.utils.parseKey(data, passphrase)
  const parsed = plain instanceof Error ? await unlock(file, data, plain, passphrase, ask) : plain
  if (parsed instanceof Error) return `${file}: ${parsed.message}`
  const [key] = [parsed].flat()
  return key === undefined || !key.isPrivateKey() ? `${file} holds no private key` : key
}

async function unlock(
  file: string,
  data: Buffer,
  problem: Error,
  passphrase: string | undefined,
  ask: Ask | undefined,
): Promise<ParsedKey | ParsedKey[] | Error> {
  if (!/passphrase|encrypted/i.test(problem.message)) return problem
  if (passphrase !== undefined) return new Error('the passphrase in the variable does not fit')
  if (ask === undefined) {
    return new Error(
      'it has a passphrase, which nobody can be asked for; load it into an agent, or set `passphraseVariable`',
    )
  }
  for (let tries = 1; ; tries += 1) {
    const answer = await ask(`Passphrase of ${file}: `, { echo: false })
    const parsed = ssh2.utils.parseKey(data, answer)
    if (!(parsed instanceof Error)) return parsed
    if (answer === '' || tries >= 3) return new Error('the passphrase does not fit')
  }
}

/** The agent's keys: those that were named first, or alone; and not more than a server takes. */
class OrderedAgent extends ssh2.BaseAgent<ParsedKey> {
  readonly #agent: InstanceType<typeof ssh2.BaseAgent>
  readonly #named: readonly Buffer[]
  readonly #only: boolean

  constructor(socket: string, host: ResolvedHost) {
    super()
    this.#agent = ssh2.createAgent(socket)
    this.#named = host.identitiesNamed ? host.identityFiles.flatMap(publicKeyOf) : []
    this.#only = host.identitiesOnly
  }

  async count(): Promise<number> {
    return await new Promise<number>((resolve) => {
      // An agent that does not answer has no keys to offer.
      this.getIdentities((error, keys) =>
        resolve(error === undefined || error === null ? (keys ?? []).length : 0),
      )
    })
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    this.#agent.getIdentities((error, found) => {
      if (error !== undefined && error !== null) {
        done(error)
        return
      }
      const keys = (found ?? []).flatMap((key) => {
        const parsed = ssh2.utils.parseKey(key as Buffer)
        return parsed instanceof Error ? [] : [parsed].flat()
      })
      const isNamed = (key: ParsedKey): boolean => this.#named.some((one) => one.equals(key.getPublicSSH()))
      const named = keys.filter(isNamed)
      const others = this.#only ? [] : keys.filter((key) => !isNamed(key))
      done(undefined, [...named, ...others].slice(0, KEYS_OF_AGENT))
    })
  }

  override sign(
    key: ParsedKey,
    data: Buffer,
    options: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): void {
    if (typeof options === 'function') this.#agent.sign(key, data, options)
    else this.#agent.sign(key, data, options, done as SignCallback)
  }
}

/** The public half that lies beside a private key, or is in it. */
function publicKeyOf(file: string): readonly Buffer[] {
  for (const path of [`${file}.pub`, file]) {
    const text = textOf(path)
    if (text === undefined) continue
    const parsed = ssh2.utils.parseKey(text)
    if (!(parsed instanceof Error)) return [parsed].flat().map((key) => key.getPublicSSH())
  }
  return []
}
