//! `rsx monit`: the screen that people leave open.
//!
//! Responsible for what is on it and what its keys do; not for how anything is said (`words`), nor for how a daemon is
//! reached (`client`). Three parts, of which only the last one touches the world:
//!
//! ```text
//!  terminal, daemon, files, signals            shell: a thread each, all into one bounded channel
//!        | Message                                                              ^
//!        v                                                                      | Effect
//!  update(model, now, message, effects) ---------------------------------------+
//!        | model
//!        v
//!  view(model) -> buffer                       drawn when something has changed, at most 25 times a second
//! ```
//!
//! `update` and `view` are pure: the same messages give the same screen. What a key does, the footer and the help come
//! from one table, `keymap`.

mod keymap;
mod message;
mod model;
#[cfg(test)]
pub(crate) mod picture;
mod places;
mod shell;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod view;

pub use model::Access;
pub use shell::{Opening, open};
pub use view::theme::{NoTheme, Theme};
