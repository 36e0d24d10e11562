/** One file during the translation from Effect 3 to Effect 4: its imports, and the edits that rules request. */
import { Node, type SourceFile, type SyntaxKind } from "ts-morph"
import { homes, moved } from "./Names.js"

/** A construct that no rule can translate. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** A translation of one construct. It looks at one node at a time and requests edits. */
export interface Rule {
  readonly name: string
  /** The kinds of nodes that it looks at. */
  readonly kinds: ReadonlyArray<SyntaxKind>
  readonly apply: (node: Node, edit: Edit) => void
}

interface Change {
  readonly start: number
  readonly end: number
  readonly text: string
}

interface Import {
  /** The module in Effect 3. */
  readonly module: string
  /** The local name in Effect 4. */
  readonly as: string
}

const isEffects = (module: string): boolean => /^(effect|@effect\/.*)(\/|$)/.test(module)

export class Edit {
  readonly problems: Array<Problem> = []
  readonly #changes: Array<Change> = []
  /** The namespaces of Effect, by their local names. */
  readonly #imports = new Map<string, Import>()
  /** Local names in Effect 4, and the modules that they stand for. */
  readonly #wanted = new Map<string, string>()

  constructor(readonly file: SourceFile) {
    for (const declaration of file.getImportDeclarations()) {
      const module = declaration.getModuleSpecifierValue()
      if (!isEffects(module)) continue
      const namespace = declaration.getNamespaceImport()
      if (namespace !== undefined) this.#add(namespace.getText(), module)
      if (!isIndex(module)) continue
      for (const named of declaration.getNamedImports()) {
        const local = named.getAliasNode()?.getText() ?? named.getName()
        if (/^[A-Z]/.test(named.getName())) this.#add(local, `${module}/${named.getName()}`)
      }
    }
  }

  #add(local: string, module: string): void {
    const { as, to } = moved(module)
    const own = module.split("/").at(-1) === local
    const wanted = own ? (as ?? local) : local
    const name = wanted !== local && this.#isTaken(wanted) ? `Effect${wanted}` : wanted
    this.#imports.set(local, { module, as: name })
    this.#wanted.set(name, to)
  }

  /** Whether a file uses this name for something else. */
  #isTaken(name: string): boolean {
    return this.file.getLocals().some((symbol) => symbol.getName() === name) && !this.#imports.has(name)
  }

  /** The last part of the name of the Effect 3 module that an expression names. */
  moduleOf(node: Node): string | undefined {
    return Node.isIdentifier(node) ? this.#imports.get(node.getText())?.module.split("/").at(-1) : undefined
  }

  /** The full name of that module. */
  fullModuleOf(node: Node): string | undefined {
    return Node.isIdentifier(node) ? this.#imports.get(node.getText())?.module : undefined
  }

  /** The local name of that module in Effect 4. */
  nameOf(node: Node): string {
    return this.#imports.get(node.getText())?.as ?? node.getText()
  }

  /** Imports a namespace of Effect 4. Returns its name, for use in text. */
  use(name: string, module = homes[name] ?? `effect/${name}`): string {
    const known = this.#wanted.get(name)
    if (known !== undefined && known !== module) this.fail(this.file, `"${name}" is ${known} and ${module}`)
    this.#wanted.set(name, module)
    return name
  }

  /** Returns the function called as `Module.name(…)`, if the node is such a call. */
  callOf(node: Node): { readonly module: string; readonly name: string } | undefined {
    if (!Node.isCallExpression(node)) return undefined
    const callee = node.getExpression()
    if (!Node.isPropertyAccessExpression(callee)) return undefined
    const module = this.moduleOf(callee.getExpression())
    return module === undefined ? undefined : { module, name: callee.getName() }
  }

  replace(node: Node, text: string): void {
    this.change(node.getStart(), node.getEnd(), text)
  }

  before(node: Node, text: string): void {
    this.change(node.getStart(), node.getStart(), text)
  }

  after(node: Node, text: string): void {
    this.change(node.getEnd(), node.getEnd(), text)
  }

  change(start: number, end: number, text: string): void {
    this.#changes.push({ start, end, text })
  }

  fail(node: Node, message: string): void {
    this.problems.push({
      file: this.file.getFilePath(),
      line: Node.isSourceFile(node) ? 1 : node.getStartLineNumber(),
      message
    })
  }

  /** Returns the file with all edits applied. */
  text(): string {
    const source = this.file.getFullText()
    const declarations = this.file.getImportDeclarations()
    const kept = new Map<Node, string>()
    for (const declaration of declarations) {
      const module = declaration.getModuleSpecifierValue()
      if (!isEffects(module)) continue
      kept.set(declaration, this.#named(declaration, module))
    }
    for (const [declaration, text] of kept) {
      this.change(declaration.getStart(), declaration.getEnd() + (text === "" ? 1 : 0), text)
    }
    const first = declarations[0]
    const marker = "/*imports*/"
    if (first !== undefined) this.change(first.getStart(), first.getStart(), marker)
    const body = this.#apply(source)
    const used = [...this.#wanted].filter(([name]) => new RegExp(`(?<![\\w.$])${name}(?=\\s*\\.)`).test(body))
    const lines = used
      .sort(([, a], [, b]) => (a < b ? -1 : 1))
      .map(([name, module]) => `import * as ${name} from "${module}"\n`)
    return first === undefined ? body : body.replace(marker, lines.join(""))
  }

  /** Converts an import of single names. */
  #named(declaration: ReturnType<SourceFile["getImportDeclarations"]>[number], module: string): string {
    const names = declaration.getNamedImports()
    if (names.length === 0) return ""
    if (!isIndex(module)) return declaration.getText().replace(`"${module}"`, `"${moved(module).to}"`)
    if (module === "@effect/vitest") return declaration.getText()
    const functions = names.filter((named) => !/^[A-Z]/.test(named.getName())).map((n) => n.getText())
    return functions.length === 0 ? "" : `import { ${functions.join(", ")} } from "${module}/Function"`
  }

  #apply(source: string): string {
    const changes = this.#changes
      .map((change, index) => ({ ...change, index }))
      .sort((a, b) => a.start - b.start || order(a) - order(b) || b.end - a.end || a.index - b.index)
    let text = ""
    let at = 0
    for (const { end, start, text: replacement } of changes) {
      if (start < at) {
        // Edits inside removed code are dropped with it.
        if (end <= at) continue
        this.problems.push({
          file: this.file.getFilePath(),
          line: this.file.getLineAndColumnAtPos(start).line,
          message: "two rules edit the same text"
        })
        continue
      }
      text += source.slice(at, start) + replacement
      at = end
    }
    return text + source.slice(at)
  }
}

/** An insertion comes before a replacement at the same place. Of several replacements the longest counts. */
const order = ({ end, start }: Change): number => (start === end ? 0 : 1)

const isIndex = (module: string): boolean =>
  /^(effect|@effect\/(platform|platform-node|sql|sql-pg|experimental|vitest))$/.test(module)
