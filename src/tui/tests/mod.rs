//! The dashboard without a terminal and without a daemon: messages in, screens out.

mod behaviour;
mod screens;
mod shop;

pub(crate) use shop::{Desk, model, view};
