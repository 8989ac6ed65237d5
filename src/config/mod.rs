//! Ecosystem files: text → tree with places → `Vec<AppSpec>` or all problems, cited.
