// Monaco in the colours of the pages (page.css).

import * as monaco from "monaco-graphql/esm/monaco-editor.js"; // GraphiQL imports it later, and without its style

const CLEAR = "#ffffff00";

function define(name, base, { back, line, text, link, mark, quiet }) {
  const colours = {
    "editor.background": CLEAR,
    "scrollbar.shadow": CLEAR,
    "editorLineNumber.foreground": quiet,
    "editorLineNumber.activeForeground": text,
    focusBorder: link,
    "input.background": CLEAR,
    "input.border": line,
    "inputOption.activeBorder": link,
    highlight: link,
    "highlighted.label": link,
    "quickInput.widget": link,
    "pickerGroup.foreground": link,
    "editorWidget.resizeBorder": link,
    "editorWidget.border": line,
    "editorHoverWidget.border": line,
    "editorSuggestWidget.border": line,
    "menu.border": line,
    "menu.selectionForeground": text,
    "quickInputList.focusForeground": text,
    "editorSuggestWidget.selectedForeground": text,
  };
  const kinds = {
    [back]: ["editorWidget", "editorHoverWidget", "editorSuggestWidget", "menu", "quickInput"].map((of) => `${of}.background`),
    [mark]: [
      "list.hoverBackground",
      "editorSuggestWidget.selectedBackground",
      "quickInputList.focusBackground",
      "toolbar.hoverBackground",
      "inputOption.hoverBackground",
      "menu.selectionBackground",
    ],
    [link]: [
      "textLink.foreground",
      "textLink.activeForeground",
      "editorLink.activeForeground",
      "list.highlightForeground",
      "list.focusHighlightForeground",
      "editorSuggestWidget.highlightForeground",
      "editorSuggestWidget.focusHighlightForeground",
    ],
  };
  for (const [colour, names] of Object.entries(kinds)) for (const named of names) colours[named] = colour;
  monaco.editor.defineTheme(name, { base, inherit: true, colors: colours, rules: [] });
  return name;
}

export const colours = {
  light: define("servey-light", "vs", {
    back: "#ffffff",
    line: "#d9dde3",
    text: "#1c2430",
    quiet: "#8a94a3",
    link: "#1d4ed8",
    mark: "#eef4ff",
  }),
  dark: define("servey-dark", "vs-dark", {
    back: "#262b2e",
    line: "#434b4f",
    text: "#e4e6e6",
    quiet: "#7c868b",
    link: "#7db7ff",
    mark: "#1f3350",
  }),
};
