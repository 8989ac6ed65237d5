//! The static file server behind `script = "rsx:serve"`.
