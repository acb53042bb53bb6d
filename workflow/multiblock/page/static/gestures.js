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
