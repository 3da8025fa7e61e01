/** The XNAT archive as an adapter: `use: xnat`. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError, DATA_STORE, defineAdapter, systemErrorCode } from '@orbweaver/core'
import { ContainerModule } from 'inversify'
import { xnatConfig } from './config.js'
import { XnatDataStore } from './store/xnat-store.js'

/** Logs in at the first call, so a wrong address or password is told by that, and by `doctor`. */
export const xnatAdapter = defineAdapter({
  kind: 'data-store',
  name: 'xnat',
  configSchema: xnatConfig,
  module: ({ url, ca, words, requests, idleTimeout }, { siteDirectory }) =>
    new ContainerModule(({ bind, onDeactivation }) => {
      bind(DATA_STORE)
        .toResolvedValue(() => {
          const certificates = ca === undefined ? undefined : readCertificates(resolve(siteDirectory, ca))
          return new XnatDataStore({
            url,
            words,
            requestLimit: requests,
            idleTimeoutMs: idleTimeout * 1000,
            ...(certificates !== undefined && { ca: certificates }),
          })
        })
        .inSingletonScope()
      onDeactivation(DATA_STORE, (store) => store.close())
    }),
})

function readCertificates(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(
      [{ file: path, path: 'store.ca', message: `cannot be read (${systemErrorCode(error) ?? 'unknown'})` }],
      { cause: error },
    )
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new ConfigError([{ file: path, path: 'store.ca', message: 'holds no certificate in PEM form' }])
}
