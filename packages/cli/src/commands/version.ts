import type { Command } from 'commander'
import { release } from 'node:os'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { VERSION, versionOf } from '../version.js'

const PACKAGES = ['core', 'adapter-local', 'processors'] as const

export function registerVersion(program: Command, bind: Bind): void {
  const command = program
    .command('version')
    .summary('versions of Orbweaver, its packages and Node.js')
    .description(
      'Print the versions of Orbweaver, its packages, Node.js and the system: for reports of defects.',
    )
  bind(command, async (session) => {
    const packages = Object.fromEntries(
      PACKAGES.map((name) => [`@orbweaver/${name}`, versionOf(`@orbweaver/${name}/package.json`)]),
    )
    const system = `${process.platform} ${release()} ${process.arch}`
    if (session.json) {
      await session.answer('version', { version: VERSION, packages, node: process.versions.node, system })
      return EXIT.good
    }
    await session.print(`orbweaver ${VERSION}`)
    await session.table(
      [
        { head: '', value: ([name]: readonly [string, string]) => name },
        { head: '', value: ([, version]) => version },
      ],
      [...Object.entries(packages), ['node', process.versions.node], ['system', system]],
      2,
    )
    return EXIT.good
  })
}
