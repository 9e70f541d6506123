// Says what the public parser of AsyncAPI finds in the document on standard input: a line for each error, then "valid".
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
for (const { severity, path, message } of diagnostics) {
  if (severity <= 1) console.log(`${path.join(".")}: ${message}`);
}
console.log(document ? "valid" : "not valid");
