import { Argument, type Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { schemaOf } from '../site.js'

export function registerSchema(program: Command, bind: Bind): void {
  const command = program
    .command('schema')
    .summary('JSON Schema of site and processor files, for editors')
    .description(
      'Print the JSON Schema (draft 7) of site or processor files. Editors then complete words and mark mistakes:\n' +
        '  orbweaver schema site > site.schema.json\n' +
        'and in the first line of the file:\n' +
        '  # yaml-language-server: $schema=./site.schema.json',
    )
    .addArgument(new Argument('<what>', 'which file').choices(['site', 'processor']))
  bind<object, ['site' | 'processor']>(command, async (session, _options, what) => {
    const schema = await schemaOf(what)
    if (session.json) await session.answer('schema', { what, jsonSchema: schema })
    else await session.print(JSON.stringify(schema, undefined, 2))
    return EXIT.good
  })
}
