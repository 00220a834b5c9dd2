"""Expression languages: paths, templates, intrinsic functions, JSONata."""
