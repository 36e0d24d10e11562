import js from "@eslint/js"
import tseslint from "typescript-eslint"

/*
 * The rules that hold the design. Each has a planted violation in .ci/lint.test.ts that it must catch. No
 * comment in a file can switch a rule off: exceptions are made here, where they are visible.
 */

const src = (name) => `packages/${name}/src/**/*.ts`
const published = ["core", "oauth", "storage", "providers", "mcp", "cli"]

/** What each package may import, besides its own files. Arrows point down only. */
const arrows = {
  core: ["effect/*", "@noble/hashes/*"],
  oauth: ["effect/*", "node:*", "@latchkey/core/*", "@effect/platform/*", "oauth4webapi"],
  storage: [
    "effect/*",
    "node:*",
    "@latchkey/core/*",
    "@effect/platform/*",
    "@effect/experimental/Reactivity",
    "@effect/sql/*",
    "@effect/sql-pg/*",
    "@napi-rs/keyring",
    "fs-native-extensions",
    "ioredis",
    "libsql/promise",
    "pg"
  ],
  providers: [
    "effect/*",
    "node:*",
    "@latchkey/core/*",
    "@latchkey/oauth/*",
    "@latchkey/storage/*",
    "@effect/platform/*",
    "smol-toml"
  ],
  mcp: [
    "effect/*",
    "@latchkey/core/*",
    "@latchkey/oauth/*",
    "@effect/platform/*",
    "@modelcontextprotocol/client",
    "oauth4webapi"
  ],
  cli: [
    "effect/*",
    "node:*",
    "@latchkey/core/*",
    "@latchkey/mcp/*",
    "@latchkey/oauth/*",
    "@latchkey/providers/*",
    "@latchkey/storage/*",
    "@effect/cli/*",
    "@effect/platform/*",
    "@effect/platform-node/*",
    "@modelcontextprotocol/client",
    "@modelcontextprotocol/server/stdio"
  ]
}

/** The modules that only compute: plain data in, plain data out. */
const pure = [
  ...["AuthStatus", "Credentials", "Decision", "Entry", "Fingerprint", "GrantIdentity", "RotationPolicy"],
  ...["Snapshot", "grant/BackOff", "grant/Decision", "grant/Describe", "grant/Expiry"],
  ...["internal/EntrySchema", "internal/ResponseFields"]
]
/** Those of the MCP package, which know the records and checks of the OAuth wire too. */
const pureOfMcp = [
  ...["Binding", "Discovery", "Registration", "Scopes"],
  ...["deviceGrant", "event", "need", "reason", "recovery", "refusals", "sdkRequest"].map(
    (name) => `internal/${name}`
  )
]
const pureImports = [
  ...[
    "Array",
    "Brand",
    "Data",
    "Duration",
    "Either",
    "Equal",
    "Function",
    "Hash",
    "HashMap",
    "HashSet",
    "Number",
    "Option",
    "Order"
  ],
  ...["ParseResult", "Predicate", "Record", "Redacted", "Schema", "String", "Struct"]
]

const ambientModules = ["timers", "timers/promises", "perf_hooks"]

const allowsImport = (allowed) => (specifier) =>
  allowed.some((pattern) =>
    pattern.endsWith("*") ? specifier.startsWith(pattern.slice(0, -1)) : specifier === pattern
  )

/** Checks every way to name a module: import, export from, import(), require, and import types. */
const imports = {
  meta: { type: "problem", schema: [{ type: "object" }] },
  create: (context) => {
    const { allow, why } = context.options[0]
    const allows = allowsImport(allow)
    const check = (source) => {
      if (source == null) return
      if (typeof source.value !== "string")
        context.report({ node: source, message: "Import by a literal name." })
      else if (!allows(source.value)) {
        context.report({ node: source, message: `"${source.value}" may not be imported here: ${why}.` })
      }
    }
    return {
      ImportDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) => check(node.source ?? node.argument.literal),
      TSExternalModuleReference: (node) => check(node.expression)
    }
  }
}

const latchkey = { rules: { imports } }

const importsOf = (files, allow, why) => ({
  files,
  plugins: { latchkey },
  rules: { "latchkey/imports": ["error", { allow, why }] }
})

