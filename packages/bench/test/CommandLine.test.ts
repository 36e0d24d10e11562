import { afterEach, describe, expect, it, vi } from "vitest"
import { commandLine } from "../src/CommandLine.js"

const usage = "usage: npm run x -- NAME [--n N]\n"
const options = { n: { type: "string" } } as const

/** What it prints and ends with, or what it gives back. */
const called = (...args: ReadonlyArray<string>) => {
  vi.spyOn(process, "argv", "get").mockReturnValue(["node", "x", ...args])
  const printed = { out: "", err: "" }
  vi.spyOn(process.stdout, "write").mockImplementation((text) => ((printed.out += String(text)), true))
  vi.spyOn(process.stderr, "write").mockImplementation((text) => ((printed.err += String(text)), true))
  vi.spyOn(process, "exit").mockImplementation((code) => {
    throw Object.assign(new Error("ended"), { code })
  })
  try {
    const { positionals, values } = commandLine(usage, options)
    return { positionals, values: { ...values } }
  } catch (error) {
    return { ...printed, code: (error as { readonly code?: unknown }).code }
  } finally {
    vi.restoreAllMocks()
  }
}

afterEach(() => void vi.restoreAllMocks())

describe("a command of the repository", () => {
  it("gets its names and options", () => {
    expect(called("kill", "--n", "3")).toEqual({ positionals: ["kill"], values: { n: "3" } })
    expect(called()).toEqual({ positionals: [], values: {} })
  })

  it.each([[["--help"]], [["-h"]], [["kill", "--frob", "--help"]]])("tells its usage: %j", (args) => {
    expect(called(...args)).toEqual({ out: usage, err: "", code: 0 })
  })

  it.each([
    [["--frob"], "Unknown option '--frob'"],
    [["kill", "--n"], "Option '--n <value>' argument missing"],
    [["-x"], "Unknown option '-x'"]
  ])("refuses %j in one line, without a stack", (args, why) => {
    expect(called(...args)).toEqual({ out: "", err: `${why}\n${usage}`, code: 2 })
  })
})
