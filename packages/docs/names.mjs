/*
 * What the reference needs beyond what typedoc reads: a module has the name by which it is imported
 * (@latchkey/core, @latchkey/storage/Postgres), the head comment of its file is its text, and types have the names
 * that the sources give them.
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

const declarationsOf = (context, reflection) =>
  context.getSymbolFromReflection(reflection)?.declarations ?? []

const fileOf = (context, reflection) =>
  declarationsOf(context, reflection)
    .map((declaration) => declaration.getSourceFile().fileName)
    .find((file) => file.includes("/src/") && !file.endsWith("/index.ts"))

/** The compiler forgets the name of a tagged enum and would list its members, without their tags. */
const nameType = (context, reflection, declaration) => {
  const isOurs = declaration?.getSourceFile().fileName.includes("/src/")
  if (isOurs && declaration.type !== undefined)
    reflection.type = context.converter.convertType(context, declaration.type)
}

/** What a class is made by: `Context` a service's tag, `Schema` and `Data` records and errors. */
const makerOf = (context, reflection) =>
  declarationsOf(context, reflection)
    .flatMap((declaration) => [...(declaration.heritageClauses ?? [])])
    .map((clause) => /^extends (Context|Data|Schema)\./.exec(clause.getText())?.[1])
    .find((maker) => maker !== undefined)

export const load = (app) => {
  /** Nobody calls that of a tag; that of a record takes the properties, which are listed. */
  const constructors = []
  const records = []
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.kindOf(ReflectionKind.Module)) reflection.name = name(reflection.name)
    if (reflection.kindOf(ReflectionKind.Property))
      nameType(context, reflection, declarationsOf(context, reflection)[0])
    if (reflection.kindOf(ReflectionKind.Constructor)) {
      const maker = makerOf(context, reflection.parent)
      if (maker !== undefined) constructors.push(reflection)
      if (maker === "Data" || maker === "Schema") records.push(reflection.parent)
    }
    if (!reflection.kindOf([ReflectionKind.Module, ReflectionKind.Namespace])) return
    const file = fileOf(context, reflection)
    const text = file === undefined ? undefined : headOf(file)
    if (text) reflection.comment = new Comment([{ kind: "text", text }])
  })
  app.converter.on(Converter.EVENT_CREATE_SIGNATURE, nameType)
  app.converter.on(Converter.EVENT_CREATE_PARAMETER, nameType)
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of constructors) project.removeReflection(reflection)
  })
  app.converter.on(Converter.EVENT_END, ({ project }) => {
    for (const record of records) record.typeHierarchy = undefined
    for (const reflection of Object.values(project.reflections)) {
      // Where a member comes from is said only of what is in the reference itself.
      if (reflection.inheritedFrom?.reflection === undefined) reflection.inheritedFrom = undefined
      if (reflection.defaultValue?.startsWith("Schema.")) reflection.defaultValue = undefined
    }
  })
}
