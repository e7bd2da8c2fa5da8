"""The composition root: settings in, an Engine out. The only place that knows every part."""
