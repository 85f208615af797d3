// Who is logged in. The token is kept in this module and nowhere else: a page that is loaded again has forgotten it.

const LONGEST = 2 ** 31 - 1; // milliseconds that a timer can wait

export class Login {
  #address;
  #token = null;
  #timer = 0;
  #changed = () => {};

  constructor(address) {
    this.#address = address;
    this.open = document.getElementById("log-in");
    this.close = document.getElementById("log-out");
    this.user = document.getElementById("user");
    this.dialog = document.getElementById("login");
    this.told = document.getElementById("told");
    this.failed = document.getElementById("login-failed");
    this.send = this.dialog.querySelector("button[type=submit]");
    this.open.hidden = false;
    this.open.addEventListener("click", () => this.#ask());
    this.close.addEventListener("click", () => {
      this.#forget("You have logged out.");
      this.open.focus();
    });
    document.getElementById("cancel").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.form.reset();
      (this.#token === null ? this.open : this.close).focus();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#logIn();
    });
  }

  get form() {
    return this.dialog.querySelector("form");
  }

  // Calls `changed` whenever somebody else is logged in.
  follow(changed) {
    this.#changed = changed;
  }

  // Returns the token of who is logged in, or null.
  get token() {
    return this.#token;
  }

  // Is told that the server has refused a token.
  refused(token) {
    if (token !== null && token === this.#token) this.#forget("The server no longer takes your login. Log in again.");
  }

  #ask() {
    this.failed.textContent = "";
    this.told.textContent = "";
    this.dialog.showModal();
  }

  async #logIn() {
    const given = new FormData(this.form);
    const body = new URLSearchParams({
      grant_type: "password",
      username: given.get("username"),
      password: given.get("password"),
    });
    this.send.disabled = true;
    this.failed.textContent = "";
    try {
      const { token, seconds } = await this.#asked(body);
      this.#token = token;
      clearTimeout(this.#timer);
      if (seconds > 0) {
        const expire = () => this.#forget("Your login has expired. Log in again.");
        this.#timer = setTimeout(expire, Math.min(seconds * 1000, LONGEST));
      }
      this.#show(body.get("username"));
      this.dialog.close();
      this.#changed();
    } catch (error) {
      this.failed.textContent = error.message;
      this.form.elements.password.select();
    } finally {
      this.send.disabled = false;
    }
  }

  async #asked(body) {
    let response;
    try {
      response = await fetch(this.#address, { method: "POST", body, credentials: "same-origin", cache: "no-store" });
    } catch (error) {
      throw new Error("The server did not answer. Is it still running?");
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && typeof answer?.access_token === "string") {
      return { token: answer.access_token, seconds: Number(answer.expires_in) };
    }
    const why = answer?.error_description ?? answer?.detail ?? `the server answered ${response.status}`;
    const wait = response.headers.get("Retry-After");
    throw new Error(`You are not logged in: ${why}.${wait === null ? "" : ` Try again in ${wait} seconds.`}`);
  }

  #forget(why) {
    clearTimeout(this.#timer);
    this.#token = null;
    this.#show(null);
    this.told.textContent = why;
    this.#changed();
  }

  #show(user) {
    this.open.hidden = user !== null;
    this.close.hidden = user === null;
    this.user.hidden = user === null;
    this.user.querySelector("b").textContent = user ?? "";
    this.user.title = user ?? "";
  }
}
