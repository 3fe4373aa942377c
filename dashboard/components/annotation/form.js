// The structured answer: the choices, the marked row and the label that they form.
// Keys: letters choose phenomenon and association; digits answer the marked row and mark the next open one; down leaves a row blank, up returns,
// C marks the confidence, as does an association, because the confidence is the last row.
const SURE = "confidence", PHENOMENON = "phenomenon";

// British English has no comma before the last of several.
const OR = new Intl.ListFormat("en-GB", { type: "disjunction" });
const KEYS = (lexicon) => [[lexicon.categories.map((one) => one.key).join(" "), "choose the phenomenon (again: remove it); 0 nothing, U unsure; + adds another one"], ["1 – 9", "answer the marked row and mark the next open one; the same digit again clears it"],
  ["↓ ↑", "leave the marked row blank and continue; return"], ...(lexicon.associations.length ? [[lexicon.associations.map((one) => one.key).join(" "), `association: ${lexicon.associations.map((one) => one.name).join(", ")}; then the confidence is marked`]] : []),
  ["C", "mark the confidence, then 1, 2 or 3"], ["Enter", "save and go to the next unit"], ["⌫", "previous unit"], ["Tab, arrows", "to the patches; Space pins one, H highlight on or off"], ["Z W L R", "image: zoom, window, level (Shift reverses), reset (or double click)"], ["Esc", "unpin the patch, close this"]];

class Form {
  constructor(root, lexicon, changed) {
    this.node = root.querySelector(".form"); this.pop = root.querySelector(".pop"); this.lexicon = lexicon; this.changed = changed;
    this.kinds = new Map(lexicon.categories.map((kind) => [kind.name, kind]));
    this.clear();
  }

  clear() { this.set({ recognisable: null, phenomena: [], confidence: null, words: "", label: null }); }

  set(answer) {
    this.recognisable = answer.recognisable; this.phenomena = structuredClone(answer.phenomena); this.confidence = answer.confidence; this.words = answer.words || "";
    this.label = answer.label !== null && answer.label !== this.printed() ? answer.label : null;   // null: the label that the choices form
    this.at = Math.max(0, this.phenomena.length - 1); this.benign = false; this.popped = null; this.wrong = null;
    this.mark = this.unanswered();
    this.draw();
  }

  // The answer in the form that the server validates and stores.
  answer() {
    const recognised = this.recognisable === "yes";
    return { recognisable: this.recognisable, phenomena: recognised ? this.phenomena : [], confidence: this.confidence, words: this.words,
      label: recognised ? (this.label ?? this.printed()) : "" };
  }

  empty() { return this.recognisable === null && !this.words && this.confidence === null; }
  current() { return this.phenomena[this.at]; }
  kind() { return this.current() && this.kinds.get(this.current().category); }

  phrase(phenomenon) {
    const kind = this.kinds.get(phenomenon.category);
    const words = { before: [], noun: [], with: [], after: [] };
    for (const field of kind.fields) for (const term of [...field.terms, ...field.benign])
      if (phenomenon.terms[field.name] === term.name && !term.opens) words[field.place].push(term.printed);
    let text = [...words.before, ...(words.noun.length ? words.noun : [kind.noun])].join(" ");
    if (words.with.length) text += " with " + words.with.join(" and ");
    for (const part of words.after) text += ", " + part;
    return phenomenon.association ? text + ", " + phenomenon.association : text;
  }

  printed() {
    const text = this.phenomena.map((phenomenon) => this.phrase(phenomenon)).join("; ");
    return text.slice(0, 1).toUpperCase() + text.slice(1);
  }

  // The rows that digits answer, from top to bottom: the displayed fields of this phenomenon, then the confidence.
  rows() {
    const kind = this.recognisable === "yes" && !this.adding ? this.kind() : null;
    return [...(kind ? kind.fields.filter((field) => !field.optional).map((field) => field.name) : []), ...(this.recognisable ? [SURE] : [])];
  }

  // The first row from `from` on without an answer, or the confidence.
  unanswered(from = 0) {
    const terms = this.recognisable === "yes" ? this.current()?.terms ?? {} : {};
    return this.rows().slice(from).find((name) => name === SURE || !terms[name]) ?? null;
  }

  open() { return this.kind()?.fields.find((field) => field.name === this.mark) ?? null; }

  to(row) { if (this.rows().includes(row)) { this.mark = row; this.benign = false; this.draw(); } }

  step(by) {
    const rows = this.rows();
    this.to(rows[Math.min(rows.length - 1, Math.max(0, rows.indexOf(this.mark) + by))]);
  }

  // The first missing row with a message, or null if the answer is complete.
  missing() {
    if (this.adding) return [PHENOMENON, "Choose the additional phenomenon, or press + again to take it back."];
    if (this.recognisable === null) return [PHENOMENON, "Choose a phenomenon, or Nothing, or Unsure."];
    const at = this.recognisable === "yes" ? this.phenomena.findIndex((one) => this.kinds.get(one.category).association === "required" && !one.association) : -1;
    if (at >= 0) {
      this.at = at;
      const noun = this.kinds.get(this.phenomena[at].category).noun;
      return ["association", `Choose the association of the ${noun}: ${OR.format(this.lexicon.associations.map((one) => `${one.key} ${one.name}`))}.`];
    }
    if (this.recognisable === "yes" && this.confidence === null) return [SURE, "Choose your confidence: press C, then 1, 2 or 3."];
    return null;
  }

