/**
 * `npm run -s replay -- FILE…`: prints one JSON line. Exits with 1 on any mismatch, and with 2 if a file
 * cannot be read: then it prints one line with the file, line and field, and no partial result.
 */
import { replayFiles } from "./ReplayFiles.js"

const { code, err, out } = await replayFiles(process.argv.slice(2))
if (out !== undefined) process.stdout.write(out)
if (err !== undefined) process.stderr.write(err)
process.exitCode = code
