/** The Emscripten module inside the dcm2niix package. Its own face needs a browser's Worker; the bundler finds the file. */
declare module 'dcm2niix-module' {
  interface Converter {
    readonly FS: {
      mkdir(path: string): void
      writeFile(path: string, content: Uint8Array): void
      readFile(path: string): Uint8Array
      readdir(path: string): string[]
    }
    /** Runs the program; returns its exit code. */
    callMain(words: readonly string[]): number
  }
  export default function createModule(options: {
    readonly print: (line: string) => void
    readonly printErr: (line: string) => void
    readonly locateFile: (file: string) => string
    readonly wasmBinary: Uint8Array
  }): Promise<Converter>
}
