import { createServer } from "node:http";
import { existsSync } from "node:fs";
import pad from "left-pad";

createServer((request, response) => {
  const modules = existsSync("/app/node_modules") ? "there" : "bundled";
  response.end(`<h1>${pad("node", 8, "-")}</h1> modules are ${modules}, user ${process.getuid()}\n`);
}).listen(3000);
