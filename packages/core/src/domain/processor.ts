/** A processor: a named, versioned recipe. Which inputs, what to run, which outputs. It does no I/O. */

import type { z } from 'zod'
import type {
  ArchiveRef,
  AssessorNode,
  Level,
  ProjectNode,
  ScanNode,
  SessionNode,
  SubjectNode,
} from './archive.js'
import type { Requirements, RequirementsInput } from './requirements.js'
import type { TaskIdentity } from './task.js'

// ---------------------------------------------------------------- what authors write

/** Which scans. Every word may hold `*` and `?`; letter case does not matter. */
export interface ScanSelector {
  /** Scan types as the archive has them; several mean any of them. */
  readonly type?: string | readonly string[]
  /** Only scans a person called this. Default: all but `unusable`. */
  readonly quality?: string | readonly string[]
  readonly description?: string | readonly string[]
  readonly label?: string | readonly string[]
}

/** Which results of other processors. */
export interface AssessorSelector {
  /** Processor name; wildcards allowed. */
  readonly type: string | readonly string[]
  /** Semantic version range on what made it, as `>=2.1` or `7`. Default: any. */
  readonly version?: string
  /** Wait until a person has passed the result. See {@link PASSED_QUALITIES}. Default: false. */
  readonly passed?: boolean
}

/**
 * One input. Exactly one of `scan`, `assessor`, or neither (the target's own resource).
 * Without `each`, `all` or `pick` exactly one match is wanted: several make the task wait for a clearer rule.
 */
export interface InputDeclaration {
  readonly scan?: ScanSelector
  readonly assessor?: AssessorSelector
  /** Label of the resource to stage; of several, the first one there. Wildcards are not allowed. */
  readonly resource: string | readonly string[]
  /** Globs on the files of the resource. Default: all of them. */
  readonly files?: string | readonly string[]
  /** One task for each match. At most one input of a processor may say so. */
  readonly each?: boolean
  /** All matches together, in scan order; at least one unless `optional`. */
  readonly all?: boolean
  /** First, last, or the nth (from 1) match, in scan order. */
  readonly pick?: 'first' | 'last' | number
  /** The task runs without it when nothing matches. */
  readonly optional?: boolean
  /** Only scans that the result chosen for that other (assessor) input was made from. */
  readonly sameScanAs?: string
  /**
   * For scan inputs: where the scan itself lacks the resource, take it from the result of that processor on that scan.
   * So one recipe serves images that arrived as NIfTI and images that `dcm2niix` made.
   */
  readonly orFrom?: AssessorSelector
  /** Look in this wider node for matches. Default: the processor's level; for `scan` and `assessor` level, the session. */
  readonly within?: 'session' | 'subject' | 'project'
}

/** A file or folder of `outputs/` that becomes a resource of the assessor. */
export interface OutputDeclaration {
  /** Globs relative to the output folder; a trailing `/` means the folder and all below it. */
  readonly path: string | readonly string[]
  /** Without it the task fails with cause `missing-output`. Default: false. */
  readonly required?: boolean
}

export interface ContainerDeclaration {
  /** `docker://…`, a registry name, or the path of an image file or unpacked folder on the cluster. */
  readonly image: string
  /** Default: the site's, or the first of apptainer, singularity, podman, docker on the node. */
  readonly runtime?: 'apptainer' | 'singularity' | 'podman' | 'docker'
  /** Let the container reach the network. Default: false, where the runtime can. */
  readonly network?: boolean
  /** Extra read-only mounts, `HOST:CONTAINER`. */
  readonly binds?: readonly string[]
}

/** A script that travels with the job (the notebook's *spider*). */
export interface ScriptDeclaration {
  /** Absolute path on this machine. */
  readonly path: string
  /** Words before the script's path, as `[python3]`. Default: by extension: .py python3, .sh sh, .mjs .js node, .ts node, .m matlab -batch, .R Rscript. */
  readonly interpreter?: readonly string[]
  /** Files beside it that travel too. Absolute paths on this machine. */
  readonly files?: readonly string[]
}

