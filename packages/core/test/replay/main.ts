/**
 * `npm run -s replay -- FILE…`: one JSON line; exit 1 on any mismatch, 2 where a file cannot be read, which is
 * told in one line by file, line and field. Nothing is printed then that would be taken for the whole.
 */
import { replayFiles } from "./ReplayFiles.js"

const { code, err, out } = await replayFiles(process.argv.slice(2))
if (out !== undefined) process.stdout.write(out)
if (err !== undefined) process.stderr.write(err)
process.exitCode = code
