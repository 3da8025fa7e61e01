#!/usr/bin/env node
// Plain JavaScript that old releases of Node can still parse: the first thing a person with the wrong Node reads must
// be a sentence, not a SyntaxError.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    'Error: Orbweaver needs Node.js 20.19 or newer; this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\n' +
      "  Install a newer one from https://nodejs.org, or with your site's module system (module load nodejs).\n",
  )
  process.exit(2)
}

const { runFromProcess } = await import('../dist/main.js')
await runFromProcess()
