/** The file system's promises with faults: calls that change something are counted, and fail as planned. */
import type * as fs from "node:fs/promises"

/** A call that changes something, or makes it last. */
export interface Call {
  readonly name: string
  readonly path: string
}

/** The system's code of the fault, or none for a call that succeeds. */
export type Plan = (call: Call, number: number) => string | undefined

const none: Plan = () => undefined
let plan = none
let count = 0

/** Runs calls by a plan, and says how many there were. */
export const withFaults = (faults: Plan) => {
  plan = faults
  count = 0
  return {
    end: (): number => {
      plan = none
      return count
    }
  }
}

const fault = (name: string, path: unknown): Error | undefined => {
  count++
  const code = plan({ name, path: String(path) }, count)
  return code === undefined
    ? undefined
    : Object.assign(new Error(`${code}: injected, ${name} ${String(path)}`), { code })
}

const changing = ["rename", "unlink", "mkdir"] as const
const changingHandle = new Set(["writeFile", "sync", "truncate", "chown"])

export const faulty = (real: typeof fs): typeof fs => {
  const wrapped: Record<string, unknown> = { ...real }
  for (const name of changing) {
    wrapped[name] = async (path: string, ...rest: ReadonlyArray<unknown>) => {
      // What matters of a rename is what it takes the place of.
      const error = fault(name, name === "rename" ? rest[0] : path)
      if (error !== undefined) throw error
      return (real[name] as (...all: ReadonlyArray<unknown>) => Promise<unknown>)(path, ...rest)
    }
  }
  wrapped["open"] = async (path: string, flags: number | string, mode?: number) => {
    const error = flags === 0 ? undefined : fault("open", path)
    if (error !== undefined) throw error
    return handleOf(await real.open(path, flags, mode), path)
  }
  wrapped["default"] = wrapped
  return wrapped as typeof fs
}

const handleOf = (handle: fs.FileHandle, path: string): fs.FileHandle =>
  new Proxy(handle, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== "function") return value
      const call = value.bind(target) as (...all: ReadonlyArray<unknown>) => Promise<unknown>
      if (key === "write") {
        return async (bytes: Uint8Array | string, ...rest: ReadonlyArray<unknown>) => {
          const error = fault("write", path)
          if (error === undefined) return call(bytes, ...rest)
          // A disk that fills up takes a part.
          if (typeof bytes !== "string") await call(bytes, 0, Math.floor(bytes.length / 2), 0)
          throw error
        }
      }
      if (typeof key !== "string" || !changingHandle.has(key)) return call
      return async (...all: ReadonlyArray<unknown>) => {
        const error = fault(key, path)
        if (error === undefined) return call(...all)
        if (key === "writeFile" && all[0] instanceof Uint8Array) {
          await call(all[0].subarray(0, Math.floor(all[0].length / 2)))
        }
        throw error
      }
    }
  })
