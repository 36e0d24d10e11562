import { writeSync } from "node:fs"

/**
 * Writes everything in order before the process ends, even into a pipe that is full or has lost its reader.
 */
export const writeAll = (file: number, text: string): void => {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(file, bytes, at)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === "EAGAIN") Atomics.wait(pauser, 0, 0, 5)
      else if (code === "EPIPE" || code === "EBADF" || code === "EIO") return
      else throw error
    }
  }
}

const pauser = new Int32Array(new SharedArrayBuffer(4))
