import type { Readable } from 'node:stream'
import type { FileEntry } from '../domain/archive.js'
import type { Diagnosis } from './cluster-backend.js'
import type { FileSink } from './data-store.js'
import type { CallOptions } from './options.js'

export interface CommandSpec {
  /** First word: the program. Never passed through a shell here; a remote side quotes each word in one place. */
  readonly argv: readonly string[]
  readonly stdin?: string
  /** Working directory on the side where it runs. */
  readonly directory?: string
  /** Beside a minimal environment (PATH, HOME, LANG=C.UTF-8, LC_ALL=C.UTF-8). */
  readonly environment?: Readonly<Record<string, string>>
  /** Default 60 000. The program and its children are ended when it is over. */
  readonly timeoutMs?: number
  /** Largest output kept, each of stdout and stderr. Default 64 MiB. More is an error, never a silent cut. */
  readonly maxOutputBytes?: number
}

export interface CommandResult {
  /** `undefined` when a signal ended it. */
  readonly exitCode: number | undefined
  readonly signal?: string
  readonly stdout: string
  readonly stderr: string
}

/** Runs programs, here or elsewhere. */
export interface CommandRunner {
  /**
   * A program that ends with any exit code is a result, not an error.
   *
   * @throws NotFoundError there is no such program
   * @throws TransportUnavailableError it could not be started or its end is unknown (connection, time-out)
   */
  run(command: CommandSpec, options?: CallOptions): Promise<CommandResult>
}

export interface ListedFile extends FileEntry {
  /** `link`: a symbolic link, not followed. */
  readonly kind: 'file' | 'folder' | 'link' | 'other'
}

/**
 * Many files for one folder, sent together: where every single file costs an exchange with a far machine, a thousand of
 * them take hours. A write that has returned is a promise only; the files are there, whole and checked, when `finish` has
 * returned. Writes may run at once.
 */
export interface FileBatch extends FileSink {
  /** @throws IntegrityError what arrived is not what was sent; none of the files has appeared */
  finish(options?: CallOptions): Promise<void>
  /** Give up: what has not been finished goes away. After `finish` it does nothing. */
  abandon(): Promise<void>
}

/** Files of one folder on their way here: the small ones come together, where each by itself would cost an exchange. */
export interface FileGathering {
  /** Several may be open at once. Any order will do; that of the list is the quickest. Other files are opened by themselves. */
  open(path: string, options?: CallOptions): Promise<Readable>
  /** What was fetched and not opened is let go. */
  close(): Promise<void>
}

/**
 * Files on the side where jobs run. All paths are absolute on that side, with `/`. Missing is {@link NotFoundError}
 * unless a member says otherwise; a full disk is {@link NoSpaceError}.
 */
export interface FileTransfer {
  /** With parents, mode 0700. There already is no error. */
  mkdir(path: string, options?: CallOptions): Promise<void>
  /** Stream a file there; parents are made; it appears whole or not at all. */
  write(path: string, content: Readable, entry: FileEntry, options?: CallOptions): Promise<void>
  /** Copy a file of this machine there; parents are made; it appears whole or not at all. */
  put(localPath: string, path: string, options?: CallOptions & { readonly mode?: number }): Promise<void>
  /** Copy a file from there to this machine; it appears whole or not at all. */
  get(path: string, localPath: string, options?: CallOptions): Promise<void>
  open(path: string, options?: CallOptions): Promise<Readable>
  /** Small text files. `maxBytes` default 4 MiB: more is an error; with `tail` the last `maxBytes` are returned instead. */
  read(
    path: string,
    options?: CallOptions & { readonly maxBytes?: number; readonly tail?: boolean },
  ): Promise<string>
  /** Many small files in one go; missing ones are absent from the map. */
  readMany(paths: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, string>>
  /** Write-then-rename: readers see the old or the new text, never a part. Mode 0600 unless said. */
  writeAtomic(path: string, text: string, options?: CallOptions & { readonly mode?: number }): Promise<void>
  /** Replaces a file at the target. */
  rename(from: string, to: string, options?: CallOptions): Promise<void>
  /** Everything below a folder with paths relative to it, sorted; links are listed, not followed. Missing: an empty list. */
  list(path: string, options?: CallOptions): Promise<readonly ListedFile[]>
  /** Checksums of files below a folder, by relative path; for integrity checks of what a job wrote. */
  checksums(
    path: string,
    files: readonly string[],
    options?: CallOptions,
  ): Promise<ReadonlyMap<string, string>>
  exists(path: string, options?: CallOptions): Promise<boolean>
  /** A file or a whole folder; missing is no error; links are removed, never followed. */
  remove(path: string, options?: CallOptions): Promise<void>
  /**
   * An empty folder in the place of whatever is there, as `remove` and `mkdir` make it; what transfers into it left that were cut off
   * may stay, unseen, to be gone on with. Offered where they can.
   */
  clear?(path: string, options?: CallOptions): Promise<void>
  /** Bytes this user can still write below the path. */
  freeSpace(path: string, options?: CallOptions): Promise<number>
  /** Offered where it pays to send many small files together. Always followed by `finish` or `abandon`. */
  batch?(folder: string): FileBatch
  /** Offered where it pays to fetch many small files together. Always followed by `close`. */
  gather?(folder: string, files: readonly FileEntry[]): FileGathering
  /** The same file on this machine, when it is one. */
  localPath?(path: string): string | undefined
}

/** The pair. `local` is in core, SSH in a package of its own. */
export interface Transport {
  /** `local`, `ssh`. */
  readonly name: string
  readonly runner: CommandRunner
  readonly files: FileTransfer
  /** Checks for `orbweaver doctor`, of a far side: how it is reached, and what was found there. */
  diagnose?(options?: CallOptions & { readonly workRoot?: string }): Promise<readonly Diagnosis[]>
  close(): Promise<void>
}
