import { applyEdits, format as edits } from "jsonc-parser";
export const parsers = {};
export const printers = {};
export async function format(text, options) {
  if (options.parser === "jsonc") return applyEdits(text, edits(text, undefined, { tabSize: 2, insertSpaces: true }));
  const prettier = await import("prettier/standalone.mjs");
  return prettier.format(text, options);
}
