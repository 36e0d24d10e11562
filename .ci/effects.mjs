/*
 * Finds Effects that nothing runs, and everything else that Effect's language service finds, over all sources
 * in one program. Its own command line crashes on more than fifty files of several projects.
 */
import plugin from "@effect/language-service/transform.js"
import ts from "typescript"

const host = {
  ...ts.sys,
  getCanonicalFileName: (file) => file,
  getNewLine: () => "\n",
  onUnRecoverableConfigFileDiagnostic: (problem) => {
    throw new Error(ts.flattenDiagnosticMessageText(problem.messageText, "\n"))
  }
}
const { fileNames, options } = ts.getParsedCommandLineOfConfigFile(".ci/effects.tsconfig.json", {}, host)
const settings = options.plugins.find(({ name }) => name === "@effect/language-service")
const program = ts.createProgram(fileNames, options)

const problems = []
// Tests may fail with a bare Error and similar warnings. Errors count everywhere.
const addDiagnostic = (problem) => {
  if (problem.category === ts.DiagnosticCategory.Error || problem.file.fileName.includes("/src/"))
    problems.push(problem)
}
const inspect = plugin.default(program, settings, { ts, addDiagnostic })()
for (const file of fileNames) inspect(program.getSourceFile(file))

const format = process.stdout.isTTY ? ts.formatDiagnosticsWithColorAndContext : ts.formatDiagnostics
process.stdout.write(format(problems, host))
console.log(`${problems.length} problems in ${fileNames.length} files`)
process.exitCode = problems.length === 0 && fileNames.length > 0 ? 0 : 1
