/*
 * What the site needs of the sources beyond what typedoc reads: modules are called as they are imported
 * (@latchkey/core, @latchkey/storage/Postgres), the head comment of a file is the text of its module, and a guide
 * is called by its heading.
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
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const [first] = document.content
    const heading = first?.kind === "text" ? /^# (.+)\n/.exec(first.text) : null
    if (heading === null) return
    document.name = heading[1]
  })
}
