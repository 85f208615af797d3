// Puts what the browser pages need into a directory: files of npm packages, own sources, what is bundled of both,
// licences, and a manifest.
//
//     node build.mjs OUT VERSION INPUTS
//
// hatch_build.py calls it in a copy of this directory, after `npm ci`. The same inputs give the same bytes.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { promisify } from "node:util";
import zlib from "node:zlib";

import { build } from "esbuild";

const [out, version, inputs] = process.argv.slice(2);
const compress = { brotli: promisify(zlib.brotliCompress), gzip: promisify(zlib.gzip) }; // in several threads

// files that are taken as they are
const PACKAGES = {
  "swagger-ui-dist": ["swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css"],
};
// Sources that end in .mjs are bundled, and so are Monaco's workers; what they share is in chunks of its own.
const ENTRIES = {
  page: "src/graphiql.mjs",
  "editor.worker": "monaco-editor/esm/vs/editor/editor.worker.js",
  "graphql.worker": "monaco-graphql/esm/graphql.worker.js",
  "json.worker": "monaco-editor/esm/vs/language/json/json.worker.js",
};
const ALIASES = {
  "monaco-editor/esm/vs/editor/edcore.main.js": "./src/monaco.mjs",
  "prettier/standalone": "./src/prettier.mjs",
  "prettier/plugins/estree": "./src/prettier.mjs",
  "prettier/parser-babel": "./src/prettier.mjs",
  "prettier/parser-graphql": "prettier/plugins/graphql",
};
// packages that came without their licence, and one of the same repository that has it
const LICENSED_AS = {
  "@graphiql/plugin-doc-explorer": "graphiql",
  "@graphiql/plugin-history": "graphiql",
  "react-compiler-runtime": "react",
  "react-remove-scroll-bar": "react-remove-scroll", // of the same author
};
const TYPES = { ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain" };
const LICENSE = /^(licen[cs]e|notice|copying|third-?party)/i;

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const described = (bytes) => ({ size: bytes.length, sha256: sha256(bytes) });
const sorted = (texts) => [...new Set(texts)].sort();

function write(name, bytes) {
  const path = join(out, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return described(bytes);
}

async function gzip(bytes) {
  const packed = await compress.gzip(bytes, { level: 9 });
  packed[9] = 255; // the operating system, which would differ between machines
  return packed;
}

function brotli(bytes) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = zlib.constants;
  return compress.brotli(bytes, { params: { [BROTLI_PARAM_QUALITY]: 11, [BROTLI_PARAM_SIZE_HINT]: bytes.length } });
}

async function asset(name, bytes, origin) {
  const [br, gz] = await Promise.all([brotli(bytes), gzip(bytes)]);
  return {
    name,
    type: TYPES[extname(name)] ?? "text/plain",
    ...origin,
    ...write(name, bytes),
    encodings: { br: write(`${name}.br`, br), gzip: write(`${name}.gz`, gz) },
  };
}

const assets = []; // promises of them, in the order of the manifest
const packages = new Map();

// Takes a package into the manifest, with its licences; returns what its assets say of it.
function take(root) {
  const name = root.slice(root.lastIndexOf("node_modules/") + "node_modules/".length);
  const declared = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const origin = { package: name, version: declared.version, license: declared.license };
  if (packages.has(root)) return origin;
  packages.set(root, { name, version: declared.version, license: declared.license });
  const own = (at) => (existsSync(at) ? readdirSync(at).filter((file) => LICENSE.test(file)).sort() : []);
  let from = root;
  if (own(root).length === 0) from = join("node_modules", LICENSED_AS[name] ?? "");
  const files = own(from);
  if (files.length === 0) throw new Error(`${name} has no licence file`);
  const nested = root.lastIndexOf("node_modules/") > 0;
  for (const file of files) {
    const target = `licenses/${name}${nested ? `@${declared.version}` : ""}/${file.replace(/\.md$/i, ".txt")}`;
    assets.push(asset(target, readFileSync(join(from, file)), origin));
  }
  return origin;
}

for (const [name, files] of Object.entries(PACKAGES)) {
  const root = join("node_modules", name);
  const origin = take(root);
  for (const file of files) assets.push(asset(file, readFileSync(join(root, file)), origin));
}

// Monaco's font of icons is under a licence of its own (CC BY 4.0): graphiql.css draws the few that appear.
const withoutIcons = {
  name: "without-icons",
  setup(setup) {
    setup.onLoad({ filter: /[/\\]codicon\.css$/ }, () => ({ contents: "", loader: "css" }));
  },
};

const { metafile, outputFiles } = await build({
  entryPoints: ENTRIES,
  alias: ALIASES,
  plugins: [withoutIcons],
  outdir: "bundled",
  write: false,
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  charset: "utf8",
  chunkNames: "[name]-[hash]",
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "linked",
  metafile: true,
  logLevel: "error",
});

const contained = (output) =>
  sorted(
    Object.entries(metafile.outputs[output]?.inputs ?? {})
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([input]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
      .filter(Boolean),
  );
const bundled = Object.fromEntries(outputFiles.map(({ path, contents }) => [`bundled/${basename(path)}`, contents]));
for (const output of Object.keys(bundled).sort()) {
  // the style sheet of each chunk is in that of the page
  if (extname(output) === ".css" && output !== "bundled/page.css") continue;
  const origins = contained(output.replace(/\.LEGAL\.txt$/, "")).map(take);
  const license = sorted(["MIT", ...origins.map((origin) => origin.license)]).join(" AND ");
  const bundles = sorted(origins.map((origin) => origin.package));
  const bytes = Buffer.from(bundled[output]);
  assets.push(asset(`graphiql/${basename(output)}`, bytes, { package: "servey", version, license, bundles }));
}

const pages = {};
for (const file of readdirSync("src").sort()) {
  const bytes = readFileSync(join("src", file));
  if (extname(file) === ".html") pages[file] = write(file, bytes);
  else if (extname(file) !== ".mjs") assets.push(asset(file, bytes, { package: "servey", version, license: "MIT" }));
}

const made = await Promise.all(assets);
// part of every asset's address, so that a browser may keep it for ever
const id = sha256(...made.map(({ name, sha256 }) => `${name} ${sha256}\n`)).slice(0, 16);
const listed = { inputs, id, packages: [...packages.values()], pages, assets: made };
write("manifest.json", Buffer.from(`${JSON.stringify(listed, null, 1)}\n`));
