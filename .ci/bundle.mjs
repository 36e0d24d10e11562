/*
 * Writes the JavaScript of the library packages into dist, in few files: Node takes longer to find a file than to run
 * it, so a program starts faster. The declarations beside it are from `tsc -b`. `npm run build` and check:exports run
 * this. The edition for Effect 4 passes the folder of its packages.
 */
import { transform } from "esbuild"
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { rollup } from "rollup"
import ts from "typescript"

const packages = resolve(process.argv[2] ?? join(import.meta.dirname, "../packages"))

/** The modules of each package that most programs load. All that they import becomes one file, internal/main.js. */
const mains = {
  core: ["TokenManager", "internal-api"],
  oauth: ["RefreshToken"],
  storage: ["File"],
  providers: ["ProviderManager"],
  mcp: ["McpAuth"]
}

/** Marks the calls that a module makes while it loads. Without a mark, a bundler keeps all of such a file. */
const withMarks = (source) => {
  const places = []
  const visit = (node) => {
    if (ts.isFunctionLike(node)) return
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) places.push(node.getStart())
    ts.forEachChild(node, visit)
  }
  const { statements } = ts.createSourceFile("module.ts", source, ts.ScriptTarget.ES2022, true)
  for (const statement of statements) if (!ts.isExpressionStatement(statement)) visit(statement)
  const parts = [0, ...places.sort((a, b) => a - b)]
  return parts.map((place, index) => source.slice(place, parts[index + 1])).join("/*#__PURE__*/")
}

const typescript = {
  name: "typescript",
  resolveId: (id, from) =>
    from !== undefined && id.startsWith(".") ? join(dirname(from), id.replace(/\.js$/, ".ts")) : undefined,
  transform: (source, sourcefile) =>
    transform(withMarks(source), {
      loader: "ts",
      sourcemap: "external",
      sourcefile,
      tsconfigRaw: { compilerOptions: { target: "ES2022", verbatimModuleSyntax: true } }
    })
}

const bundle = async (name) => {
  const [dist, src] = ["dist", "src"].map((folder) => join(packages, name, folder))
  const { exports } = JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"))
  const fileOf = (module) => join(src, `${module}.ts`)

  // What an earlier build wrote goes, except the declarations of modules that exist.
  mkdirSync(dist, { recursive: true })
  for (const file of readdirSync(dist, { recursive: true })) {
    const declared = /^(.*)\.d\.ts(?:\.map)?$/.exec(file)?.[1]
    const isWanted = declared !== undefined && existsSync(fileOf(declared))
    if (/\.(?:js|ts|map)$/.test(file) && !isWanted) rmSync(join(dist, file))
  }

  const opened = [...readdirSync(src), "testing/index.ts"]
    .filter((file) => file.endsWith(".ts") && existsSync(join(src, file)))
    .map((file) => file.slice(0, -3))
    .filter((module) => exports[`./${module}`] !== null)
  const built = await rollup({
    input: Object.fromEntries(opened.map((module) => [module, fileOf(module)])),
    // The index exports the other files as they are.
    external: (id, from) => from === fileOf("index") || !/^[./]/.test(id),
    plugins: [typescript],
    treeshake: { moduleSideEffects: false }
  })
  const main = new Set()
  const collect = (id, getModuleInfo) => {
    const { importedIds, isExternal } = getModuleInfo(id)
    if (isExternal || main.has(id)) return
    main.add(id)
    for (const imported of importedIds) collect(imported, getModuleInfo)
  }
  await built.write({
    dir: dist,
    chunkFileNames: "internal/[name].js",
    hoistTransitiveImports: false,
    minifyInternalExports: false,
    sourcemap: true,
    sourcemapExcludeSources: true,
    manualChunks: (id, { getModuleInfo }) => {
      if (main.size === 0) for (const module of mains[name]) collect(fileOf(module), getModuleInfo)
      return main.has(id) ? "main" : undefined
    }
  })
  await built.close()
}

for (const name of Object.keys(mains)) await bundle(name)
