// Style sheets that scripts make, without the `<style>` elements that the page's Content-Security-Policy forbids.
//
// Monaco and React's libraries make such elements. They are given one that holds a constructed sheet instead, which is
// the same to them, and to the browser no inline style. It has to be loaded before they are.

// graphiql.css, which draws Monaco's icons, does not reach into the shadow root of its menu
const icons = new CSSStyleSheet();
icons.replaceSync('.codicon-menu-submenu::before { content: "›" !important; }');

class Sheet extends HTMLElement {
  sheet = new CSSStyleSheet();
  #text = "";
  #root = document;

  connectedCallback() {
    this.#root = this.getRootNode();
    const sheets = this.#root.adoptedStyleSheets;
    sheets.push(this.sheet);
    if (this.#root !== document && !sheets.includes(icons)) sheets.push(icons);
  }

  disconnectedCallback() {
    this.#root.adoptedStyleSheets = this.#root.adoptedStyleSheets.filter((other) => other !== this.sheet);
  }

  get textContent() {
    return this.#text;
  }

  set textContent(text) {
    this.#text = text;
    this.sheet.replaceSync(text);
  }

  get innerText() {
    return this.#text;
  }

  set innerText(text) {
    this.textContent = text;
  }

  appendChild(node) {
    this.textContent = this.#text + node.textContent;
    return node;
  }
}

customElements.define("made-sheet", Sheet);

const create = document.createElement;
document.createElement = function createElement(name, ...rest) {
  return create.call(this, String(name).toLowerCase() === "style" ? "made-sheet" : name, ...rest);
};
