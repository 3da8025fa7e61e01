import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const nodeGlobals = Object.fromEntries(
  ['process', 'console', 'Buffer', 'URL', 'setTimeout', 'clearTimeout', 'AbortController', 'AbortSignal'].map(
    (n) => [n, 'readonly'],
  ),
)

export default defineConfig(
  globalIgnores([
    '**/dist/**',
    '**/dist-test/**',
    'node_modules/**',
    'coverage/**',
    '**/*.d.ts',
    'docs/reference/api/**',
  ]),
  {
    files: ['packages/*/src/**/*.ts', 'packages/*/test/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    extends: [js.configs.recommended, tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      // Adapter methods are async because the port is, whether or not they await.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Another package is used through its public face only.
      'no-restricted-imports': [
        'error',
        { patterns: ['@orbweaver/*/dist/*', '@orbweaver/*/src/*', '**/packages/*/src/**'] },
      ],
    },
  },
  {
    files: ['**/*.test.ts', 'packages/conformance/src/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off' }, // chai: expect(x).to.be.true
  },
  {
    files: ['**/*.mjs'],
    extends: [js.configs.recommended],
    languageOptions: { globals: nodeGlobals },
  },
)
