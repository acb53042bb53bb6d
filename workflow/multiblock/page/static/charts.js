// Line charts as inline SVG: what a point is, under the pointer or, with the arrow keys, under the focus.

const COLOURS = 8;

class Chart {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.axis = 0;
    // Names that stay hidden when the page is read anew.
    const kept = (history.state || {})[data.title] || [];
    this.hidden = new Set(data.series.flatMap((of, n) => (kept.includes(of.name) ? [n] : [])));
    this.holder = element("div", { class: "plot" });
    this.tip = element("div", { class: "tip-box", role: "status", hidden: true });
    root.append(this.head(), this.holder);
    new ResizeObserver(
      onceAFrame(() => {
        if (this.width !== this.holder.clientWidth) this.draw();
      }),
    ).observe(this.holder);
    this.draw();
  }

  head() {
    const { xs, series, title } = this.data;
    const row = element("div", { class: "legend" });
    if (xs.length > 1) {
      const axes = element("fieldset", { class: "segments" }, element("legend", { class: "hidden" }, `${title}: against`));
      xs.forEach((x, n) => {
        const name = `axis of ${title}`;
        const radio = element("input", { type: "radio", name, checked: n === 0, onchange: () => this.against(n) });
        axes.append(element("label", {}, radio, element("span", {}, x.label.split(" ")[0])));
      });
      row.append(axes);
    }
    for (const [n, of] of series.entries()) {
      const press = (event) => this.toggle(n, event.currentTarget);
      const mark = element("span", { class: "swatch", style: `background: ${colour(of)}` });
      row.append(element("button", { type: "button", class: "series", "aria-pressed": String(!this.hidden.has(n)), title: "show or hide", onclick: press }, mark, of.name));
    }
    return row;
  }

  against(n) {
    this.axis = n;
    this.draw();
  }

  toggle(n, button) {
    if (!this.hidden.delete(n)) this.hidden.add(n);
    button.setAttribute("aria-pressed", String(!this.hidden.has(n)));
    this.draw();
    history.replaceState({ ...history.state, [this.data.title]: [...this.hidden].map((of) => this.data.series[of].name) }, "");
  }

  // -- Drawing --------------------------------------------------------------------------------------------------------

  draw() {
    this.width = this.holder.clientWidth;
    const width = Math.max(this.width, 240);
    // Names of phases have a strip of their own above the plot, where no curve and no other word is.
    const strip = this.data.marks.length ? 16 : 0;
    const height = (width < 560 ? 254 : 304) + strip;
    this.box = { left: 58, right: width - 12, top: 26 + strip, bottom: height - 42, width, height };
    this.lines = this.data.series.flatMap((of, n) => (this.hidden.has(n) ? [] : of.lines.map((line) => ({ of, ...line }))));
    this.scale();
    this.dot = shape("circle", { r: 4.5, class: "dot", visibility: "hidden" });
    this.svg = shape(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": `${this.data.title}. Arrow keys go from point to point.` },
      ...this.axes(),
      ...this.guides(),
      ...this.lines.flatMap((line) => this.curve(line)),
      this.dot,
    );
    this.svg.addEventListener("pointermove", (event) => this.hover(event));
    this.svg.addEventListener("pointerdown", (event) => this.hover(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.leave());
    this.holder.replaceChildren(this.svg, this.tip);
    this.leave();
  }

  scale() {
    const points = this.lines.flatMap((line) => line.points);
    const { log } = this.data.y;
    const ys = [...points.flatMap((point) => [point.y, ...(point.band || [])]), ...this.data.lines.map((line) => line.y)];
    const flat = log ? ys.map(Math.log10) : ys;
    let [low, high] = ys.length ? [least(flat), -least(flat.map((y) => -y))] : [0, 1];
    const room = (high - low || 1) * 0.06;
    [low, high] = [low - room, high + room];
    const last = points.length ? -least(points.map((point) => -point.x[this.axis])) : 0;
    const most = this.data.xs[this.axis].most || last || 1;
    const { left, right, top, bottom } = this.box;
    this.x = (value) => left + ((right - left) * value) / most;
    this.y = (value) => bottom - ((bottom - top) * ((log ? Math.log10(value) : value) - low)) / (high - low);
    this.ends = { most, low: log ? 10 ** low : low, high: log ? 10 ** high : high };
  }

  axes() {
    const { left, right, bottom, height } = this.box;
    const { most, low, high } = this.ends;
    const parts = [];
    for (const value of this.data.y.log ? logTicks(low, high) : ticks(low, high, 5)) {
      const y = this.y(value);
      parts.push(shape("path", { class: "grid", d: `M${left} ${y}H${right}` }));
      parts.push(shape("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, brief(value)));
    }
    for (const value of ticks(0, most, right - left < 420 ? 3 : 6)) {
      const x = this.x(value);
      const anchor = x > right - 14 ? "end" : "middle";
      parts.push(shape("path", { class: "grid", d: `M${x} ${bottom}v4` }));
      parts.push(shape("text", { x, y: bottom + 17, "text-anchor": anchor }, brief(value)));
    }
    parts.push(shape("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
    parts.push(shape("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, this.data.xs[this.axis].label));
    parts.push(shape("text", { x: 2, y: 12 }, this.data.y.label));
    return parts;
  }

  guides() {
    const { left, right, top, bottom } = this.box;
    const parts = this.data.lines.flatMap((line) => {
      const y = this.y(line.y);
      return [
        shape("path", { class: "level", d: `M${left} ${y}H${right}` }),
        shape("text", { class: "word", x: right, y: y - top < 18 ? y + 14 : y - 5, "text-anchor": "end" }, `${line.label} ${line.y.toFixed(2)}`),
      ];
    });
    let free = 0;
    for (const mark of this.data.marks) {
      const x = this.x(mark.x);
      parts.push(shape("path", { class: "mark", d: `M${x} ${top}V${bottom}` }));
      if (x < free) continue;
      parts.push(shape("text", { class: "word", x: x + 4, y: top - 6 }, mark.label));
      free = x + 54;
    }
    return parts;
  }

  curve(line) {
    const { points } = line;
    const at = (point, y) => `${this.x(point.x[this.axis]).toFixed(1)} ${this.y(y).toFixed(1)}`;
    const stroke = `stroke: ${colour(line.of)}`;
    const parts = [];
    if (points[0].band) {
      const edge = [...points.map((point) => at(point, point.band[1])), ...[...points].reverse().map((point) => at(point, point.band[0]))];
      parts.push(shape("path", { class: "band", style: `fill: ${colour(line.of)}`, d: `M${edge.join("L")}Z` }));
    }
    const path = `M${points.map((point) => at(point, point.y)).join("L")}`;
    parts.push(shape("path", { class: "curve", style: stroke, "stroke-dasharray": line.dash || null, d: path }));
    if (points.length < 40) {
      for (const point of points) {
        const [x, y] = at(point, point.y).split(" ");
        parts.push(shape("circle", { cx: x, cy: y, r: 2, style: `fill: ${colour(line.of)}` }));
      }
    }
    return parts;
  }

  // -- Points ---------------------------------------------------------------------------------------------------------

  hover(event) {
    const box = this.svg.getBoundingClientRect();
    const pointer = { x: event.clientX - box.left, y: event.clientY - box.top };
    let best = null;
    this.lines.forEach((line, l) =>
      line.points.forEach((point, p) => {
        const far = Math.hypot(this.x(point.x[this.axis]) - pointer.x, this.y(point.y) - pointer.y);
        if (!best || far < best.far) best = { far, l, p };
      }),
    );
    if (best) this.point(best.l, best.p);
  }

  key(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") this.leave();
    if (!(event.key in steps) || !this.lines.length) return;
    event.preventDefault();
    const [lines, points] = steps[event.key];
    const now = this.pointed || { l: 0, p: points > 0 ? -1 : 0 };
    const l = (now.l + lines + this.lines.length) % this.lines.length;
    this.point(l, between(now.p + points, 0, this.lines[l].points.length - 1));
  }

  point(l, p) {
    const line = this.lines[l];
    const point = line.points[p];
    const [x, y] = [this.x(point.x[this.axis]), this.y(point.y)];
    this.pointed = { l, p };
    this.dot.setAttribute("cx", x);
    this.dot.setAttribute("cy", y);
    this.dot.setAttribute("visibility", "visible");
    this.dot.setAttribute("style", `fill: ${colour(line.of)}`);
    const unit = this.data.y.log ? "" : " dB";
    const value = this.data.y.log ? point.y.toPrecision(4) : point.y.toFixed(3);
    const rows = [`${value}${unit}`, point.note, `${point.x[this.axis].toLocaleString("en")} ${this.data.xs[this.axis].label.split(",")[0]}`];
    if (point.band) rows.splice(1, 0, `${point.band[0].toFixed(3)} to ${point.band[1].toFixed(3)} dB over the seeds`);
    this.tip.replaceChildren(element("strong", {}, line.of.name), ...rows.map((text) => element("div", {}, text)));
    this.tip.hidden = false;
    const room = this.tip.offsetWidth + 14;
    this.tip.style.left = `${x + room > this.box.width ? Math.max(0, x - room) : x + 12}px`;
    this.tip.style.top = `${between(y - 20, 0, this.box.height - this.tip.offsetHeight)}px`;
  }

  leave() {
    this.pointed = null;
    this.tip.hidden = true;
    this.dot.setAttribute("visibility", "hidden");
  }
}

const colour = (of) => `var(--series-${of.colour % COLOURS})`;

const least = (values) => values.reduce((low, value) => (value < low ? value : low), Infinity);

// Round numbers from low to high, about so many.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(6));
      if (value >= low && value <= high) found.push(value);
    }
  }
  if (found.length < 3) return ticks(low, high, 4).filter((value) => value > 0);
  const few = found.filter((value) => /^1/.test(value.toExponential()));
  return found.length > 9 && few.length > 1 ? few : found;
}

function brief(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.001) return value.toExponential(0);
  return size >= 10000 ? new Intl.NumberFormat("en", { notation: "compact" }).format(value) : String(Number(value.toPrecision(6)));
}
