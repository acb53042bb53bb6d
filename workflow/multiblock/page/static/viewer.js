// The viewer: two pictures of an image, before and after, under one view.

const MODES = { slider: "Slider", side: "Side by side", one: "One picture" };

class Viewer {
  constructor(root, data) {
    this.root = root;
    this.cuts = data.cuts;
    this.view = new View();
    this.mode = "slider";
    this.split = 0.5;
    this.errors = false;
    this.pictures = [];
    this.draw = onceAFrame(() => this.drawNow());
    this.build();
    this.listen();
  }

  // -- What it is made of ---------------------------------------------------------------------------------------------

  build() {
    const choice = (label, control) => element("label", { class: "choice" }, element("span", {}, label), control);
    this.imageSelect = element("select", { "aria-label": "image", onchange: () => this.open(this.imageSelect.selectedIndex) });
    this.imageSelect.append(...this.cuts.map((cut, n) => element("option", { value: n }, cut.title)));
    this.selects = ["a", "b"].map((side) =>
      element("select", { "aria-label": `picture ${side.toUpperCase()}`, onchange: (e) => this.choose(side, e.target.selectedIndex) }),
    );
    this.modes = element("fieldset", { class: "segments" }, element("legend", { class: "hidden" }, "how to compare"));
    for (const [mode, title] of Object.entries(MODES)) {
      const radio = element("input", { type: "radio", name: "mode", value: mode, checked: mode === this.mode, onchange: () => this.setMode(mode) });
      this.modes.append(element("label", {}, radio, element("span", {}, title)));
    }
    this.errorBox = element("input", { type: "checkbox", onchange: () => this.setErrors(this.errorBox.checked) });
    const errors = element("label", { class: "check" }, this.errorBox, element("span", {}, `error ×${ERROR_FACTOR}`));
    this.errorLabel = errors;
    this.places = element("div", { class: "buttons" });
    const button = (text, title, act) => element("button", { type: "button", title, onclick: act }, text);
    const zooms = element(
      "div",
      { class: "buttons", role: "group", "aria-label": "zoom" },
      button("−", "zoom out (−)", () => this.zoom(1 / Math.SQRT2)),
      button("+", "zoom in (+)", () => this.zoom(Math.SQRT2)),
      button("1:1", "an image pixel is a screen pixel (1:1)", () => this.zoomTo(1)),
      button("fit", "the whole picture (f)", () => this.fit()),
    );
    this.help = this.keyHelp();
    const help = button("?", "keys", () => this.help.showModal());
    this.range = element("input", {
      type: "range", min: 0, max: 200, step: 1, value: 100, class: "divide", "aria-label": "divider between A and B",
      oninput: () => this.setSplit(this.range.value / 200),
    });
    this.frames = ["a", "b"].map((side) => this.frame(side));
    this.stage = element("div", { class: "stage" }, ...this.frames.map((frame) => frame.box));
    this.status = element("p", { class: "status", role: "status" });
    this.list = element("tbody");
    this.note = element("p", { class: "note" });
    const head = ["key", "picture", "PSNR of what is seen", "over the first"];
    this.table = element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "pictures" },
      element("table", { class: "pictures" }, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))), this.list),
    );
    this.root.append(
      element("div", { class: "controls" }, choice("image", this.imageSelect), choice("A", this.selects[0]), choice("B", this.selects[1])),
      element("div", { class: "controls" }, this.modes, this.places, errors, zooms, element("div", { class: "buttons" }, help)),
      this.stage,
      this.range,
      this.status,
      this.table,
      this.note,
      this.help,
    );
  }

  frame(side) {
    const canvas = element("canvas", { tabindex: 0, role: "img", class: "picture" });
    const tag = element("span", { class: `tag ${side}` });
    const box = element("div", { class: "frame" }, canvas, tag);
    const frame = { side, canvas, tag, box, context: canvas.getContext("2d") };
    if (side === "a") {
      frame.second = element("span", { class: "tag b" });
      frame.divider = element("div", { class: "divider" }, element("span", { class: "grip" }));
      box.append(frame.second, frame.divider);
    }
    return frame;
  }

  keyHelp() {
    const keys = [
      ["1 … 9", "picture B is that of the list, in place"],
      ["0", "picture B is the target, or the last one"],
      ["x", "swap A and B"],
      ["m", "slider, side by side, one picture"],
      ["g, l", "the largest gain, the largest loss"],
      ["e", `errors: how far from the target, ×${ERROR_FACTOR}`],
      ["+, −", "zoom"],
      ["f", "the whole picture"],
      ["arrows", "move, where the picture has the focus; move the divider, where that has it"],
      ["[, ]", "image before, image after"],
      ["?", "this list"],
    ];
    const rows = keys.map(([key, what]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, what)));
    const about =
      "Keys work while the pointer is over the viewer or something in it has the focus. The wheel zooms once the picture " +
      "was clicked, or with Ctrl; two fingers zoom; drag to move.";
    return element(
      "dialog",
      { class: "keys", "aria-label": "keys" },
      element("table", {}, element("tbody", {}, ...rows)),
      element("p", {}, about),
      element("form", { method: "dialog" }, element("button", {}, "close")),
    );
  }

  // -- What is shown --------------------------------------------------------------------------------------------------

  async open(number) {
    const cut = this.cuts[number];
    this.opening = number;
    const pictures = await Promise.all(cut.pictures.map(decoded));
    if (this.opening !== number) return; // another one was asked for since
    this.cut = cut;
    this.pictures = pictures;
    this.imageSelect.selectedIndex = number;
    this.view.image = { width: cut.width, height: cut.height };
    if (this.labels !== pictures.map((picture) => picture.label).join("\n")) this.relabel(cut);
    this.errorLabel.hidden = cut.target === null;
    this.listPlaces();
    this.listPictures();
    this.resize();
    if (cut.places.length) this.view.show(cut.places[0]);
    else this.view.fit();
    this.drawNow();
  }

  relabel(cut) {
    this.labels = this.pictures.map((picture) => picture.label).join("\n");
    for (const select of this.selects) {
      select.replaceChildren(...this.pictures.map((picture, n) => element("option", { value: n }, this.numbered(n))));
    }
    this.a = cut.before;
    this.b = cut.after;
    this.markChosen();
  }

  numbered(n) {
    return n < 9 ? `${n + 1}  ${this.pictures[n].label}` : this.pictures[n].label;
  }

  listPlaces() {
    const size = (place) => `${place.width} × ${place.height} pixels`;
    const change = (place) => (place.change === null ? "" : ` ${signed(place.change, 2)} dB`);
    this.places.replaceChildren(
      ...this.cut.places.map((place) =>
        element(
          "button",
          { type: "button", title: `window of ${size(place)} at (${place.x + this.cut.x}, ${place.y + this.cut.y})`, onclick: () => this.goTo(place) },
          `${place.what}${change(place)}`,
        ),
      ),
    );
  }

  listPictures() {
    const cell = (name, ...children) => element("td", name ? { class: name } : {}, ...children);
    this.rows = this.pictures.map((picture, n) => {
      const name = element("button", { type: "button", onclick: () => this.choose("b", n) }, picture.label);
      const row = element("tr", {}, cell("key", n < 9 ? `${n + 1}` : ""), cell("", name), cell("number"), cell("number"));
      return { row, name, psnr: row.cells[2], over: row.cells[3] };
    });
    this.list.replaceChildren(...this.rows.map((entry) => entry.row));
    this.markChosen();
  }

  markChosen() {
    this.selects[0].selectedIndex = this.a;
    this.selects[1].selectedIndex = this.b;
    (this.rows || []).forEach((entry, n) => {
      entry.row.classList.toggle("is-a", n === this.a && this.mode !== "one");
      entry.row.classList.toggle("is-b", n === this.b);
      entry.name.setAttribute("aria-pressed", n === this.b);
    });
  }

  // -- What can be done -----------------------------------------------------------------------------------------------

  choose(side, n) {
    if (n < 0 || n >= this.pictures.length) return;
    this[side] = n;
    this.markChosen();
    this.draw();
  }

  swap() {
    [this.a, this.b] = [this.b, this.a];
    this.markChosen();
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    for (const radio of this.modes.querySelectorAll("input")) radio.checked = radio.value === mode;
    const middle = { x: this.view.x, y: this.view.y, zoom: this.view.zoom, fitted: this.view.isFitted };
    this.resize();
    Object.assign(this.view, { x: middle.x, y: middle.y, zoom: middle.zoom });
    if (middle.fitted) this.view.fit();
    this.view.settle();
    this.markChosen();
    this.draw();
  }

  setErrors(shown) {
    this.errors = shown && this.cut.target !== null;
    this.errorBox.checked = this.errors;
    this.draw();
  }

  setSplit(split) {
    this.split = between(split, 0, 1);
    this.range.value = Math.round(this.split * 200);
    this.draw();
  }

  zoom(factor, at) {
    this.view.zoomBy(factor, at);
    this.draw();
  }

  zoomTo(zoom) {
    this.zoom(zoom / (window.devicePixelRatio || 1) / this.view.zoom);
  }

  fit() {
    this.view.fit();
    this.draw();
  }

  goTo(place) {
    this.view.show(place);
    this.draw();
  }

  step(by) {
    this.open((this.imageSelect.selectedIndex + by + this.cuts.length) % this.cuts.length);
  }

  // -- Drawing --------------------------------------------------------------------------------------------------------

  resize() {
    const room = this.root.clientWidth;
    const beside = this.mode === "side" && room >= 640;
    const width = Math.floor(beside ? (room - 8) / 2 : room);
    const tall = Math.min(window.innerHeight * (this.mode === "side" && !beside ? 0.4 : 0.66), 720);
    const height = Math.round(between((width * this.view.image.height) / this.view.image.width, 160, Math.max(tall, 200)));
    const ratio = window.devicePixelRatio || 1;
    this.stage.classList.toggle("beside", beside);
    this.frames[1].box.hidden = this.mode !== "side";
    for (const { canvas } of this.frames) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    this.view.frame = { width, height };
  }

  drawNow() {
    if (!this.pictures.length) return;
    const [first, second] = this.frames;
    const ratio = window.devicePixelRatio || 1;
    const { width } = this.view.frame;
    const sides = { slider: [["a", 0, this.split * width], ["b", this.split * width, width]], side: [["a", 0, width]], one: [["b", 0, width]] };
    this.paint(first, sides[this.mode], ratio);
    if (this.mode === "side") this.paint(second, [["b", 0, width]], ratio);
    this.label();
    const isSlider = this.mode === "slider";
    this.range.hidden = !isSlider;
    first.divider.hidden = !isSlider;
    first.divider.style.left = `${this.split * width}px`;
    for (const { canvas } of this.frames) canvas.style.touchAction = this.view.isFitted ? "pan-y" : "none";
    this.measure();
  }

  paint({ context }, parts, ratio) {
    const { width, height } = this.view.frame;
    const { zoom } = this.view;
    const corner = this.view.corner(ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = zoom * ratio < 1;
    context.imageSmoothingQuality = "high";
    for (const [side, from, to] of parts) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.drawImage(this.source(this[side]), corner.x, corner.y, this.view.image.width * zoom, this.view.image.height * zoom);
      context.restore();
    }
  }

  source(n) {
    const picture = this.pictures[n];
    if (!this.errors) return picture.canvas;
    picture.error ||= errorOf(picture, this.pictures[this.cut.target]);
    return picture.error;
  }

  label() {
    const [first, second] = this.frames;
    const text = (side) => `${side.toUpperCase()}: ${this.pictures[this[side]].label}${this.errors ? `, error ×${ERROR_FACTOR}` : ""}`;
    first.tag.textContent = this.mode === "one" ? text("b").slice(3) : text("a");
    first.second.textContent = text("b");
    first.second.hidden = this.mode !== "slider";
    second.tag.textContent = text("b");
    first.canvas.setAttribute("aria-label", this.mode === "slider" ? `${text("a")}; ${text("b")}` : first.tag.textContent);
    second.canvas.setAttribute("aria-label", text("b"));
  }

  measure() {
    const { area } = this.view;
    const { cut } = this;
    const size = `${area.right - area.left} × ${area.bottom - area.top}`;
    const place = `(${area.left + cut.x}, ${area.top + cut.y})`;
    const seen = `Seen: ${size} pixels at ${place} of ${cut.whole[0]} × ${cut.whole[1]}, ×${Number(this.view.zoom.toPrecision(2))}`;
    if (cut.target === null) {
      this.status.textContent = seen;
      this.table.hidden = true;
      return;
    }
    if (!this.pictures.every((picture) => picture.exact)) {
      this.status.textContent = `${seen}. This browser changes pixels that are read back, so no PSNR of them is given.`;
      return;
    }
    const target = this.pictures[cut.target];
    const values = this.pictures.map((picture) => psnr(picture, target, area));
    const decibels = (value) => (Number.isFinite(value) ? `${value.toFixed(2)} dB` : "identical");
    const difference = (value, from) => (Number.isFinite(value - from) ? `${signed(value - from, 2)} dB` : "");
    values.forEach((value, n) => {
      this.rows[n].psnr.textContent = n === cut.target ? "" : decibels(value);
      this.rows[n].over.textContent = n === 0 || n === cut.target ? "" : difference(value, values[0]);
    });
    const apart = difference(values[this.b], values[this.a]);
    const both = `A ${decibels(values[this.a])}, B ${decibels(values[this.b])}${apart ? `, B − A ${apart}` : ""}`;
    this.status.textContent = `${seen}. ${both}`;
  }

  // -- Pointer, wheel, keys -------------------------------------------------------------------------------------------

  listen() {
    for (const { canvas } of this.frames) {
      canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
      new Gestures(canvas, this);
    }
    this.root.addEventListener("pointerenter", () => (this.hovered = true));
    this.root.addEventListener("pointerleave", () => (this.hovered = false));
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(
      onceAFrame(() => {
        if (!this.cut || this.width === this.root.clientWidth) return;
        this.width = this.root.clientWidth;
        this.setMode(this.mode);
      }),
    ).observe(this.root);
  }

  wheel(event, canvas) {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), { x: event.offsetX, y: event.offsetY });
  }

  key(event) {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open || !this.pictures.length) return;
    const inside = this.root.contains(target);
    if ((!inside && !this.hovered) || ["SELECT", "TEXTAREA"].includes(target.tagName)) return;
    const isPicture = target.classList.contains("picture");
    const act = this.actions(isPicture)[event.key];
    const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : null;
    if (digit !== null) this.choose("b", digit === 0 ? (this.cut.target ?? this.pictures.length - 1) : digit - 1);
    else if (act) act();
    else return;
    event.preventDefault();
  }

  actions(isPicture) {
    const modes = Object.keys(MODES);
    const places = this.cut.places;
    const actions = {
      x: () => this.swap(),
      m: () => this.setMode(modes[(modes.indexOf(this.mode) + 1) % modes.length]),
      e: () => this.setErrors(!this.errors),
      f: () => this.fit(),
      g: () => places.length && this.goTo(places[0]),
      l: () => places.length && this.goTo(places[places.length - 1]),
      "+": () => this.zoom(Math.SQRT2),
      "=": () => this.zoom(Math.SQRT2),
      "-": () => this.zoom(1 / Math.SQRT2),
      "[": () => this.step(-1),
      "]": () => this.step(1),
      "?": () => this.help.showModal(),
    };
    const far = 48;
    const moves = {
      ArrowLeft: () => this.move(far, 0),
      ArrowRight: () => this.move(-far, 0),
      ArrowUp: () => this.move(0, far),
      ArrowDown: () => this.move(0, -far),
    };
    return isPicture ? { ...actions, ...moves } : actions;
  }

  move(right, down) {
    this.view.pan(right, down);
    this.draw();
  }
}

// Drag to move or to shift the divider, two fingers to zoom.
class Gestures {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    this.points = new Map();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.points.delete(event.pointerId));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    const point = this.at(event);
    const { viewer } = this;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.points.set(event.pointerId, point);
    const reach = event.pointerType === "touch" ? 32 : 16;
    this.divides = viewer.mode === "slider" && Math.abs(point.x - viewer.split * viewer.view.frame.width) < reach;
  }

  moved(event) {
    const before = this.points.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const { viewer } = this;
    if (this.points.size === 2) this.pinch(event.pointerId, before, now);
    else if (this.divides) viewer.setSplit(now.x / viewer.view.frame.width);
    else viewer.move(now.x - before.x, now.y - before.y);
    this.points.set(event.pointerId, now);
  }

  pinch(moving, before, now) {
    const [other] = [...this.points].filter(([id]) => id !== moving).map(([, point]) => point);
    const far = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    this.viewer.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.viewer.zoom(far(now) / far(before), middle);
  }
}