/** Wall time and randomness, which no test can control. */
const ambientProperties = [
  { object: "Date", property: "now", message: "Use Clock.currentTimeMillis." },
  { object: "Math", property: "random", message: "Use Random, or Web Crypto for secrets." },
  { property: "unsafeNow", message: "Use DateTime.now or Clock.currentTimeMillis." }
]
const ambientTimers = [
  { object: "AbortSignal", property: "timeout", message: "Use Effect.timeout." },
  { object: "process", property: "hrtime", message: "Use Clock.currentTimeNanos." },
  { object: "process", property: "uptime", message: "Use Clock." }
]
const ambientSyntax = [
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: "Use Clock or DateTime.now."
  },
  { selector: "CallExpression[callee.name='Date']", message: "Use Clock or DateTime.now." },
  ...["callee.name", "callee.property.name"].map((name) => ({
    selector: `CallExpression[${name}=/^mkdir(Sync)?$/] Property[key.name='recursive']`,
    message: "Use PrivateDirectory.make: below /proc, Node's own recursion never ends."
  }))
]
const ambientGlobals = ["setTimeout", "setInterval", "setImmediate", "performance"].map((name) => ({
  name,
  message: "Use Clock, Effect.sleep or Schedule."
}))

const escapes = [
  {
    selector: ":matches(TSAsExpression, TSTypeAssertion) > TSAnyKeyword",
    message: "A cast to any hides what the compiler would say."
  },
  {
    selector:
      ":matches(TSAsExpression, TSTypeAssertion) > :matches(TSAsExpression, TSTypeAssertion) > TSUnknownKeyword",
    message: "A cast through unknown hides what the compiler would say."
  },
  {
    selector: "UnaryExpression[operator='+'] > :matches(Literal, TemplateLiteral)",
    message: "A plus before a text makes it a number: NaN in a message that spans lines."
  }
]

const namespaces = [
  {
    selector:
      "ImportDeclaration[source.value=/^effect\\u002F(?!Function$)/] > :not(ImportNamespaceSpecifier, Literal)",
    message: 'Write import * as X from "effect/X" (effect/Function alone is taken by name).'
  },
  {
    selector: "ImportDeclaration[source.value=/^(effect|@effect\\u002F[^\\u002F]+)$/]",
    message: "No barrel in src: import the module itself."
  }
]

const ports = [
  {
    selector:
      "ObjectExpression > SpreadElement[argument.name=/^(inner|underlying|storage|lease|refresher)$/]",
    message: "A decorator over a port lists its members: a spread would pass on what is added later."
  },
  {
    selector: "CallExpression[callee.property.name='of'] > ObjectExpression > SpreadElement",
    message: "A service lists its members: a spread would pass on what is added later."
  }
]

const runs = "(it|test|describe|suite)"
const idleTests = [
  {
    selector: `MemberExpression[property.name=/^(only|skip|todo|fails)$/]:matches([object.name=/^${runs}$/], [object.object.name=/^${runs}$/])`,
    message: "A test runs, or is removed."
  },
  {
    selector: "CallExpression[callee.name=/^(expect|assert)$/][arguments.length=1] > Literal[value=true]",
    message: "This cannot fail."
  }
]