/** What the command sees. Paths are as seen by the command: `/INPUTS/…` in a container, real ones otherwise. */
export interface InputValue {
  /** The one file; or the one image among its sidecars; or else the folder. */
  readonly path: string
  /** As `path`, for every source of an `all` input. */
  readonly paths: readonly string[]
  /** The folder of the (first) source. */
  readonly dir: string
  /** `false`: an optional input that is absent; then `path` and `dir` are empty and `paths` has no item. */
  readonly present: boolean
}

export interface CommandContext<Inputs extends string = string, Params = Readonly<Record<string, unknown>>> {
  readonly inputs: Readonly<Record<Inputs, InputValue>>
  readonly params: Params
  readonly workspace: {
    readonly root: string
    readonly inputs: string
    readonly outputs: string
    readonly tmp: string
  }
  readonly requirements: Requirements
  readonly task: TaskIdentity
}

/** The node a processor is asked about, with what is around it. */
export interface TargetView {
  readonly ref: ArchiveRef
  readonly project: ProjectNode
  readonly subject?: SubjectNode
  readonly session?: SessionNode
  readonly scan?: ScanNode
  readonly assessor?: AssessorNode
}

/** A processor as an author writes it, whether as an object ({@link defineProcessor}) or a class. */
export interface ProcessorDefinition<
  Inputs extends Readonly<Record<string, InputDeclaration>> = Readonly<Record<string, InputDeclaration>>,
  Params extends z.ZodType = z.ZodType,
> {
  /** `[a-z0-9-]`, starting with a letter. */
  readonly name: string
  /** `MAJOR.MINOR.PATCH`. Results of one major version stand for each other. */
  readonly version: string
  readonly level: Level
  readonly description?: string
  readonly inputs: Inputs
  /** Schema of the parameters; every field should have a default. */
  readonly params?: Params
  readonly requirements?: RequirementsInput
  readonly outputs: Readonly<Record<string, OutputDeclaration | string>>
  readonly container?: ContainerDeclaration
  readonly script?: ScriptDeclaration
  readonly environment?: Readonly<Record<string, string>>
  /** The argument list. May be left out with `script`: then the script runs without arguments. */
  command?(context: CommandContext<Extract<keyof Inputs, string>, z.output<Params>>): readonly string[]
  /** `true`, or the reason why not. Pure. */
  canRun?(target: TargetView): true | string
  /** Changes to {@link requirements} for one task. Pure. */
  requirementsFor?(task: TaskIdentity): RequirementsInput
  /** Programs the command needs on the node; `doctor` looks for them. */
  readonly programs?: readonly string[]
}

// ---------------------------------------------------------------- what the engine sees

/** A definition with every default filled in and every word checked. Made by `resolveProcessor`. */
export interface Processor {
  readonly name: string
  readonly version: string
  /** `NAME_vMAJOR`. */
  readonly procType: string
  readonly level: Level
  readonly description: string
  readonly inputs: readonly ResolvedInput[]
  readonly params: Readonly<Record<string, unknown>>
  readonly requirements: Requirements
  readonly outputs: readonly ResolvedOutput[]
  readonly container?: ContainerDeclaration
  readonly script?: ScriptDeclaration
  readonly environment: Readonly<Record<string, string>>
  readonly programs: readonly string[]
  command(context: CommandContext): readonly string[]
  canRun(target: TargetView): true | string
  requirementsFor(task: TaskIdentity): Requirements
}

