import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { registerCheck } from './check.js'
import { registerCompletion } from './completion.js'
import { registerControl } from './control.js'
import { registerDemo } from './demo.js'
import { registerDoctor } from './doctor.js'
import { registerExplain } from './explain.js'
import { registerExport } from './export.js'
import { registerImport } from './import.js'
import { registerInit } from './init.js'
import { registerList } from './list.js'
import { registerLogs } from './logs.js'
import { registerPlan } from './plan.js'
import { registerReport } from './report.js'
import { registerRun, registerSteps } from './run.js'
import { registerSandbox } from './sandbox.js'
import { registerSchema } from './schema.js'
import { registerStatus } from './status.js'
import { registerTry } from './try.js'
import { registerVerify } from './verify.js'
import { registerVersion } from './version.js'
import { registerXnat } from './xnat.js'

/** All commands, in the order in which a person meets them. */
export function registerAll(program: Command, bind: Bind): void {
  program.commandsGroup('Set up:')
  registerDemo(program, bind)
  registerInit(program, bind)
  registerCheck(program, bind)
  registerDoctor(program, bind)
  registerSandbox(program, bind)
  program.commandsGroup('Look:')
  registerList(program, bind)
  registerPlan(program, bind)
  registerExplain(program, bind)
  registerStatus(program, bind)
  registerReport(program, bind)
  registerLogs(program, bind)
  registerVerify(program, bind)
  program.commandsGroup('Run:')
  registerTry(program, bind)
  registerRun(program, bind)
  registerSteps(program, bind)
  program.commandsGroup('Steer:')
  registerControl(program, bind)
  program.commandsGroup('Data in and out:')
  registerImport(program, bind)
  registerExport(program, bind)
  registerXnat(program, bind)
  program.commandsGroup('About the program:')
  registerSchema(program, bind)
  registerCompletion(program, bind)
  registerVersion(program, bind)
}
