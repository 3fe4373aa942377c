// Further questions, one at a time: number keys choose an option, Enter ends a text, Esc goes back.
const LONGEST_TEXT = 2000;
const TEXT_DRAFT = "dm-draft-questions";

// Texts that are typed and not yet saved stay in this browser, with the token of the answer that they belong to.
function loadTexts(token) {
  try {
    const draft = JSON.parse(localStorage.getItem(TEXT_DRAFT));
    return draft?.token === token ? draft.texts : [];
  } catch { return []; }      // a browser without storage has no draft
}

function storeTexts(token, texts) {
  try { localStorage.setItem(TEXT_DRAFT, JSON.stringify({ token, texts })); return true; } catch { return false; }
}

// What the server shows next has another token: the answer of the draft is stored, or can no longer be given.
function removeTextsOfOthers(token) {
  if (!loadTexts(token).length) { try { localStorage.removeItem(TEXT_DRAFT); } catch { /* a browser without storage has no draft */ } }
}

class QuestionForm {
  // show(0) opens it, once the node is on the page. questions: text, kind and options; token: of the answer; onDone: called with one answer a question; onBack: called by Esc at the first one (or null).
  constructor(questions, token, onDone, onBack) {
    this.questions = questions; this.token = token; this.onDone = onDone; this.onBack = onBack;
    this.answers = loadTexts(token).map((text) => text ?? undefined); this.busy = false;
    this.node = createNode("div", { class: "form", role: "group", "aria-label": "Questions" });
  }

  show(i) {
    this.i = i; this.shownAt = performance.now();
    const { text, kind, options } = this.questions[i];
    const head = createNode("p", { class: "q" }, text, createNode("span", { class: "mute t13", textContent: ` ${i + 1} of ${this.questions.length}` }));
    const hints = [kind === "text" ? "Enter saves, Shift and Enter starts a line; it may stay empty." : "Press 1 to " + options.length + "."];
    if (i > 0 || this.onBack) hints.push("Esc goes back.");
    this.node.replaceChildren(head, kind === "text" ? this.textField() : this.optionButtons(options), createNode("p", { class: "hint", textContent: hints.join(" ") }));
    if (kind === "text") this.node.querySelector("textarea").focus();
    else if (this.node.getRootNode().activeElement?.tagName === "TEXTAREA") this.node.getRootNode().activeElement.blur();
  }

  optionButtons(options) {
    this.buttons = options.map((text, i) => {
      const button = createNode("button", { type: "button" }, createNode("kbd", { textContent: String(i + 1) }), createNode("span", { textContent: text }));
      if (this.answers[this.i] === i + 1) button.setAttribute("aria-pressed", "true");
      button.onclick = (event) => { if (event.detail <= 1) this.take(i + 1); };
      return button;
    });
    return createNode("div", { class: "six options" }, ...this.buttons);
  }

  textField() {
    const field = createNode("textarea", { rows: 3, maxLength: LONGEST_TEXT, value: this.answers[this.i] ?? "" });
    field.setAttribute("aria-label", this.questions[this.i].text);
    field.oninput = () => {
      this.answers[this.i] = field.value;
      const texts = this.questions.map(({ kind }, i) => (kind === "text" ? this.answers[i] ?? null : null));
      if (!storeTexts(this.token, texts)) this.node.querySelector(".hint").textContent = "This browser keeps no draft: the text is lost if the page is closed before Enter.";
    };
    field.onkeydown = (event) => {
      if (event.repeat || event.isComposing) return;
      if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); this.answers[this.i] = field.value; this.back(); }
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); event.stopPropagation(); this.take(field.value); }
    };
    const save = createNode("button", { type: "button", class: "btn pri" }, "Save ", createNode("kbd", { textContent: "⏎" }));
    save.onclick = () => this.take(field.value);
    return createNode("div", { class: "text" }, field, save);
  }

  take(answer) {
    if (this.busy || performance.now() - this.shownAt < DEAD_MS) return;
    this.answers[this.i] = answer;
    if (this.i + 1 < this.questions.length) { this.show(this.i + 1); return; }
    this.busy = true;
    this.node.querySelectorAll("button, textarea").forEach((part) => { part.disabled = true; });
    this.onDone(this.answers.slice(0, this.questions.length));
  }

  back() {
    if (this.busy) return;
    if (this.i > 0) this.show(this.i - 1);
    else this.onBack?.();
  }

  key(event) {
    const value = Number(event.key), { kind, options } = this.questions[this.i];
    if (event.key === "Escape") this.back();
    else if (kind !== "text" && Number.isInteger(value) && value >= 1 && value <= options.length) { event.preventDefault(); this.take(value); }
  }
}
