/*
 * npm run check:imports: no circular imports, type-only ones included, and packages import only from those
 * below them.
 */
const packages = ["core", "oauth", "storage", "providers", "mcp", "cli", "bench"]
/** What a package may import from, in addition to itself. */
const below = {
  core: [],
  oauth: ["core"],
  storage: ["core"],
  providers: ["core", "oauth", "storage"],
  mcp: ["core", "oauth"]
}

const isNotBelow = (name) => ({
  name: `${name}-imports-from-below`,
  severity: "error",
  from: { path: `^packages/${name}/src/` },
  to: {
    path: `^packages/(${packages.filter((other) => other !== name && !below[name].includes(other)).join("|")})/`
  }
})

export default {
  forbidden: [
    { name: "no-circular-imports", severity: "error", from: {}, to: { circular: true } },
    ...Object.keys(below).map(isNotBelow)
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/dist/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@latchkey/source", "import", "types", "default"]
    }
  }
}