  // Highlight the missing row in red, scroll to it and direct the keys to it.
  fault(row) {
    this.wrong = row; this.mark = row === SURE ? SURE : this.mark;
    this.draw();
    this.node.querySelector(".wrong + .o, .wrong + * .o")?.focus({ preventScroll: true });
  }

  touch() { this.wrong = null; this.draw(); this.changed(); }

  choose(name) {
    const same = this.recognisable === "yes" && this.current()?.category === name;
    this.recognisable = "yes"; this.label = null; this.benign = false;
    if (same) {
      this.phenomena.splice(this.at, 1); this.at = Math.max(0, this.phenomena.length - 1);
      if (!this.phenomena.length) this.recognisable = null;
    } else if (this.adding || !this.phenomena.length) {
      this.phenomena.push({ category: name, terms: {}, association: null }); this.at = this.phenomena.length - 1;
    } else this.phenomena[this.at] = { category: name, terms: {}, association: null };
    this.adding = false; this.mark = this.unanswered(); this.touch();
  }

  reject(reason) {
    this.recognisable = this.recognisable === reason ? (this.phenomena.length ? "yes" : null) : reason; this.adding = false; this.label = null;
    this.mark = this.unanswered(); this.touch();
  }

  // Ask for another phenomenon, or cancel that question.
  add() {
    if (this.adding) { this.adding = false; this.mark = this.marked; this.touch(); return; }
    if (this.recognisable === "yes" && this.phenomena.length < this.lexicon.most) { this.adding = true; this.benign = false; this.marked = this.mark; this.mark = null; this.draw(); }
  }

  pick(field, term) {
    if (term.opens) { this.mark = field.name; this.benign = !this.benign; this.draw(); return; }
    const terms = this.current().terms;
    if (terms[field.name] === term.name) { delete terms[field.name]; this.mark = field.optional ? this.mark : field.name; }
    else { terms[field.name] = term.name; if (!field.optional) this.mark = this.unanswered(this.rows().indexOf(field.name) + 1); }
    this.benign = false; this.label = null; this.touch();
  }

  associate(name) {
    const kind = this.kind();
    if (this.recognisable !== "yes" || !kind || kind.association === "none") return;
    this.current().association = this.current().association === name ? null : name; this.label = null; this.benign = false; this.mark = SURE; this.touch();
  }

  sure(value) { this.confidence = value; this.mark = SURE; this.touch(); }

  digit(key) {
    const field = this.open();
    if (this.mark === SURE) { if ("123".includes(key)) this.sure(Number(key)); return; }
    const term = field && (this.benign && field.benign.length ? field.benign : field.terms).find((one) => one.key === key);
    if (term) this.pick(field, term);
  }

  // Handle a key by name and return whether the form uses it.
  key(key) {
    const upper = key.toUpperCase();
    const kind = this.lexicon.categories.find((one) => one.key === upper);
    const association = this.lexicon.associations.find((one) => one.key === upper);
    if (kind) this.choose(kind.name);
    else if (association) this.associate(association.name);
    else if (upper === "U") this.reject("unsure");
    else if (key === "0") this.reject("nothing");
    else if (key === "+") this.add();
    else if (upper === "C") this.to(SURE);
    else if (key === "ArrowDown") this.step(1);
    else if (key === "ArrowUp") this.step(-1);
    else if (/^[1-9]$/.test(key)) this.digit(key);
    else return false;
    return true;
  }

  button(title, key, pressed, click, disabled = false) {
    const button = createNode("button", { type: "button", class: title.length > 14 ? "o long" : "o", disabled }, title, key ? createNode("kbd", { textContent: key }) : null);
    button.setAttribute("aria-pressed", String(pressed)); button.onclick = () => { click(); this.refocus(title); };
    return button;
  }

  // A click redraws the rows: restore the focus of keyboard users.
  refocus(title) {
    if (this.node.getRootNode().activeElement) return;
    [...this.node.querySelectorAll(".o"), ...this.pop.querySelectorAll(".o")].find((one) => one.firstChild.textContent === title)?.focus({ preventScroll: true });
  }

  // A row's name; the marked row lists its keys, the missing one is red.
  lab(text, row = null, keys = "") {
    const open = row !== null && row === this.mark;
    const node = createNode("div", { class: "lab" + (open ? " open" : "") + (row !== null && row === this.wrong ? " wrong" : "") }, text, open && keys ? createNode("small", { textContent: keys }) : null);
    if (row && this.rows().includes(row)) node.onclick = () => this.to(row);
    return node;
  }

  row(field, open) {
    const chosen = this.current().terms[field.name];
    const benign = field.benign.find((term) => term.name === chosen);
    const terms = this.benign && open ? field.benign : field.terms;
    return createNode("div", { class: "o5" }, ...terms.map((term) => this.button(term.opens && benign ? benign.title : term.title, term.key,
      term.opens ? Boolean(benign) : chosen === term.name, () => this.pick(field, term))));
  }

