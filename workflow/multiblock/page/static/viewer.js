// The viewer: two pictures of an image, before and after, under one view.

class Viewer {
  constructor(root, data) {
    this.root = root;
    this.cuts = data.cuts;
    this.view = new View();
    this.mode = data.mode || "slider";
    this.split = 0.5;
    this.errors = false;
    this.pictures = [];
    this.draw = onceAFrame(() => this.drawNow());
    Object.assign(this, controlsOf(this));
    this.listen();
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
    if (!place) {
      this.status.textContent = "No largest gain or loss is marked in this picture.";
      return;
    }
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

  // -- Pointer and wheel -------------------------------------------------------------------------------------------

  listen() {
    for (const { canvas } of this.frames) {
      canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
      new Gestures(canvas, this);
    }
    this.root.addEventListener("pointerenter", () => (this.hovered = true));
    this.root.addEventListener("pointerleave", () => (this.hovered = false));
    document.addEventListener("keydown", (event) => onKey(this, event));
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

  move(right, down) {
    this.view.pan(right, down);
    this.draw();
  }
}

// Which part of an image is seen: the point in the middle, and how many CSS pixels an image pixel takes.

const MOST_ZOOM = 64;

class View {
  constructor() {
    this.image = { width: 1, height: 1 };
    this.frame = { width: 1, height: 1 };
    this.x = 0.5;
    this.y = 0.5;
    this.zoom = 1;
  }

  get fitting() {
    return Math.min(this.frame.width / this.image.width, this.frame.height / this.image.height);
  }

  get isFitted() {
    return this.zoom <= this.fitting * 1.001;
  }

  fit() {
    this.zoom = this.fitting;
    this.settle();
  }

  // A place of the image fills the frame.
  show(place) {
    const room = Math.min(this.frame.width / place.width, this.frame.height / place.height);
    this.x = place.x + place.width / 2;
    this.y = place.y + place.height / 2;
    this.zoom = between(room, this.fitting, MOST_ZOOM);
    this.settle();
  }

  // Zoom by a factor; what is under the point (in CSS pixels of the frame) stays where it is.
  zoomBy(factor, at = { x: this.frame.width / 2, y: this.frame.height / 2 }) {
    const before = this.at(at);
    this.zoom = between(this.zoom * factor, this.fitting, Math.max(MOST_ZOOM, this.fitting));
    const after = this.at(at);
    this.x += before.x - after.x;
    this.y += before.y - after.y;
    this.settle();
  }

  // Move by CSS pixels.
  pan(right, down) {
    this.x -= right / this.zoom;
    this.y -= down / this.zoom;
    this.settle();
  }

  // The image point under a point of the frame.
  at(point) {
    return {
      x: this.x + (point.x - this.frame.width / 2) / this.zoom,
      y: this.y + (point.y - this.frame.height / 2) / this.zoom,
    };
  }

  // No part of the frame is left empty that the image could fill.
  settle() {
    this.zoom = Math.max(this.zoom, this.fitting);
    const half = { x: this.frame.width / 2 / this.zoom, y: this.frame.height / 2 / this.zoom };
    this.x = half.x * 2 >= this.image.width ? this.image.width / 2 : between(this.x, half.x, this.image.width - half.x);
    this.y = half.y * 2 >= this.image.height ? this.image.height / 2 : between(this.y, half.y, this.image.height - half.y);
  }

  // Where the image's corner is in the frame, in CSS pixels, on whole device pixels.
  corner(ratio) {
    const round = (value) => Math.round(value * ratio) / ratio;
    return {
      x: round(this.frame.width / 2 - this.x * this.zoom),
      y: round(this.frame.height / 2 - this.y * this.zoom),
    };
  }

  // The image pixels that are seen, at least in part.
  get area() {
    const start = this.at({ x: 0, y: 0 });
    const end = this.at({ x: this.frame.width, y: this.frame.height });
    const tiny = 1e-6;
    return {
      left: between(Math.floor(start.x + tiny), 0, this.image.width - 1),
      top: between(Math.floor(start.y + tiny), 0, this.image.height - 1),
      right: between(Math.ceil(end.x - tiny), 1, this.image.width),
      bottom: between(Math.ceil(end.y - tiny), 1, this.image.height),
    };
  }
}

// Pictures as they are: decoded once, without loss, and their PSNR.

// The factor by which errors are shown.
const ERROR_FACTOR = 8;

// One picture of the page: a canvas to draw from, and its pixels as RGBA bytes.
async function decoded(picture) {
  const image = new Image();
  image.src = picture.src;
  await image.decode();
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return { label: picture.label, canvas, pixels, exact: sumOf(pixels) === picture.sum };
}

// Some browsers change pixels that are read back, against fingerprinting; then no PSNR can be trusted.
function sumOf(pixels) {
  let sum = 0;
  for (let at = 0; at < pixels.length; at += 4) sum += pixels[at] + pixels[at + 1] + pixels[at + 2];
  return sum;
}

// PSNR in dB of a rectangle of two pictures, all three channels together; infinite where they are equal.
function psnr(one, other, area) {
  const width = one.canvas.width;
  let total = 0;
  for (let y = area.top; y < area.bottom; y += 1) {
    const end = 4 * (y * width + area.right);
    for (let at = 4 * (y * width + area.left); at < end; at += 4) {
      const red = one.pixels[at] - other.pixels[at];
      const green = one.pixels[at + 1] - other.pixels[at + 1];
      const blue = one.pixels[at + 2] - other.pixels[at + 2];
      total += red * red + green * green + blue * blue;
    }
  }
  const values = 3 * (area.right - area.left) * (area.bottom - area.top);
  return total === 0 ? Infinity : 10 * Math.log10((255 * 255 * values) / total);
}

// How far a picture is from its target, so many times as strong.
function errorOf(picture, target) {
  const { width, height } = picture.canvas;
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const shown = context.createImageData(width, height);
  for (let at = 0; at < shown.data.length; at += 1) {
    const isAlpha = at % 4 === 3;
    shown.data[at] = isAlpha ? 255 : ERROR_FACTOR * Math.abs(picture.pixels[at] - target.pixels[at]);
  }
  context.putImageData(shown, 0, 0);
  return canvas;
}