export default tseslint.config(
  {
    ignores: [
      "**/dist/",
      ".edition/",
      "packages/docs/site/",
      "packages/docs/.vitepress/{cache,.temp}/",
      ".changeset/",
      "coverage/",
      "reports/",
      "**/.stryker-tmp/"
    ]
  },
  js.configs.recommended,
  tseslint.configs.recommended,
  {
    linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/ban-ts-comment": [
        "error",
        { "ts-check": false, "ts-expect-error": true, "ts-ignore": true, "ts-nocheck": true }
      ],
      "@typescript-eslint/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
      "@typescript-eslint/no-empty-object-type": ["error", { allowInterfaces: "with-single-extends" }],
      // The compiler's own noUnusedLocals and noUnusedParameters find more.
      "@typescript-eslint/no-unused-vars": "off",
      // A generator that only fails or succeeds is still an effect.
      "require-yield": "off",
      "no-restricted-syntax": ["error", ...escapes],
      eqeqeq: ["error", "always", { null: "ignore" }]
    }
  },
  {
    files: [".ci/*.mjs", "packages/cli/bin/*.js", "packages/cli/build.mjs", "packages/docs/**/*.mjs"],
    languageOptions: {
      globals: {
        Buffer: false,
        console: false,
        performance: false,
        process: false,
        URL: false,
        URLSearchParams: false
      }
    }
  },
  {
    files: ["packages/docs/.vitepress/theme/*.js"],
    languageOptions: {
      globals: { clearTimeout: false, IntersectionObserver: false, matchMedia: false, setTimeout: false }
    }
  },
  {
    files: ["packages/*/src/**/*.ts", "examples/*/src/**/*.ts"],
    rules: {
      "no-restricted-properties": ["error", ...ambientProperties],
      "no-restricted-syntax": ["error", ...escapes, ...ambientSyntax]
    }
  },
  {
    files: published.map(src),
    rules: {
      "no-console": "error",
      "no-restricted-globals": ["error", { globals: ambientGlobals, checkGlobalObject: true }],
      "no-restricted-properties": ["error", ...ambientProperties, ...ambientTimers],
      "no-restricted-imports": [
        "error",
        {
          paths: ambientModules
            .flatMap((name) => [name, `node:${name}`])
            .map((name) => ({ name, message: "Use Clock, Effect.sleep or Schedule." }))
        }
      ],
      "no-restricted-syntax": ["error", ...escapes, ...ambientSyntax, ...namespaces, ...ports]
    }
  },
  ...published.map((name) =>
    importsOf([src(name)], [...arrows[name], "./*", "../*"], `${name} may import ${arrows[name].join(", ")}`)
  ),
  importsOf(
    pure.filter((name) => !name.startsWith("grant/")).map((name) => `packages/core/src/${name}.ts`),
    [
      ...pureImports.map((name) => `effect/${name}`),
      "@noble/hashes/*",
      // Reads what a decoder reports, which each edition of Effect shapes differently.
      "./edition/Problems.js",
      ...pure.flatMap((name) => [`./${name}.js`, `./${name.replace("internal/", "")}.js`])
    ],
    "this module is pure and imports only data modules and other pure modules"
  ),
  importsOf(
    pureOfMcp.map((name) => `packages/mcp/src/${name}.ts`),
    [
      ...pureImports.map((name) => `effect/${name}`),
      ...["core/Credentials", "core/GrantIdentity"].map((name) => `@latchkey/${name}`),
      ...["Challenge", "ClientAuth", "Endpoint", "LoginError", "Server"].map(
        (name) => `@latchkey/oauth/${name}`
      ),
      "../McpError.js",
      ...pureOfMcp.flatMap((name) => [
        `./${name}.js`,
        `../${name}.js`,
        `./${name.replace("internal/", "")}.js`
      ])
    ],
    "this module is pure and imports only data modules and other pure modules"
  ),
  importsOf(
    ["packages/core/src/grant/*.ts"],
    [
      ...pureImports.map((name) => `effect/${name}`),
      ...pure.map((name) => `../${name}.js`),
      // Records and the result types of the ports.
      ...["TokenEvent", "TokenRefresher", "TokenStorage", "TokenStorages", "RefreshLease"].map(
        (name) => `../${name}.js`
      ),
      "./*"
    ],
    "the machine is pure and imports only data modules and records"
  ),
  {
    // The one place that starts a timer, and only for the clock that would start the same one.
    files: ["packages/core/src/TimeLimit.ts"],
    rules: {
      "no-restricted-globals": [
        "error",
        { globals: ambientGlobals.filter(({ name }) => name !== "setTimeout"), checkGlobalObject: true }
      ]
    }
  },
  {
    // Takes what fast-check's own types take.
    files: ["tools/edition/modules/core/test/support/Properties.ts"],
    rules: { "@typescript-eslint/no-explicit-any": "off" }
  },
  {
    // Effect's `pipeArguments` takes an `arguments` object.
    files: ["tools/edition/modules/oauth/src/edition/Http.ts"],
    rules: { "prefer-rest-params": "off" }
  },
  {
    files: ["**/*.test.ts", "packages/*/test/**/*.ts"],
    rules: {
      // Here it is an assertion: it fails if code compiles that must not.
      "@typescript-eslint/ban-ts-comment": [
        "error",
        { "ts-expect-error": "allow-with-description", "ts-ignore": true, "ts-nocheck": true }
      ],
      "no-restricted-syntax": ["error", ...escapes, ...idleTests]
    }
  }
)