  phenomena_row() {
    const none = this.recognisable !== "yes" || this.adding;
    const buttons = this.lexicon.categories.map((kind) => this.button(kind.title, kind.key, !none && this.current()?.category === kind.name, () => this.choose(kind.name)));
    buttons.push(this.button("Nothing", "0", this.recognisable === "nothing", () => this.reject("nothing")),
      this.button("Unsure", "U", this.recognisable === "unsure", () => this.reject("unsure")));
    const tabs = this.phenomena.map((_, i) => {
      const tab = createNode("button", { type: "button", textContent: String(i + 1), "aria-label": "phenomenon " + (i + 1), "aria-pressed": String(!this.adding && i === this.at) });
      tab.onclick = () => { this.at = i; this.adding = false; this.draw(); };
      return tab;
    });
    if (this.adding) tabs.push(createNode("button", { type: "button", textContent: String(tabs.length + 1), "aria-pressed": "true" }));
    const label = createNode("div", { class: "lab" + (this.wrong === PHENOMENON ? " wrong" : "") }, "Phenomenon", tabs.length > 1 ? createNode("div", { class: "tabs" }, ...tabs) : null);
    return [label, createNode("div", { class: "o5" }, ...buttons)];
  }

  draw() {
    const kind = this.adding || this.recognisable !== "yes" ? null : this.kind();
    if (!this.rows().includes(this.mark)) this.mark = this.unanswered();
    const open = this.adding ? null : this.open();
    const fields = kind ? kind.fields.filter((field) => !field.optional) : [];
    const shown = this.benign ? fields.filter((field) => field.benign.length) : fields;
    const rows = [...this.phenomena_row()];
    for (const field of shown) {
      const most = this.benign && open === field ? field.benign.length : field.terms.length;
      rows.push(this.lab(field.title, field.name, `1–${most}, ↓ blank`), this.row(field, open === field));
    }
    const associable = kind && kind.association !== "none";
    const three = this.lexicon.associations.map((one) => this.button(one.title, one.key, Boolean(associable) && this.current().association === one.name,
      () => this.associate(one.name), !associable));
    const sure = ["low", "mid", "high"].map((text, i) => {
      const button = createNode("button", { type: "button", class: "o" }, createNode("b", { textContent: String(i + 1) }), text);
      button.setAttribute("aria-pressed", String(this.confidence === i + 1)); button.onclick = () => this.sure(i + 1);
      return button;
    });
    const confident = createNode("div", { class: "conf" }, this.lab("Confidence ", SURE), ...sure);
    confident.firstElementChild.append(createNode("kbd", { textContent: "C" }));
    if (three.length) rows.push(this.lab("Association", "association"), createNode("div", { class: "split" }, createNode("div", { class: "o3" }, ...three), confident));
    else rows.push(createNode("div"), confident);
    rows.push(this.lab("Printed label"), this.own());
    this.node.classList.toggle("tight", shown.length > 1 || shown.some((field) => (this.benign ? field.benign : field.terms).length > 5));
    this.node.replaceChildren(...rows);
    this.details();
  }

  own() {
    if (this.field && this.field.getRootNode().activeElement === this.field) return this.field;
    this.field = createNode("input", { type: "text", class: "own", maxLength: 2000, "aria-label": "Printed label, editable", disabled: this.recognisable !== "yes",
      placeholder: this.recognisable === "yes" ? "" : "No label is printed", value: this.recognisable === "yes" ? (this.label ?? this.printed()) : "" });
    this.field.oninput = () => { this.label = this.field.value; this.changed(); };
    return this.field;
  }

  // The optional questions, the free text or the list of keys, above the foot.
  details() {
    if (this.popped === "details" && !this.kind()?.fields.some((field) => field.optional)) this.popped = null;
    this.pop.hidden = !this.popped;
    if (this.popped === "details") {
      this.pop.replaceChildren(...this.kind().fields.filter((field) => field.optional).flatMap((field) => [this.lab(field.title), createNode("div", { class: "o5" },
        ...field.terms.map((term) => this.button(term.title, "", this.current().terms[field.name] === term.name, () => this.pick(field, term))))]));
    } else if (this.popped === "words" && !this.pop.querySelector("textarea")) {
      const area = createNode("textarea", { value: this.words, maxLength: 2000, "aria-label": "Own words", placeholder: "Anything that the form does not cover" });
      area.oninput = () => { this.words = area.value; this.changed(); };
      this.pop.replaceChildren(this.lab("Own words"), area);
      area.focus();
    }
    else if (this.popped === "keys") this.pop.replaceChildren(createNode("dl", {}, ...KEYS(this.lexicon).flatMap(([key, text]) => [createNode("dt", {}, createNode("kbd", { textContent: key })), createNode("dd", { textContent: text })])));
    if (this.popped !== "words") this.pop.querySelector("textarea")?.remove();
  }

  unfold(what) { this.popped = this.popped === what ? null : what; this.details(); }
}
