// Style sheets that scripts make, without the `<style>` elements that the page's Content-Security-Policy forbids.
//
// Monaco and React's libraries make such elements. They are given one that holds a constructed sheet instead, which is
// the same to them, and to the browser no inline style. It has to be loaded before they are.

class Sheet extends HTMLElement {
  sheet = new CSSStyleSheet();
  #text = "";

  connectedCallback() {
    document.adoptedStyleSheets.push(this.sheet);
  }

  disconnectedCallback() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== this.sheet);
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
