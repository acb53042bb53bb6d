"""Report pages: one HTML file that opens offline, with a viewer of pictures and charts one can hover."""