export interface ResolvedInput {
  readonly name: string
  readonly kind: 'scan' | 'assessor' | 'own'
  readonly scan?: {
    readonly types: readonly string[]
    readonly qualities?: readonly string[]
    readonly descriptions?: readonly string[]
    readonly labels?: readonly string[]
  }
  readonly assessor?: {
    readonly types: readonly string[]
    readonly version?: string
    readonly passed: boolean
  }
  readonly resources: readonly string[]
  readonly files?: readonly string[]
  readonly choose: 'one' | 'each' | 'all' | 'first' | 'last' | number
  readonly optional: boolean
  readonly sameScanAs?: string
  readonly orFrom?: {
    readonly types: readonly string[]
    readonly version?: string
    readonly passed: boolean
  }
  readonly within?: 'session' | 'subject' | 'project'
}

export interface ResolvedOutput {
  readonly resource: string
  readonly paths: readonly string[]
  readonly required: boolean
}

/** Verdicts that let a result be used by `passed: true` inputs; compared without letter case. DAX's words. */
export const PASSED_QUALITIES: ReadonlySet<string> = new Set([
  'passed',
  'passed with edits',
  'good',
  'usable',
])
/** Delete the result and run again. */
export const RERUN_QUALITIES: ReadonlySet<string> = new Set(['rerun', 'failed-needs reprocessing'])
/** Never run, never run again. */
export const DO_NOT_RUN_QUALITIES: ReadonlySet<string> = new Set(['do not run', 'do-not-run'])

// ---------------------------------------------------------------- the ways to write one

/** Types flow from `inputs` and `params` into `command`: a wrong name does not compile. */
export function defineProcessor<
  const Inputs extends Readonly<Record<string, InputDeclaration>>,
  Params extends z.ZodType,
>(definition: ProcessorDefinition<Inputs, Params>): ProcessorDefinition<Inputs, Params> {
  return definition
}

/** Exactly one match. */
export const one = (input: InputDeclaration): InputDeclaration => ({ ...input })
/** One task for each match. */
export const each = (input: InputDeclaration): InputDeclaration => ({ ...input, each: true })
/** All matches together. */
export const all = (input: InputDeclaration): InputDeclaration => ({ ...input, all: true })
export const first = (input: InputDeclaration): InputDeclaration => ({ ...input, pick: 'first' })
export const last = (input: InputDeclaration): InputDeclaration => ({ ...input, pick: 'last' })
export const optional = (input: InputDeclaration): InputDeclaration => ({ ...input, optional: true })

/** The command context of a processor class: `command({ inputs, workspace }: ProcessorContext<this>)`. */
export type ProcessorContext<P extends { readonly inputs: object }> = CommandContext<
  Extract<keyof P['inputs'], string>
>

/** Base of processor classes; use the one for your level. */
export abstract class ProcessorBase {
  abstract readonly name: string
  abstract readonly version: string
  abstract readonly level: Level
  abstract readonly inputs: Readonly<Record<string, InputDeclaration>>
  abstract readonly outputs: Readonly<Record<string, OutputDeclaration | string>>
  readonly description?: string
  readonly params?: z.ZodType
  readonly requirements?: RequirementsInput
  readonly container?: ContainerDeclaration
  readonly script?: ScriptDeclaration
  readonly environment?: Readonly<Record<string, string>>
  readonly programs?: readonly string[]
  abstract command(context: CommandContext): readonly string[]
  canRun?(target: TargetView): true | string
  requirementsFor?(task: TaskIdentity): RequirementsInput
}

/** Runs once for each scan that its (first) scan input matches. */
export abstract class ScanProcessor extends ProcessorBase {
  readonly level = 'scan'
}
/** Runs on an imaging session. */
export abstract class SessionProcessor extends ProcessorBase {
  readonly level = 'session'
}
/** Runs on a subject, over all its sessions. */
export abstract class SubjectProcessor extends ProcessorBase {
  readonly level = 'subject'
}
/** Runs on a whole project. */
export abstract class ProjectProcessor extends ProcessorBase {
  readonly level = 'project'
}
/** Runs once for each result that its (first) assessor input matches. */
export abstract class AssessorProcessor extends ProcessorBase {
  readonly level = 'assessor'
}
