// Puts what the browser pages need into a directory: files of npm packages, own sources, licences, and a manifest.
//
//     node build.mjs OUT VERSION INPUTS
//
// hatch_build.py calls it in a copy of this directory, after `npm ci`. The same inputs give the same bytes.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const [out, version, inputs] = process.argv.slice(2);

const PACKAGES = {
  "swagger-ui-dist": ["swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css"],
};
const TYPES = { ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain" };
const LICENSE = /^(licen[cs]e|notice|copying)/i;

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const described = (bytes) => ({ size: bytes.length, sha256: sha256(bytes) });

function write(name, bytes) {
  const path = join(out, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return described(bytes);
}

function gzip(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 255; // the operating system, which would differ between machines
  return packed;
}

function brotli(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params });
}

function asset(name, bytes, origin) {
  return {
    name,
    type: TYPES[extname(name)] ?? "text/plain",
    ...origin,
    ...write(name, bytes),
    encodings: { br: write(`${name}.br`, brotli(bytes)), gzip: write(`${name}.gz`, gzip(bytes)) },
  };
}

const assets = [];
const packages = [];
for (const [name, files] of Object.entries(PACKAGES)) {
  const root = join("node_modules", name);
  const declared = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const origin = { package: name, version: declared.version, license: declared.license };
  const licenses = readdirSync(root).filter((file) => LICENSE.test(file)).sort();
  if (licenses.length === 0) throw new Error(`${name} has no licence file`);
  for (const file of files) assets.push(asset(file, readFileSync(join(root, file)), origin));
  for (const file of licenses) {
    assets.push(asset(`licenses/${name}/${file}`, readFileSync(join(root, file)), origin));
  }
  packages.push({ name, version: declared.version, license: declared.license });
}

const pages = {};
for (const file of readdirSync("src").sort()) {
  const bytes = readFileSync(join("src", file));
  if (extname(file) === ".html") pages[file] = write(file, bytes);
  else assets.push(asset(file, bytes, { package: "servey", version, license: "MIT" }));
}

// part of every asset's address, so that a browser may keep it for ever
const id = sha256(...assets.map(({ name, sha256 }) => `${name} ${sha256}\n`)).slice(0, 16);
write("manifest.json", Buffer.from(`${JSON.stringify({ inputs, id, packages, pages, assets }, null, 1)}\n`));
