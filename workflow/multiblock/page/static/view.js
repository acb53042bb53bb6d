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

  // Zoom by a factor; what lies under the point (in CSS pixels of the frame) stays where it is.
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

  // Where the image's corner stands in the frame, in CSS pixels, on whole device pixels.
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
