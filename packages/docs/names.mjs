/*
 * What the reference needs beyond what typedoc reads: a module has the name by which it is imported
 * (@latchkey/core, @latchkey/storage/Postgres), and the head comment of its file is its text.
 */
import { readFileSync } from "node:fs"
import { Comment, Converter, ReflectionKind } from "typedoc"

const name = (path) => {
  const [folder, , ...rest] = path.replace(/\/index$/, "").split("/")
  return ["@latchkey", folder, ...rest].join("/")
}

/** The first comment of a file, if it stands before everything else. */
const headOf = (file) => {
  const found = /^\/\*\*\n([^]*?)\n \*\//.exec(readFileSync(file, "utf8"))
  return found?.[1]
    .split("\n")
    .map((line) => line.replace(/^ \* ?/, ""))
    .filter((line) => !line.startsWith("@"))
    .join("\n")
    .replace(/\{@link ([^}]+)\}/g, "`$1`")
    .trim()
}

const fileOf = (context, reflection) =>
  context
    .getSymbolFromReflection(reflection)
    ?.declarations?.map((declaration) => declaration.getSourceFile().fileName)
    .find((file) => file.includes("/src/") && !file.endsWith("/index.ts"))

export const load = (app) => {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.kindOf(ReflectionKind.Module)) reflection.name = name(reflection.name)
    if (!reflection.kindOf([ReflectionKind.Module, ReflectionKind.Namespace])) return
    const file = fileOf(context, reflection)
    const text = file === undefined ? undefined : headOf(file)
    if (text) reflection.comment = new Comment([{ kind: "text", text }])
  })
}
