import { Node, SyntaxKind } from "ts-morph"
import type { Edit, Rule } from "../Edit.js"

/** `HttpRouter.HttpRouter<E, R>` → the layer of its routes, and what a router provides. */
export const routerTypes: Rule = {
  name: "http: router types",
  kinds: [SyntaxKind.TypeReference],
  apply: (node, edit) => {
    if (!Node.isTypeReference(node)) return
    const name = node.getTypeName()
    const [error, services] = node.getTypeArguments()
    if (/^HttpRouter\.HttpRouter\.ExcludeProvided$/.test(name.getText()) && error !== undefined) {
      edit.replace(name, "Exclude")
      return edit.after(error, ", HttpRouter.Provided")
    }
    if (!Node.isQualifiedName(name) || edit.moduleOf(name.getLeft()) !== "HttpRouter") return
    if (name.getRight().getText() !== "HttpRouter" || error === undefined || services === undefined) return
    edit.before(
      node,
      `${edit.use("Layer")}.Layer<never, never, HttpRouter.HttpRouter | HttpRouter.Request.From<"Requires", `
    )
    edit.change(node.getStart(), services.getStart(), "")
    const fails = error.getText() !== "never"
    edit.after(node, fails ? ` | HttpRouter.Request.From<"Error", ${error.getText()}>>` : ">")
  }
}

/** `HttpRouter.empty.pipe(HttpRouter.get(path, handler), …)` → `Layer.mergeAll(HttpRouter.add("GET", path, handler), …)`. */
export const routers: Rule = {
  name: "http: routers",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    if (!Node.isCallExpression(node)) return
    const callee = node.getExpression()
    const call = edit.callOf(node)
    if (call?.module === "HttpRouter" && /^(?:get|post)$/.test(call.name)) {
      edit.replace(callee, "HttpRouter.add")
      const [path] = node.getArguments()
      if (path !== undefined) edit.before(path, `"${call.name.toUpperCase()}", `)
    }
    if (!Node.isPropertyAccessExpression(callee) || callee.getName() !== "pipe") return
    if (!isEmptyRouter(callee.getExpression(), edit)) return
    edit.replace(callee, `${edit.use("Layer")}.mergeAll`)
    // A route `/a/*` is one of `/a` too.
    const all = node.getArguments()
    const paths = all.map((each) =>
      Node.isCallExpression(each) ? each.getArguments()[0]?.getText() : undefined
    )
    all.forEach((each, at) => {
      const next = all[at + 1]
      const isOneOf = paths[at]?.endsWith('"') === true && paths.includes(paths[at].replace(/"$/, '/*"'))
      if (next !== undefined && isOneOf) {
        edit.change(each.getStart(), next.getStart(), "")
      }
    })
  }
}

const isEmptyRouter = (node: Node, edit: Edit): boolean =>
  Node.isPropertyAccessExpression(node) &&
  node.getName() === "empty" &&
  edit.moduleOf(node.getExpression()) === "HttpRouter"

/** `Effect.makeSpan(name, { captureStackTrace: false, … })`: none is captured there. */
export const spans: Rule = {
  name: "http: spans",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Effect" || !/^(make|use)Span$/.test(call.name) || !Node.isCallExpression(node))
      return
    const options = node.getArguments()[1]
    if (!Node.isObjectLiteralExpression(options)) return
    const all = options.getProperties()
    const at = all.findIndex(
      (each) => Node.isPropertyAssignment(each) && each.getName() === "captureStackTrace"
    )
    const property = all[at]
    if (property === undefined) return
    edit.change(property.getStart(), all[at + 1]?.getStart() ?? property.getEnd(), "")
  }
}
