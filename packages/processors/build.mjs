/**
 * Bundles the jobs of the ready processors: one self-contained file each in dist/scripts, which a compute node runs with
 * nothing but Node.
 *
 *   node packages/processors/build.mjs
 */

import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const target = path.join(root, 'dist', 'scripts')

// The package of dcm2niix shows only its browser face; the module we need lies beside it. Of its two builds this one
// also reads JPEG-LS and JPEG 2000.
const converter = path.dirname(fileURLToPath(import.meta.resolve('@niivue/dcm2niix')))
const pdfkit = require.resolve('pdfkit')

/**
 * Reports use the standard fonts alone, whose metrics pdfkit has as code. The engine for embedded fonts would be four
 * fifths of each bundle and is never called.
 */
const withoutFontEngine = {
  name: 'without-font-engine',
  setup(bundler) {
    bundler.onResolve({ filter: /^fontkit$/ }, (found) => ({ path: found.path, namespace: 'empty' }))
    bundler.onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: 'module.exports = {}' }))
    // pdfkit 0.20 fetches those metrics through a require of its own making, which a bundler does not follow.
    bundler.onLoad({ filter: /[\\/]pdfkit[\\/]js[\\/]pdfkit\.js$/ }, async ({ path: file }) => {
      const text = await fs.promises.readFile(file, 'utf8')
      const contents = text.replaceAll("require$1('#standard-fonts/", "require('#standard-fonts/")
      if (contents === text) throw new Error('pdfkit no longer loads its font metrics as build.mjs expects')
      return { contents }
    })
  },
}

await fs.promises.rm(target, { recursive: true, force: true })
await build({
  entryPoints: ['dcm2niix', 'nifti-qa', 'fmri-qa', 'dti-qa'].map((name) =>
    path.join(root, 'src', 'jobs', `${name}.ts`),
  ),
  outdir: target,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'eof',
  alias: { pdfkit, 'dcm2niix-module': path.join(converter, 'dcm2niix.jpeg.js') },
  plugins: [withoutFontEngine],
  banner: {
    js: [
      "import { createRequire as orbweaverRequire } from 'node:module';",
      "import { fileURLToPath as orbweaverPath } from 'node:url';",
      'const require = orbweaverRequire(import.meta.url);',
      'const __filename = orbweaverPath(import.meta.url);',
    ].join('\n'),
  },
  logLevel: 'warning',
})
await fs.promises.copyFile(path.join(converter, 'dcm2niix.jpeg.wasm'), path.join(target, 'dcm2niix.wasm'))
